/**
 * What is to be replayed: files as they were named, the recordings in a folder, or those that come with the project.
 *
 * Invariant: an input that cannot be there becomes a LabError that names it.
 */
import { readdirSync, statSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LabError } from '../../abi/errors.js';

export interface InputFile {
  readonly file: string;
  /** 0: not known, a pipe. */
  readonly bytes: number;
}

const RECORDING = /\.jsonl(\.gz)?$/;
/** Below the package's folder, of which this file is part as a source and, two folders deeper, as built. */
const SHIPPED = ['test/data/tapes', 'test/data/linux'];
const UP = import.meta.url.includes('/dist/') ? '../../../../../' : '../../../';

/** The folders of recordings that come with the project. */
export const shippedTapes = (): string[] =>
  SHIPPED.map((folder) => fileURLToPath(new URL(UP + folder, import.meta.url)));

/** The files that `named` stands for, folders expanded; all shipped ones when nothing is named. */
export function inputFiles(named: readonly string[]): InputFile[] {
  return (named.length === 0 ? shippedTapes() : named).flatMap(expand);
}

function expand(path: string): InputFile[] {
  const stat = statOf(path);
  if (!stat.isDirectory()) return [{ file: path, bytes: stat.isFile() ? stat.size : 0 }];
  const files = readdirSync(path)
    .filter((name) => RECORDING.test(name))
    .sort();
  if (files.length === 0) {
    throw new LabError('NO_TAPES', `${path}: the folder holds no recordings`, {
      hint: 'recordings are .jsonl and .jsonl.gz files',
    });
  }
  return files.map((name) => ({ file: join(path, name), bytes: statOf(join(path, name)).size }));
}

function statOf(path: string): Stats {
  try {
    return statSync(path);
  } catch (e) {
    throw new LabError('TAPE_NOT_FOUND', `cannot read ${path}: ${(e as Error).message}`, {
      position: { file: path, line: 1, column: 1 },
      hint: 'give the path of a .jsonl or .jsonl.gz file of tapes, or of a folder of them',
    });
  }
}
