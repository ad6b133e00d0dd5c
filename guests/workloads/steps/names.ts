/**
 * What a word of a guest kernel's records is called, for reports.
 *
 * Invariant: reads only. A record that lies in no table of ours is named by where it lies.
 */
import type { Pfn } from '../../../src/abi/frames.js';
import { peek } from '../../../src/sync/primitives.js';
import { livingMms } from '../../kernel/check.js';
import { mm } from '../../kernel/mm.js';
import { page, pageOf } from '../../kernel/page.js';
import { kernel, percpu, type Kernel } from '../../kernel/records.js';

interface Fields {
  readonly words: number;
}

/** The field of the record at `base` that the word `a` belongs to; '' outside it. */
function fieldOf(fields: Fields, base: number, a: number): string {
  if (base === 0 || a < base || a >= base + fields.words) return '';
  let name = '';
  let start = -1;
  for (const [key, at] of Object.entries(fields)) {
    if (typeof at !== 'function') continue;
    const from = (at as (r: number) => number)(base);
    if (from <= a && from > start) {
      name = key;
      start = from;
    }
  }
  return name;
}

/** The word `a` as part of one of these kernels' records, after the kernel's name, or ''. */
export function namedKernelWord(kernels: Iterable<{ readonly name: string; readonly k: Kernel }>, a: number): string {
  for (const { name, k } of kernels) {
    const word = kernelWord(k, a);
    if (word !== '') return `${name}: ${word}`;
  }
  return '';
}

/** The word `a` as part of kernel `k`'s records, or ''. */
export function kernelWord(k: Kernel, a: number): string {
  const own = fieldOf(kernel, k, a);
  if (own !== '') return `kernel.${own}`;
  const percpus = peek(kernel.percpus(k));
  for (let i = 0; i < peek(kernel.nrVcpus(k)); i++) {
    const name = fieldOf(percpu, percpus + i * percpu.words, a);
    if (name !== '') return `vcpu${String(i)}.${name}`;
  }
  for (const m of livingMms(k)) {
    const name = fieldOf(mm, m, a);
    if (name !== '') return `mm.${name}`;
  }
  return pageWord(k, a);
}

function pageWord(k: Kernel, a: number): string {
  const max = peek(kernel.maxPfn(k));
  const pages = pageOf(k, 0 as Pfn);
  if (a >= pages && a < pages + max * page.words) {
    const pfn = Math.floor((a - pages) / page.words);
    return `page ${String(pfn)}.${fieldOf(page, pages + pfn * page.words, a)}`;
  }
  const p2m = peek(kernel.p2m(k));
  return a >= p2m && a < p2m + max ? `p2m of page ${String(a - p2m)}` : '';
}
