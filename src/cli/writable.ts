/** A file that a command writes at its end is looked at before the work begins, so that no result is lost on it. */
import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { LabError } from '../abi/errors.js';

/** Throws a LabError unless `file`, named by `flag`, can be written. */
export function mustBeWritable(file: string, flag: string): void {
  try {
    accessSync(dirname(file), constants.W_OK);
    if (statSync(file, { throwIfNoEntry: false })?.isDirectory() === true) throw new Error('it is a folder');
  } catch (e) {
    throw new LabError('UNWRITABLE', `${file} cannot be written: ${e instanceof Error ? e.message : String(e)}`, {
      hint: `${flag} names a file in an existing folder`,
    });
  }
}
