/**
 * Deferred work: things a driver must try again later, run by vCPUs that have nothing else to do.
 *
 * Invariant: an item is on the list at most once; its owner keeps it alive until it has run. `delay` counts turns, as
 * there is no clock: an item runs when it has been passed over that often.
 * Lock: kernel.workLock (rank guestDriver's inner: taken with nothing but driver locks held).
 * Source: Linux kernel/workqueue.c (delayed work).
 */
import { DESIGN_STEP } from '../../src/abi/design-step.js';
import { listAddTail, listDel, listFirst, listLinked, listNext, LIST_WORDS } from '../../src/shm/list.js';
import { record, type Ref } from '../../src/shm/record.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, ld, peek, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { enterStep } from './design-step.js';
import { klock, kunlock } from './lock.js';
import { kernel } from './records.js';
import { wakeAll } from './task.js';

export const work = record('work', {
  node: LIST_WORDS,
  /** Index in KernelCpu.workers, and its argument. */
  worker: 1,
  argument: 1,
  delay: 1,
});
export type Work = Ref<'work'>;

/** Queues the item; false when it waits already. */
export function* queueWork(c: KernelCpu, w: Work, worker: number, argument: number, delay: number): Steps<boolean> {
  yield* klock(c, kernel.workLock(c.k), RANK.guestRunqueue);
  const queued = yield* listLinked(w);
  if (!queued) {
    yield* st(work.worker(w), worker);
    yield* st(work.argument(w), argument);
    yield* st(work.delay(w), delay);
    yield* listAddTail(kernel.work(c.k), w);
    yield* add(kernel.nrWork(c.k), 1);
  }
  yield* kunlock(c, kernel.workLock(c.k));
  yield* wakeAll(c);
  return !queued;
}

/** Runs one item that is due; false when there is none at all. */
export function* runWork(c: KernelCpu): Steps<boolean> {
  const head = kernel.work(c.k);
  let due = 0 as Work;
  yield* klock(c, kernel.workLock(c.k), RANK.guestRunqueue);
  const first = yield* listFirst(head);
  for (let n = first; n !== 0; n = yield* listNext(head, n)) {
    const delay = yield* ld(work.delay(n as Work));
    if (delay > 0) yield* st(work.delay(n as Work), delay - 1);
    else if (due === 0) due = n as Work;
  }
  if (due !== 0) yield* listDel(due);
  yield* kunlock(c, kernel.workLock(c.k));
  if (due === 0) return first !== 0;
  const run = c.workers[peek(work.worker(due))];
  const was = enterStep(c, DESIGN_STEP.deferred);
  if (run !== undefined) yield* run.work(c, peek(work.argument(due)));
  enterStep(c, was);
  yield* add(kernel.nrWork(c.k), -1);
  yield* wakeAll(c);
  return true;
}
