/**
 * A hash of the code that executions run: the controlled build of every room that an execution enters.
 *
 * Invariant: the same sources give the same hash on every machine and Node version; the command line, the scenarios and
 * the parts of the lab that only search and print do not count.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LabError } from '../../abi/errors.js';
import { CONTROLLED } from './thread.js';

const ROOMS = ['abi', 'audit', 'fault', 'hypervisor', 'machine', 'ops', 'shm', 'sync', 'vcpu'].map((r) => `src/${r}`);
const FILES = [
  'src/explore/loop.js',
  'src/lab/explore/control-steps.js',
  'src/lab/explore/machine.js',
  'src/lab/explore/program.js',
  'src/lab/run/build-guest.js',
  'workers/build.js',
  'workers/options.js',
  'workers/sizes.js',
  'workers/small.js',
  'workers/step-vcpu.js',
];

/** Eight hex digits; the folder is a controlled build. */
export function codeHash(root = fileURLToPath(CONTROLLED)): string {
  try {
    const folders = [...ROOMS, 'guests'].flatMap((room) => filesBelow(root, room));
    const hash = createHash('sha256');
    for (const file of [...folders, ...FILES].sort()) {
      hash
        .update(file)
        .update('\0')
        .update(withoutMap(readFileSync(join(root, file), 'utf8')));
    }
    return hash.digest('hex').slice(0, 8);
  } catch (e) {
    throw new LabError(
      'NO_BUILD',
      `the controlled build cannot be read: ${e instanceof Error ? e.message : String(e)}`,
      {
        hint: 'npm run build makes it',
      },
    );
  }
}

const withoutMap = (text: string): string => text.replace(/\n\/\/# sourceMappingURL=.*\s*$/, '').replaceAll('\r', '');

function filesBelow(root: string, folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return filesBelow(root, path);
    return path.endsWith('.js') ? [path] : [];
  });
}
