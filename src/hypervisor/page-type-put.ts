/**
 * Dropping a type reference; the last one of a table drops its entries' references.
 *
 * Invariant: whoever clears `validated` or `partial` at count 1 owns the clean-up; the count goes down after it, and the
 * frame is stamped with the flush clock before it is 0 ([X13]).
 * Lock: none but compare-exchange; never under the own page lock of the frame (XSA-242).
 * Source: _put_page_type, _put_final_page_type, xen/arch/x86/mm.c; [X9], [X14], [X17].
 * Known: stamp and compare-exchange are two atomics, as in Xen 4.17. Between them another CPU can flush its TLB, take a
 * writable reference, use it and drop it again: the word is what it was, the exchange succeeds, and the stamp is older than
 * that flush, so the next type change spares that CPU the flush that it needs (test/twins/stamp.controlled.test.ts). It takes
 * a second L1, for a page lock is held around both; `setRepaired` takes the frame before it is stamped.
 * Differs: linear counts change while a type reference is held on both tables; Xen counts before it has one, or after it
 * gave it up, and then may write into what is a flush stamp by now.
 */
import { EINTR } from '../abi/errno.js';
import { HypervisorBug } from '../abi/errors.js';
import type { Mfn } from '../abi/frames.js';
import { vcpu } from '../machine/cpu-record.js';
import {
  countInfo,
  isTableType,
  ownerOf,
  ownerWord,
  PGT_count_mask,
  PGT_locked,
  PGT_partial,
  PGT_type_mask,
  PGT_validated,
  stampWord,
  typeInfo,
  typeLevel,
} from '../machine/frame.js';
import type { Cpu } from '../sync/actor.js';
import { add, cas, cas64, hi64, ld, ld64, ldOnce, or, peek, stOnce, wake } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { domain, ownerDomain } from './domain.js';
import { stampFrame } from './flush.js';
import { decLinearEntries, decLinearUses } from './linear.js';
import { waitUnlocked } from './page-lock.js';
import { getPageLight, putPage } from './page-ref.js';
import { hypercallPreemptCheck } from './preempt.js';
import { devalidatePage } from './validate.js';
import { isRepaired, isTwinned, TWIN, twin } from './twins.js';

/** Flags of putPageTypeFlags, and of the functions that take and drop tables' entries. */
export const PTF_partial_set = 1;
export const PTF_preemptible = 4;
export const PTF_defer = 8;
export const PTF_retain_ref_on_restart = 16;

const NO_TABLE = -1 as Mfn;

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
    if ((flags & PTF_partial_set) !== 0 && (x & PGT_partial) === 0 && !twin(TWIN['xsa-299'])) {
      y = yield* ldOnce(a); // raced on purpose: whoever clears the bit owns the reference
      if (y !== x) continue;
      return 0;
    }
    if ((x & PGT_count_mask) === 0) throw new HypervisorBug(`type count of frame ${String(mfn)} below zero`);
    if ((nx & PGT_count_mask) === 0) {
      if (isTableType(x) && (x & (PGT_validated | PGT_partial)) !== 0) {
        y = yield* cas(a, x, x & ~(PGT_validated | PGT_partial));
        if (y === x) return yield* putFinal(cpu, mfn, x, flags);
      } else if (isTwinned() && isRepaired()) {
        y = yield* cas(a, x, x & ~PGT_validated);
        if (y === x) return yield* putClaimed(cpu, mfn, x, flags);
      } else {
        const odd = isTwinned();
        const late = odd && twin(TWIN['stamp-late']);
        if (odd && twin(TWIN['xsa-241']))
          yield* stOnce(stampWord(mfn), peek(vcpu.twinStamp(cpu))); // raced: as stampFrame
        else if (!late) yield* stampFrame(mfn);
        y = yield* cas(a, x, nx);
        if (late && y === x) yield* stampFrame(mfn);
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

/**
 * The repaired order (twins.ts): the frame was claimed, as a table is whose entries are dropped, so that nobody can use it
 * between the stamp and the end of the count.
 */
function* putClaimed(cpu: Cpu, mfn: Mfn, x: number, flags: number): Steps<number> {
  yield* stampFrame(mfn);
  yield* stOnce(typeInfo(mfn), x - 1); // raced on purpose: others look and wait for it
  wake(typeInfo(mfn));
  return yield* checkFull(mfn, x, flags);
}

/** From two to one, if the word still is `x`: waits while the other one is the page lock's, which does not clean up. */
function* dropToOne(cpu: Cpu, mfn: Mfn, x: number): Steps<boolean> {
  const a = countInfo(mfn);
  const lo = yield* ld64(a);
  const hi = hi64();
  if (hi !== x) return false;
  if ((lo & PGT_locked) === 0 || twin(TWIN['xsa-242'])) return (yield* cas64(a, lo, x, lo, x - 1)) === 1;
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
  trace(cpu, EVENT.typeInvalidate, mfn, rc === 0 ? typeLevel(x) : rc);
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
