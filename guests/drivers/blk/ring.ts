/**
 * The ring page that a frontend grants: one batch of requests, as words.
 *
 * Word 0: number of data pages; word 1: pages the backend has answered; then the reference of each data page.
 * Invariant: the frontend writes all but word 1 before it offers the ring; the backend writes word 1 only.
 * Lock: none; the offer on the board publishes the page.
 * Source: blkif's shared ring, reduced to one batch (xen/include/public/io/blkif.h).
 */
import type { Pfn, Va } from '../../../src/abi/frames.js';
import type { Steps } from '../../../src/sync/steps.js';
import type { KernelCpu } from '../../kernel/context.js';
import { addVa, directVa } from '../../kernel/layout.js';
import { userLoad, userStore } from '../../kernel/user.js';

/** Most data pages of a batch. */
export const RING_MAX = 500;
const COUNT = 0;
const ANSWERED = 1;
const REFS = 2;

const word = (va: Va, i: number): Va => addVa(va, 4 * i);

/** The frontend lays a batch of `n` pages. */
export function* layRing(c: KernelCpu, pfn: Pfn, n: number): Steps<void> {
  yield* c.g.store32(word(directVa(pfn), COUNT), n);
  yield* c.g.store32(word(directVa(pfn), ANSWERED), 0);
}
export function* putRef(c: KernelCpu, pfn: Pfn, i: number, ref: number): Steps<void> {
  yield* c.g.store32(word(directVa(pfn), REFS + i), ref);
}
/** Pages the backend says it has answered; its word, so not to be trusted. */
export function* answered(c: KernelCpu, pfn: Pfn): Steps<number> {
  return yield* c.g.load32(word(directVa(pfn), ANSWERED));
}

/** The backend's process reads and answers through its own mapping at `va`. */
export function* ringCount(c: KernelCpu, va: Va): Steps<number> {
  return yield* userLoad(c, word(va, COUNT));
}
export function* ringRef(c: KernelCpu, va: Va, i: number): Steps<number> {
  return yield* userLoad(c, word(va, REFS + i));
}
export function* answer(c: KernelCpu, va: Va, n: number): Steps<boolean> {
  return yield* userStore(c, word(va, ANSWERED), n);
}
