/** What do whole-page kernels cost? `arg`: zero, copy or count, and the number of pages taken in turn (1: hot). */
import { mfnWord, type Mfn } from '../src/abi/frames.js';
import { copyPage, countPresent, zeroPage } from '../src/machine/kernels/index.js';
import { words } from '../src/ops/memory.js';
import type { Measure } from './measure.js';

const CALLS = 8192;

export function prepare(arg: string): Measure {
  const [what, count] = arg.split(' ');
  const pages = Number(count);
  const at = (i: number): number => mfnWord((1 + i) as Mfn);
  for (let i = 0; i < pages * 1024; i += 2) words[at(0) + i] = Math.imul(i >> 1, 2654435761) >>> 31;
  const ops = Math.max(pages, CALLS);
  return {
    ops,
    run: () => {
      let sum = 0;
      for (let k = 0; k < ops; k += pages) {
        for (let i = 0; i < pages; i++) {
          if (what === 'zero') zeroPage(at(i));
          else if (what === 'copy') copyPage(at(pages + i), at(i));
          else sum = (sum + countPresent(at(i))) | 0;
        }
      }
      return sum;
    },
    check: () => {
      const last = what === 'copy' ? at(2 * pages - 1) : at(pages - 1);
      if (what === 'count') return countPresent(last);
      let sum = 0;
      for (let i = 0; i < 1024; i++) sum = (sum + (words[last + i] as number)) | 0;
      return sum;
    },
  };
}
