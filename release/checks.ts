/* What a release must hold, as rules over texts and lists. Each answers what is wrong, a sentence each. */

/** Versions by the file that names them. */
export function versionFaults(version: string, named: Record<string, string>, tags: readonly string[]): string[] {
  const faults = Object.entries(named)
    .filter(([, other]) => other !== version)
    .map(([file, other]) => `${file} names version ${other}, and package.json ${version}.`);
  // Semantic Versioning 2.0.0, without build metadata, which npm ignores.
  if (!/^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$/.test(version))
    faults.push(`${version} is no semantic version.`);
  if (tags.includes(`v${version}`)) faults.push(`There is a tag v${version} already.`);
  return faults;
}

/** @param today such as 2026-11-29 */
export function changelogFaults(changelog: string, version: string, today: string): string[] {
  const [, unreleased = { heading: '', text: '' }, latest = { heading: '', text: '' }] = sectionsOf(changelog);
  const faults: string[] = [];
  if (unreleased.heading !== '[Unreleased]') faults.push('The first section is not [Unreleased].');
  else if (unreleased.text !== '')
    faults.push(`[Unreleased] has entries, which belong into the section of ${version}.`);
  const [, name, date = ''] = /^\[(.+)\] - (\d{4}-\d\d-\d\d)$/.exec(latest.heading) ?? [];
  if (name !== version) faults.push(`The section after [Unreleased] is not "[${version}] - <date>".`);
  else if (!isDate(date) || date > today) faults.push(`${version} is dated ${date}, and today is ${today}.`);
  else if (!/^- /m.test(latest.text)) faults.push(`The section of ${version} has no entry.`);
  return faults;
}

function sectionsOf(changelog: string): { heading: string; text: string }[] {
  return changelog.split(/^## /m).map(section => {
    const [heading = '', ...lines] = section.split('\n');
    return { heading, text: lines.join('\n').trim() };
  });
}

function isDate(text: string): boolean {
  const at = Date.parse(text);
  return !Number.isNaN(at) && new Date(at).toISOString().startsWith(text);
}

/** What programs import or run; a missing one breaks whoever installs the package. */
const NEEDED = ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'dist/package.json', 'dist/migrations/index.js']
  .concat(['main', 'cli/main', 'client/index', 'handler'].map(file => `dist/src/${file}.js`))
  .concat([
    'dist/src/client/index.d.ts',
    'dist/src/node-floor.cjs',
    'dist/src/page/web/page.css',
    'dist/openapi/openapi.json',
  ])
  .concat(['plugin/plugin.json', 'plugin/hooks/hooks.json']);
const KNOWN =
  /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|(dist\/(src|migrations|openapi)|plugin)\/.+|dist\/package\.json)$/;
/** Bytes of the packed file. */
const LARGEST = 2_000_000;

export interface Packed {
  files: readonly string[];
  /** Bytes. */
  size: number;
  /** Hashes of the file as it was packed once and again. */
  hashes: readonly [string, string];
}

export function packageFaults({ files, size, hashes }: Packed): string[] {
  const faults = NEEDED.filter(file => !files.includes(file)).map(file => `The package lacks ${file}.`);
  for (const file of files) {
    const isSource = /(?<!\.d)\.ts$/.test(file);
    if (isSource || !KNOWN.test(file)) faults.push(`The package holds ${file}, which nobody needs.`);
  }
  if (size > LARGEST) faults.push(`The package has ${size} bytes, more than ${LARGEST}.`);
  if (hashes[0] !== hashes[1]) faults.push('The package has other bytes when it is packed again.');
  return faults;
}

/** @param bill of materials, parsed */
export function billFaults(
  bill: { metadata: { component: { name: string; version: string } }; components: { name: string }[] },
  { name, version, dependencies }: { name: string; version: string; dependencies: Record<string, string> },
): string[] {
  const { component } = bill.metadata;
  const faults = Object.keys(dependencies)
    .filter(dependency => !bill.components.some(part => part.name === dependency))
    .map(dependency => `The bill of materials lacks ${dependency}.`);
  if (component.name !== name || component.version !== version)
    faults.push(`The bill of materials is of ${component.name} ${component.version}.`);
  return faults;
}
