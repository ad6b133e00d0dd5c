/**
 * Intrusive doubly linked list over words: head and node are two words each (next, prev), in a ring.
 *
 * Invariant: next and prev of neighbours agree; a node in no list has next 0, so adding twice and deleting twice
 * are seen. A zeroed record's node is in no list.
 * Lock: the caller's; nothing here takes one.
 *
 * To walk: for (let n = yield* listFirst(h); n !== 0; n = yield* listNext(h, n)); take the next node before deleting.
 */
import { HypervisorBug } from '../abi/errors.js';
import { ld, st } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';

/** Words of a head and of a node. */
export const LIST_WORDS = 2;

const NEXT = 0;
const PREV = 1;

export function* listInit(head: number): Steps<void> {
  yield* st(head + NEXT, head);
  yield* st(head + PREV, head);
}

function* insert(prev: number, next: number, node: number): Steps<void> {
  if ((yield* ld(node + NEXT)) !== 0) throw new HypervisorBug(`list: ${String(node)} is in a list`);
  yield* st(node + NEXT, next);
  yield* st(node + PREV, prev);
  yield* st(prev + NEXT, node);
  yield* st(next + PREV, node);
}

/** Adds `node` as the first. */
export function* listAdd(head: number, node: number): Steps<void> {
  yield* insert(head, yield* ld(head + NEXT), node);
}

/** Adds `node` as the last. */
export function* listAddTail(head: number, node: number): Steps<void> {
  yield* insert(yield* ld(head + PREV), head, node);
}

/** Takes `node` out of the list it is in. */
export function* listDel(node: number): Steps<void> {
  const next = yield* ld(node + NEXT);
  const prev = yield* ld(node + PREV);
  if (next === 0) throw new HypervisorBug(`list: ${String(node)} is in no list`);
  yield* st(prev + NEXT, next);
  yield* st(next + PREV, prev);
  yield* st(node + NEXT, 0);
  yield* st(node + PREV, 0);
}

export function* listEmpty(head: number): Steps<boolean> {
  return (yield* ld(head + NEXT)) === head;
}

/** Whether `node` is in a list. */
export function* listLinked(node: number): Steps<boolean> {
  return (yield* ld(node + NEXT)) !== 0;
}

/** The first node, 0 when there is none. */
export function* listFirst(head: number): Steps<number> {
  return yield* listNext(head, head);
}

/** The node after `node`, 0 at the end. */
export function* listNext(head: number, node: number): Steps<number> {
  const next = yield* ld(node + NEXT);
  return next === head ? 0 : next;
}
