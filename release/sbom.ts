import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import packageJson from '../package.json' with { type: 'json' };

/*
 * `npm run sbom [-- FILE]` writes the parts of the package, from the lock file and without a network: CycloneDX as npm
 * makes it, with the same bytes each time.
 */

const root = join(import.meta.dirname, '..');
const args = ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx', '--sbom-type', 'application'];

/** The bill of materials, as text. @throws Error with what npm says */
export function billOfMaterials(): string {
  const folder = mkdtempSync(join(tmpdir(), 'forumbus-sbom-'));
  try {
    // With `--omit dev`, npm 11 leaves out what development needs as well, such as pg's own dependencies. So it is shown
    // only what `npm ci --omit=dev` installs.
    const { devDependencies: _, ...manifest } = packageJson;
    const { packages, ...lock } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
    const installed = Object.entries<{ dev?: boolean }>(packages).filter(([, { dev }]) => !dev);
    const { devDependencies: __, ...own } = packages[''];
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
    const shown = { ...lock, packages: { ...Object.fromEntries(installed), '': own } };
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify(shown));
    const { status, stdout, stderr } = spawnSync('npm', args, { cwd: folder, encoding: 'utf8' });
    if (status !== 0) throw new Error(`npm sbom ends with ${status}: ${stderr}`);
    const bill = JSON.parse(stdout);
    // Both are optional in CycloneDX, and other ones each time. The name is that of the folder.
    delete bill.serialNumber;
    delete bill.metadata.timestamp;
    bill.metadata.component.name = packageJson.name;
    return `${JSON.stringify(bill, null, 2)}\n`;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (import.meta.main) {
  const [file = join(root, 'sbom.cdx.json')] = process.argv.slice(2);
  writeFileSync(file, billOfMaterials());
  process.stdout.write(`${file}\n`);
}
