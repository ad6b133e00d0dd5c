/**
 * MMU interval notifiers: drivers are told before entries of a range go.
 *
 * Invariant: `seq` is odd exactly while an invalidation that overlaps a subscription is active; then inserts and removals
 * wait in the deferred list, so the list can be walked without the lock. A start that was answered has one end.
 * Lock: the notifier's word (rank guestNotifier) guards seq, active, both lists; callbacks run without it.
 * Source: [L29], [L19], [L20]; Linux mm/mmu_notifier.c. Differs: a list where Linux has an interval tree.
 */
import type { Va } from '../../src/abi/frames.js';
import { listAddTail, listDel, listFirst, listInit, listLinked, listNext, LIST_WORDS } from '../../src/shm/list.js';
import { record, type Ref } from '../../src/shm/record.js';
import { slabFree } from '../../src/shm/slab.js';
import { RANK } from '../../src/sync/lock-order.js';
import { cas, ld, ldOnce, peek, st, stOnce, wake } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocRecord } from './alloc.js';
import type { KernelCpu } from './context.js';
import { klock, kunlock } from './lock.js';
import { mm, mmDrop, mmGrab, type Mm } from './mm.js';
import { kernel, KLOCK_WORDS } from './records.js';
import { ldVa, stVa } from './words.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';

export const notifier = record('notifier', {
  lock: KLOCK_WORDS,
  seq: 1,
  active: 1,
  subscriptions: LIST_WORDS,
  deferred: LIST_WORDS,
});
export type Notifier = Ref<'notifier'>;

export const subscription = record('subscription', {
  node: LIST_WORDS,
  deferredNode: LIST_WORDS,
  mm: 1,
  ops: 1,
  private: 1,
  /** Odd; the sequence of the last invalidation that hit. */
  seq: 1,
  start: 2,
  end: 2,
});
export type Subscription = Ref<'subscription'>;

export const NOTIFY_UNMAP = 0;
export const NOTIFY_CLEAR = 1;
export const NOTIFY_PROTECTION_VMA = 2;
export const NOTIFY_RELEASE = 6;

export const RANGE_ALL_END = (2 ** 48) as Va;

const DEFERRED = subscription.deferredNode(0 as Subscription);
const ofDeferred = (node: number): Subscription => (node - DEFERRED) as Subscription;

/** The notifier of `m`, made if need be; 0 when memory is short. */
export function* ensureNotifier(c: KernelCpu, m: Mm): Steps<Notifier> {
  const has = yield* ldOnce(mm.notifier(m)); // raced on purpose: decided by the cas below
  if (has !== 0) return has as Notifier;
  const fresh = (yield* allocRecord(c, kernel.notifierSlab(c.k))) as Notifier;
  if (fresh === 0) return fresh;
  yield* st(notifier.seq(fresh), 2);
  yield* listInit(notifier.subscriptions(fresh));
  yield* listInit(notifier.deferred(fresh));
  const was = yield* cas(mm.notifier(m), 0, fresh);
  if (was === 0) return fresh;
  yield* slabFree(c.cpu, kernel.notifierSlab(c.k), fresh);
  return was as Notifier;
}

/** Subscribes `ops` to [start, end) of `m`, which it holds; 0 when memory is short. Lock held: mmapLock, exclusive. */
export function* subscribe(c: KernelCpu, m: Mm, start: Va, end: Va, ops: number, priv: number): Steps<Subscription> {
  const n = yield* ensureNotifier(c, m);
  const s = n === 0 ? 0 : yield* allocRecord(c, kernel.subscriptionSlab(c.k));
  if (s === 0) return 0 as Subscription;
  const sub = s as Subscription;
  yield* st(subscription.mm(sub), m);
  yield* st(subscription.ops(sub), ops);
  yield* st(subscription.private(sub), priv);
  yield* stVa(subscription.start(sub), start);
  yield* stVa(subscription.end(sub), end);
  yield* mmGrab(m);
  yield* insert(c, n, sub);
  return sub;
}

function* insert(c: KernelCpu, n: Notifier, s: Subscription): Steps<void> {
  yield* klock(c, notifier.lock(n), RANK.guestNotifier);
  let seq = yield* ld(notifier.seq(n));
  const active = (yield* ld(notifier.active(n))) > 0;
  if (active && (seq & 1) === 1) {
    yield* listAddTail(notifier.deferred(n), subscription.deferredNode(s));
  } else {
    if (active) yield* stOnce(notifier.seq(n), (seq |= 1)); // raced on purpose: readers wait for a change
    yield* listAddTail(notifier.subscriptions(n), subscription.node(s));
  }
  yield* st(subscription.seq(s), active ? seq : seq - 1);
  yield* kunlock(c, notifier.lock(n));
}

/** Removes and frees the subscription; returns when no callback can be running for it any more. */
export function* unsubscribe(c: KernelCpu, s: Subscription): Steps<void> {
  const m = peek(subscription.mm(s)) as Mm;
  const n = peek(mm.notifier(m)) as Notifier;
  mark(c, MARK.mmu_interval_notifier_remove);
  yield* klock(c, notifier.lock(n), RANK.guestNotifier);
  const seq = yield* ld(notifier.seq(n));
  let wait = false;
  if ((seq & 1) === 0) yield* listDel(subscription.node(s));
  else if (!(yield* listLinked(subscription.node(s)))) yield* listDel(subscription.deferredNode(s));
  else {
    yield* listAddTail(notifier.deferred(n), subscription.deferredNode(s));
    wait = true;
  }
  yield* kunlock(c, notifier.lock(n));
  while (wait) {
    const now = yield* ldOnce(notifier.seq(n)); // raced on purpose: waits for the end of the invalidations
    if (now !== seq) break;
    yield* c.g.relax(notifier.seq(n), now);
  }
  yield* slabFree(c.cpu, kernel.subscriptionSlab(c.k), s);
  yield* mmDrop(c, m);
}

function* overlaps(s: Subscription, start: Va, end: Va): Steps<boolean> {
  return (yield* ldVa(subscription.start(s))) < end && start < (yield* ldVa(subscription.end(s)));
}

/**
 * Entries in [start, end) are about to change: tells who subscribed. False: a subscriber would have to wait and
 * `blockable` is false; the caller then gives up and must not call the end ([L20]).
 */
export function* invalidateStart(
  c: KernelCpu,
  m: Mm,
  start: Va,
  end: Va,
  event: number,
  blockable: boolean,
): Steps<boolean> {
  const n = (yield* ldOnce(mm.notifier(m))) as Notifier; // raced on purpose: appears once
  if (n === 0) return true;
  yield* klock(c, notifier.lock(n), RANK.guestNotifier);
  yield* st(notifier.active(n), (yield* ld(notifier.active(n))) + 1);
  const head = notifier.subscriptions(n);
  let hit = yield* listFirst(head);
  while (hit !== 0 && !(yield* overlaps(hit as Subscription, start, end))) hit = yield* listNext(head, hit);
  const seq = (yield* ld(notifier.seq(n))) | (hit === 0 ? 0 : 1);
  yield* stOnce(notifier.seq(n), seq); // raced on purpose: readers wait for a change
  yield* kunlock(c, notifier.lock(n));
  for (let s = hit; s !== 0; s = yield* listNext(head, s)) {
    if (!(yield* overlaps(s as Subscription, start, end))) continue;
    if (yield* callInvalidate(c, s as Subscription, seq, start, end, event, blockable)) continue;
    yield* invalidateEnd(c, m);
    return false;
  }
  return true;
}

function* callInvalidate(
  c: KernelCpu,
  s: Subscription,
  seq: number,
  start: Va,
  end: Va,
  event: number,
  blockable: boolean,
): Steps<boolean> {
  yield* stOnce(subscription.seq(s), seq); // raced on purpose: read by who maps through it
  const ops = c.vmOps[peek(subscription.ops(s))];
  return ops === undefined || (yield* ops.invalidate(c, s, start, end, event, blockable));
}

/** The change is over. */
export function* invalidateEnd(c: KernelCpu, m: Mm): Steps<void> {
  const n = (yield* ldOnce(mm.notifier(m))) as Notifier; // raced on purpose: appears once
  if (n === 0) return;
  yield* klock(c, notifier.lock(n), RANK.guestNotifier);
  const active = (yield* ld(notifier.active(n))) - 1;
  const seq = yield* ld(notifier.seq(n));
  if (active >= 0) yield* st(notifier.active(n), active);
  if (active === 0 && (seq & 1) === 1) {
    yield* stOnce(notifier.seq(n), seq + 1); // raced on purpose: waiters look for it
    yield* applyDeferred(n);
  }
  yield* kunlock(c, notifier.lock(n));
  wake(notifier.seq(n));
}

/** Inserts what waited to be inserted, removes what waited to be removed. */
function* applyDeferred(n: Notifier): Steps<void> {
  for (;;) {
    const node = yield* listFirst(notifier.deferred(n));
    if (node === 0) return;
    yield* listDel(node);
    const s = ofDeferred(node);
    if (yield* listLinked(subscription.node(s))) yield* listDel(subscription.node(s));
    else yield* listAddTail(notifier.subscriptions(n), subscription.node(s));
  }
}

/** mmu_notifier_release: the mm is going; every subscriber is told about the whole of it. */
export function* notifierRelease(c: KernelCpu, m: Mm): Steps<void> {
  if ((yield* ldOnce(mm.notifier(m))) === 0) return; // raced on purpose: appears once
  mark(c, MARK.notifier_release);
  if (yield* invalidateStart(c, m, 0 as Va, RANGE_ALL_END, NOTIFY_RELEASE, true)) yield* invalidateEnd(c, m);
  mark(c, MARK.notifier_release_ret);
}
