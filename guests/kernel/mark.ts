/**
 * Trace points of this kernel (abi/marks.ts). They cost a call and a load while nobody traces, and are no schedule points.
 *
 * Lock: none; a table is named by its frame as p2m has it at this moment.
 */
import type { Pfn } from '../../src/abi/frames.js';
import { markWord, type Mark } from '../../src/abi/marks.js';
import type { KernelCpu } from './context.js';
import { p2mEntry } from './p2m.js';

export function mark(c: KernelCpu, what: Mark, detail = 0, word = 0): void {
  c.g.mark(markWord(what, detail), word);
}

/** A trace point about the page-table page `table`. */
export function markTable(c: KernelCpu, what: Mark, detail: number, table: Pfn): void {
  c.g.mark(markWord(what, detail), p2mEntry(c.k, table));
}
