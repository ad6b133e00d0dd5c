/**
 * References and types of frames: get and put, the page lock.
 *
 * Invariant: a reference keeps owner and contents; a type is exclusive while its count is above 0; between the claim
 * (type, count 1, neither validated nor partial) and the verdict one CPU has the frame for itself ([X6]).
 * Lock: none but compare-exchange; the page lock is PGT_locked plus one type reference, one per CPU ([X12]).
 * Source: get_page, put_page, _get_page_type, _put_page_type, page_lock, xen/arch/x86/mm.c; [X1]-[X9], [X12]-[X16].
 *
 * Differs: linear counts change while a type reference is held on both tables; Xen counts before it has one, or after it
 * gave it up, and then may write into what is a flush stamp by now.
 *
 * Words are first looked at with `peek`: a compare-exchange then proves the look, and before a refusal the word is
 * read again by a declared access.
 */
import { EINTR, EINVAL, ERESTART } from '../abi/errno.js';
import { HypervisorBug } from '../abi/errors.js';
import type { Domid, Mfn } from '../abi/frames.js';
import { vcpu } from '../machine/cpu-record.js';
import {
  countInfo,
  isTableType,
  ownerOf,
  ownerWord,
  PGC_count_mask,
  PGT_count_mask,
  PGT_l1_page_table,
  PGT_lock_waiters,
  PGT_locked,
  PGT_none,
  PGT_partial,
  PGT_seg_desc_page,
  PGT_type_mask,
  PGT_validated,
  stampWord,
  typeInfo,
} from '../machine/frame.js';
import type { Cpu } from '../sync/actor.js';
import {
  add,
  BUILD,
  cas,
  cas64,
  hi64,
  ld,
  ld64,
  ldOnce,
  or,
  peek,
  poke,
  st,
  waitChange,
  wake,
} from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { checkOrder, popHeld, pushHeld } from '../sync/held.js';
import { RANK } from '../sync/lock-order.js';
import { domain, ownerDomain } from './domain.js';
import { devalidatePage, validatePage } from './validate.js';
import { flushOwnerStale, stampFrame } from './flush.js';
import { decLinearEntries, decLinearUses } from './linear.js';
import { freePage } from './allocation.js';
import { hypercallPreemptCheck } from './preempt.js';

/** Flags of putPageTypeFlags. */
export const PTF_partial_set = 1;
export const PTF_preemptible = 4;
export const PTF_defer = 8;
export const PTF_retain_ref_on_restart = 16;

const NO_TABLE = -1 as Mfn;
/** Widened: in each build the other one's branch is dead. */
const build: string = BUILD;

/** Takes a reference if somebody has one already; false when the frame is free or its count is at the top. */
export function* getPageAny(mfn: Mfn): Steps<boolean> {
  const a = countInfo(mfn);
  let y = peek(a);
  for (;;) {
    const x = y;
    if (((x + 2) & PGC_count_mask) <= 2) {
      y = yield* ldOnce(a); // raced on purpose: the count of a frame that others release
      if (((y + 2) & PGC_count_mask) <= 2) return false;
      continue;
    }
    y = yield* cas(a, x, x + 1);
    if (y === x) return true;
  }
}

/** Takes a reference on a frame of `owner`; false when it is not that owner's. Two atomics with a window ([X2]). */
export function* getPage(cpu: Cpu, mfn: Mfn, owner: Domid): Steps<boolean> {
  if (!(yield* getPageAny(mfn))) return false;
  if (ownerOf(yield* ld(ownerWord(mfn))) === owner) return true;
  yield* putPage(cpu, mfn);
  return false;
}

/** One more reference where there is one for sure; the top of the count is reserved for it. */
export function* getPageLight(mfn: Mfn): Steps<void> {
  const was = yield* add(countInfo(mfn), 1);
  if ((was & PGC_count_mask) === 0) throw new HypervisorBug(`light reference on free frame ${String(mfn)}`);
}

/** Drops a reference; the last one frees the frame. */
export function* putPage(cpu: Cpu, mfn: Mfn): Steps<void> {
  const was = yield* add(countInfo(mfn), -1);
  const count = was & PGC_count_mask;
  if (count === 0) throw new HypervisorBug(`reference count of frame ${String(mfn)} below zero`);
  if (count === 1) yield* freePage(cpu, mfn);
}

/** Type and reference: 0, or -EINVAL when owner or type do not fit, or the validation's error; nothing held then. */
export function* getPageAndType(cpu: Cpu, mfn: Mfn, owner: Domid, type: number): Steps<number> {
  if (!(yield* getPage(cpu, mfn, owner))) return -EINVAL;
  const rc = yield* getPageType(cpu, mfn, type);
  if (rc !== 0) yield* putPage(cpu, mfn);
  return rc;
}

export function* putPageAndType(cpu: Cpu, mfn: Mfn): Steps<void> {
  yield* putPageType(cpu, mfn);
  yield* putPage(cpu, mfn);
}

/** 0, -EINTR (nothing changed, references still held) or -ERESTART (partial; the type reference is its). */
export function* putPageAndTypePreemptible(cpu: Cpu, mfn: Mfn): Steps<number> {
  const rc = yield* putPageTypeFlags(cpu, mfn, PTF_preemptible, NO_TABLE);
  if (rc === 0) yield* putPage(cpu, mfn);
  return rc;
}

/** Not preemptible: for writable, shared and l1. 0 or -errno. */
export function* getPageType(cpu: Cpu, mfn: Mfn, type: number): Steps<number> {
  const rc = yield* getPageTypeFlags(cpu, mfn, type, false);
  if (rc === -EINTR || rc === -ERESTART) throw new HypervisorBug('unpreemptible type get was preempted');
  return rc;
}

/** 0, -errno, -EINTR (nothing changed) or -ERESTART (partial). */
export function* getPageTypePreemptible(cpu: Cpu, mfn: Mfn, type: number): Steps<number> {
  return yield* getPageTypeFlags(cpu, mfn, type, true);
}

export function* putPageType(cpu: Cpu, mfn: Mfn): Steps<void> {
  const rc = yield* putPageTypeFlags(cpu, mfn, 0, NO_TABLE);
  if (rc !== 0) throw new HypervisorBug('unpreemptible type put was preempted');
}

/** _get_page_type: claims by compare-exchange, then flushes, then validates ([X6], XSA-401). */
export function* getPageTypeFlags(cpu: Cpu, mfn: Mfn, type: number, preemptible: boolean): Steps<number> {
  const a = typeInfo(mfn);
  let y = peek(a);
  let x: number;
  let nx: number;
  for (;;) {
    x = y;
    nx = x + 1;
    const count = x & PGT_count_mask;
    if (count === PGT_count_mask || (count !== 0 && (x & PGT_type_mask) !== type)) {
      y = yield* ldOnce(a); // raced on purpose: type words are claimed by compare-exchange
      if (y !== x) continue;
      return -EINVAL;
    }
    if (count === 0) {
      if ((x & PGT_type_mask) !== type) nx = (nx & ~(PGT_type_mask | PGT_validated)) | type;
    } else if ((x & PGT_validated) === 0) {
      if ((x & PGT_partial) === 0) {
        if (preemptible && (yield* hypercallPreemptCheck(cpu))) return -EINTR;
        yield* waitChange(cpu, a, x);
        y = yield* ldOnce(a); // raced on purpose: its validator publishes the verdict here
        continue;
      }
      nx = x & ~PGT_partial;
    }
    y = yield* cas(a, x, nx);
    if (y === x) break;
    if (preemptible && (yield* hypercallPreemptCheck(cpu))) return -EINTR;
  }
  if ((nx & PGT_validated) !== 0) return 0;
  return yield* claimed(cpu, mfn, type, x, preemptible);
}

/** The frame is ours alone ("validate locked"), found as `x`: flush before use as another type, then validate. */
function* claimed(cpu: Cpu, mfn: Mfn, type: number, x: number, preemptible: boolean): Steps<number> {
  if ((x & PGT_count_mask) === 0 && (x & PGT_type_mask) !== type) yield* flushOwnerStale(cpu, mfn);
  if (type < PGT_seg_desc_page && type !== PGT_none) {
    if ((x & PGT_partial) === 0) yield* st(stampWord(mfn), 0);
    if (type !== PGT_l1_page_table && !preemptible) throw new HypervisorBug('upper table typed unpreemptibly');
    const rc = yield* validatePage(cpu, mfn, type);
    if ((x & PGT_partial) !== 0) yield* putPage(cpu, mfn);
    return rc;
  }
  yield* or(typeInfo(mfn), PGT_validated);
  wake(typeInfo(mfn));
  return 0;
}

/**
 * _put_page_type. `flags`: PTF_preemptible, PTF_partial_set; `parent`: the table whose entry is dropped, or -1.
 * 0, -EINTR (nothing changed) or -ERESTART (partial).
 */
export function* putPageTypeFlags(cpu: Cpu, mfn: Mfn, flags: number, parent: Mfn): Steps<number> {
  if (parent >= 0 && (flags & PTF_partial_set) === 0 && (yield* dropLinearCounts(mfn, parent))) {
    return yield* putLinear(cpu, mfn, flags);
  }
  const a = typeInfo(mfn);
  if (peek(vcpu.lockedPage(cpu)) === mfn + 1) throw new HypervisorBug('type put under the own page lock (XSA-242)');
  let y = peek(a);
  for (;;) {
    const x = y;
    const nx = x - 1;
    if ((flags & PTF_partial_set) !== 0 && (x & PGT_partial) === 0) {
      y = yield* ldOnce(a); // raced on purpose: whoever clears the bit owns the reference
      if (y !== x) continue;
      return 0;
    }
    if ((x & PGT_count_mask) === 0) throw new HypervisorBug(`type count of frame ${String(mfn)} below zero`);
    if ((nx & PGT_count_mask) === 0) {
      if (isTableType(x) && (x & (PGT_validated | PGT_partial)) !== 0) {
        y = yield* cas(a, x, x & ~(PGT_validated | PGT_partial));
        if (y === x) return yield* putFinal(cpu, mfn, x, flags);
      } else {
        yield* stampFrame(mfn);
        y = yield* cas(a, x, nx);
        if (y === x) return yield* checkFull(mfn, x, flags);
      }
    } else if ((nx & PGT_count_mask) === 1) {
      if (yield* dropToOne(cpu, mfn, x)) return yield* checkFull(mfn, x, flags);
      y = yield* ldOnce(a); // raced on purpose: as every look at a type word
    } else {
      y = yield* cas(a, x, nx);
      if (y === x) return yield* checkFull(mfn, x, flags);
    }
    if ((flags & PTF_preemptible) !== 0 && (yield* hypercallPreemptCheck(cpu))) return -EINTR;
  }
}

/** From two to one, if the word still is `x`: waits while the other one is the page lock's, which does not clean up. */
function* dropToOne(cpu: Cpu, mfn: Mfn, x: number): Steps<boolean> {
  const a = countInfo(mfn);
  const lo = yield* ld64(a);
  const hi = hi64();
  if (hi !== x) return false;
  if ((lo & PGT_locked) === 0) return (yield* cas64(a, lo, x, lo, x - 1)) === 1;
  yield* waitUnlocked(cpu, mfn, lo);
  return false;
}

/**
 * An entry of `parent` that holds a type reference on `mfn` goes: if both have one type, that was a linear link, and its
 * two counts go down. To be called while both types are held: they say what word 3 of the frames means.
 */
export function* dropLinearCounts(mfn: Mfn, parent: Mfn): Steps<boolean> {
  const x = yield* ldOnce(typeInfo(mfn)); // raced on purpose: only the type bits are used, and they are held
  const p = yield* ldOnce(typeInfo(parent)); // as above
  if (((p ^ x) & PGT_type_mask) !== 0) return false;
  yield* decLinearUses(mfn);
  yield* decLinearEntries(parent);
  return true;
}

/** Drops the type reference of a link whose counts are gone: an attempt that changed nothing is made again. */
function* putLinear(cpu: Cpu, mfn: Mfn, flags: number): Steps<number> {
  for (;;) {
    const rc = yield* putPageTypeFlags(cpu, mfn, flags, NO_TABLE);
    if (rc !== -EINTR) return rc;
  }
}

/** Whoever dropped a full type reference dropped it from a validated frame, dying owners' excepted; answers 0. */
function* checkFull(mfn: Mfn, x: number, flags: number): Steps<number> {
  if ((flags & PTF_partial_set) !== 0 || (x & (PGT_validated | PGT_partial)) === PGT_validated) return 0;
  const d = yield* ownerDomain(ownerOf(yield* ld(ownerWord(mfn))));
  if ((x & PGT_partial) !== 0 || d === 0 || (yield* ldOnce(domain.dying(d))) === 0) {
    throw new HypervisorBug(`full type reference dropped from frame ${String(mfn)}, which is not validated`);
  }
  return 0;
}

/** _put_final_page_type: the entries' references go; `x` is the type word as found. */
function* putFinal(cpu: Cpu, mfn: Mfn, x: number, flags: number): Steps<number> {
  yield* checkFull(mfn, x, flags);
  const rc = yield* devalidatePage(cpu, mfn, x);
  if (rc === 0) {
    yield* stampFrame(mfn);
    yield* add(typeInfo(mfn), -1);
  } else if (rc === -EINTR) {
    yield* or(typeInfo(mfn), PGT_validated);
  } else {
    yield* getPageLight(mfn);
    yield* or(typeInfo(mfn), PGT_partial);
  }
  wake(typeInfo(mfn));
  if ((x & PGT_partial) !== 0) yield* putPage(cpu, mfn);
  return rc;
}

/** Locks the frame against entry updates; false when it is not validated or nobody has it typed. */
export function* pageLock(cpu: Cpu, mfn: Mfn): Steps<boolean> {
  if (peek(vcpu.lockedPage(cpu)) !== 0) throw new HypervisorBug('a second page lock');
  const a = countInfo(mfn);
  checkOrder(cpu, a, RANK.pageLock);
  for (;;) {
    const lo = yield* ld64(a);
    const hi = hi64();
    if ((lo & PGT_locked) !== 0) {
      yield* waitUnlocked(cpu, mfn, lo);
      continue;
    }
    const count = hi & PGT_count_mask;
    if ((hi & PGT_validated) === 0 || count === 0 || count === PGT_count_mask) return false;
    if ((yield* cas64(a, lo, hi, lo | PGT_locked, hi + 1)) === 1) break;
  }
  poke(vcpu.lockedPage(cpu), mfn + 1);
  pushHeld(cpu, a, RANK.pageLock);
  return true;
}

export function* pageUnlock(cpu: Cpu, mfn: Mfn): Steps<void> {
  if (peek(vcpu.lockedPage(cpu)) !== mfn + 1) throw new HypervisorBug('unlock of a page this CPU has not locked');
  poke(vcpu.lockedPage(cpu), 0);
  const a = countInfo(mfn);
  popHeld(cpu, a);
  for (;;) {
    const lo = yield* ld64(a);
    const hi = hi64();
    if ((hi & PGT_count_mask) < 2) throw new HypervisorBug('page lock would drop the last type reference');
    if ((yield* cas64(a, lo, hi, lo & ~(PGT_locked | PGT_lock_waiters), hi - 1)) === 0) continue;
    if ((lo & PGT_lock_waiters) !== 0) wake(a);
    return;
  }
}

/** Waits for the lock bit in `lo`, as just read, to go; threads say that they sleep, so that unlock need not notify. */
function* waitUnlocked(cpu: Cpu, mfn: Mfn, lo: number): Steps<void> {
  const a = countInfo(mfn);
  if (build === 'controlled') {
    yield* waitChange(cpu, a, lo);
  } else {
    const seen = lo | PGT_lock_waiters;
    if (seen === lo || (yield* cas(a, lo, seen)) === lo) yield* waitChange(cpu, a, seen);
  }
}
