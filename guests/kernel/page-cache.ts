/**
 * The page cache: pages of a file's contents, which mappings of the file share and which outlive them.
 *
 * Invariant: each page in a slot has one reference of the cache's; a mapping has one more. The last holder of the object
 * (an open file, a VMA) lets its pages go.
 * Lock: inode.lock (rank guestDriver) guards the slots; refs is atomic.
 * Source: Linux mm/filemap.c, [L2]. Differs: contents are zeroes, there is no disk; an object has at most 1,023 pages.
 */
import type { Pfn } from '../../src/abi/frames.js';
import { arenaAlloc, arenaFree, CHUNK } from '../../src/shm/arena.js';
import { record, type Ref } from '../../src/shm/record.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, ld, peek, poke, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocZeroedPage, getPageRef } from './alloc.js';
import type { KernelCpu } from './context.js';
import { PFN_NONE } from './layout.js';
import { klock, kunlock } from './lock.js';
import { releasePage } from './lru.js';
import { kernel, KLOCK_WORDS } from './records.js';

const inode = record('inode', { lock: KLOCK_WORDS, refs: 1, pages: 1 });
export type Inode = Ref<'inode'>;

/** Pages an object can have: its record and its slots are one chunk. */
export const INODE_PAGES = CHUNK - inode.words;
const slot = (o: Inode, i: number): number => o + inode.words + i;

/** An object of `pages` pages with one reference, none of them in memory; 0 when memory is short or it would be too long. */
export function* inodeAlloc(c: KernelCpu, pages: number): Steps<Inode> {
  if (pages > INODE_PAGES) return 0 as Inode;
  const o = (yield* arenaAlloc(c.cpu, peek(kernel.arena(c.k)), 1)) as Inode;
  if (o === 0) return o;
  poke(inode.refs(o), 1);
  poke(inode.pages(o), pages);
  return o;
}

export function* inodeGet(o: Inode): Steps<void> {
  yield* add(inode.refs(o), 1);
}

export function* inodePut(c: KernelCpu, o: Inode): Steps<void> {
  if ((yield* add(inode.refs(o), -1)) !== 1) return;
  for (let i = 0; i < peek(inode.pages(o)); i++) {
    const pfn = (yield* ld(slot(o, i))) as Pfn;
    if (pfn !== PFN_NONE) yield* releasePage(c, pfn);
  }
  yield* arenaFree(c.cpu, peek(kernel.arena(c.k)), o, 1);
}

/** Page `i` of the object with a reference for the caller, read in if need be; PFN_NONE past the end or when memory is short. */
export function* cachePage(c: KernelCpu, o: Inode, i: number): Steps<Pfn> {
  if (i < 0 || i >= peek(inode.pages(o))) return PFN_NONE;
  yield* klock(c, inode.lock(o), RANK.guestDriver);
  let pfn = (yield* ld(slot(o, i))) as Pfn;
  if (pfn === PFN_NONE) {
    pfn = yield* allocZeroedPage(c);
    yield* st(slot(o, i), pfn);
  }
  if (pfn !== PFN_NONE) yield* getPageRef(c, pfn);
  yield* kunlock(c, inode.lock(o));
  return pfn;
}
