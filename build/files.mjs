/** Files of the tree, for the build scripts: listing, atomic writes, and "is this output of that input?". */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = resolve(fileURLToPath(new URL('..', import.meta.url)));

/**
 * Every file below `folder` (relative to `root`), relative to `root`, sorted; [] when the folder is missing.
 * @param {string} root
 * @param {string} folder
 * @returns {string[]}
 */
export function listFiles(root, folder) {
  let entries;
  try {
    entries = readdirSync(join(root, folder), { withFileTypes: true });
  } catch {
    return [];
  }
  return entries
    .flatMap((e) => (e.isDirectory() ? listFiles(root, `${folder}/${e.name}`) : [`${folder}/${e.name}`]))
    .sort();
}

/**
 * The time a file was last written, or undefined when there is none.
 * @param {string} path
 */
export function mtime(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs;
}

/**
 * Writes whole or not at all (several builds may run at once), and gives the file its input's time,
 * so that `isFresh` is an equality and survives a checkout that goes back in time.
 * @param {string} path
 * @param {string} text
 * @param {string} [input]
 */
export function writeOutput(path, text, input) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${String(process.pid)}.tmp`;
  writeFileSync(temporary, text);
  if (input !== undefined) {
    const { atime, mtime: time } = statSync(input);
    utimesSync(temporary, atime, time);
  }
  renameSync(temporary, path);
}

/**
 * True when `output` was written from `input` as it is now (times are compared in whole milliseconds).
 * @param {string} output
 * @param {string} input
 */
export function isFresh(output, input) {
  const made = mtime(output);
  const source = mtime(input);
  return made !== undefined && source !== undefined && Math.abs(made - source) < 1;
}

/** @param {string} path */
export function remove(path) {
  rmSync(path, { force: true });
}
