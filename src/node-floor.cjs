'use strict';

// Runs before the code of each npm script. An old Node must be able to parse this file: it cannot load the TypeScript of the others.
var needed = '24.16';
var floor = needed.split('.').map(Number);
var given = process.versions.node.split('.').map(Number);

if (given[0] < floor[0] || (given[0] === floor[0] && given[1] < floor[1])) {
  process.stderr.write(`Forumbus needs Node ${needed} or later, and this is Node ${process.versions.node}.\n`);
  process.exit(1);
}
