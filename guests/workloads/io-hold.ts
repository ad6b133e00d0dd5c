/**
 * An I/O under way on a granted page: a reference on its struct page that goes only later (a device's DMA).
 *
 * Invariant: each hold is released exactly once, by deferred work, after a number of turns.
 * Lock: none; the reference is atomic. Source: the safe-unmap change (page_count, 2015); Qubes 7481.
 */
import type { Pfn } from '../../src/abi/frames.js';
import { slabFree } from '../../src/shm/slab.js';
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { entryOf, pfnOfEntry, type GrantMap } from '../drivers/gntdev/map.js';
import { allocRecord, getPageRef } from '../kernel/alloc.js';
import type { KernelCpu, Worker } from '../kernel/context.js';
import { releasePage } from '../kernel/lru.js';
import { kernel } from '../kernel/records.js';
import { queueWork, work, type Work } from '../kernel/work.js';

/** Index among KernelCpu.workers. */
export const WORKER_IO = 1;
/** Turns an I/O lasts. */
const TURNS = 8;
/** A work item, then the pfn. */
const PFN = work.words;
export const HOLD_WORDS = work.words + 2;

/** Holds page `i` of `map` for a while; nothing happens when memory is short. */
export function* holdForIo(c: KernelCpu, map: GrantMap, i: number): Steps<void> {
  const hold = yield* allocRecord(c, kernel.holdSlab(c.k));
  if (hold === 0) return;
  const pfn = pfnOfEntry(entryOf(map, i));
  poke(hold + PFN, pfn);
  yield* getPageRef(c, pfn);
  yield* queueWork(c, hold as Work, WORKER_IO, hold, TURNS);
}

export const ioWorker: Worker = Object.freeze({
  name: 'io-done',
  *work(c: KernelCpu, hold: number): Steps<void> {
    yield* releasePage(c, peek(hold + PFN) as Pfn);
    yield* slabFree(c.cpu, kernel.holdSlab(c.k), hold);
  },
});
