/**
 * Validation of tables: from "claimed" to validated, partial or nothing, and back.
 *
 * Invariant: the caller holds the validate lock (type, count 1, neither validated nor partial), so nobody else changes
 * the type word or word 3's validation fields; devalidation leaves the entries' words in place ([X9]).
 * Lock: the validate lock, ended by setting validated or partial, or by giving the type up.
 * Source: validate_page, devalidate_page, promote_l1_table … demote_l4_table, xen/arch/x86/mm.c; [X8], [X14], [X16].
 * Differs: not-present slots are no preemption checks; an interruption or an error while resuming the very first (or last)
 * entry of a partial table keeps account of the entry's reference, which Xen forgets.
 */
import { EINTR, ERESTART } from '../abi/errno.js';
import { mfnWord, PAGE_WORDS, type Mfn } from '../abi/frames.js';
import { ENTRIES, entryMfn, PAGE_PRESENT } from '../abi/pte.js';
import {
  NR_VALIDATED_MASK,
  nrValidated,
  ownerOf,
  ownerWord,
  PARTIAL_SET,
  PGT_count_mask,
  PGT_partial,
  PGT_validated,
  stampWord,
  typeInfo,
  typeLevel,
} from '../machine/frame.js';
import { vcpu } from '../machine/cpu-record.js';
import { FRAMES } from '../machine/layout.js';
import type { Cpu } from '../sync/actor.js';
import { and, cas, ld, ldOnce, or, peek, poke, stOnce, touch, wake } from '../sync/primitives.js';
import { POINT_READ, POINT_WRITE } from '../sync/schedule.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { domain, ownerDomain, type DomainRef } from './domain.js';
import { adjustL1Hi, adjustL1Lo, getPageFromL1e, isGuestL4Slot, putPageFromL1e } from './l1e.js';
import { dropFrom, FUSED, promoteFrom } from './l1-kernel.js';
import { getPageLight, putPage, PTF_partial_set, PTF_retain_ref_on_restart } from './page.js';
import { hypercallPreemptCheck } from './preempt.js';
import { adjustUpper, getPageFromUpper, isOldGuestTable, putPageFromUpper, setOldGuestTable } from './upper.js';
import { initXenL4Slots } from './xen-slots.js';

const LAST = ENTRIES - 1;

/** Validates the claimed frame as `type` and publishes the verdict. 0, -errno, -EINTR, -ERESTART. */
export function* validatePage(cpu: Cpu, mfn: Mfn, type: number): Steps<number> {
  const level = typeLevel(type);
  const d = yield* ownerDomain(ownerOf(yield* ld(ownerWord(mfn))));
  const rc = level === 1 ? yield* promoteL1(cpu, mfn, d) : yield* promoteUpper(cpu, mfn, level, d);
  const a = typeInfo(mfn);
  trace(cpu, EVENT.typeValidate, mfn, rc === 0 ? level : rc);
  if (rc === 0) {
    yield* or(a, PGT_validated);
  } else if (rc === -EINTR) {
    yield* and(a, ~PGT_count_mask);
  } else if (rc === -ERESTART || isOldGuestTable(cpu, mfn)) {
    yield* getPageLight(mfn);
    yield* or(a, PGT_partial);
  } else {
    yield* stOnce(a, 0); // raced on purpose: the type is given up, others may claim
  }
  wake(a);
  return rc;
}

/** Drops the references of all entries (of a partial frame: the validated ones); `x` is the type word as found. */
export function* devalidatePage(cpu: Cpu, mfn: Mfn, x: number): Steps<number> {
  const level = typeLevel(x);
  if ((x & PGT_partial) === 0) yield* setProgress(mfn, ENTRIES, 0);
  if (level > 1) return yield* demoteUpper(cpu, mfn, level);
  const d = yield* ownerDomain(ownerOf(yield* ld(ownerWord(mfn))));
  yield* dropL1Entries(cpu, mfn, d, ENTRIES);
  return 0;
}

/** nr_validated and the partial flag; the linear count beside them may change meanwhile. */
function* setProgress(mfn: Mfn, nr: number, partial: number): Steps<void> {
  const a = stampWord(mfn);
  const value = nr | ((partial & PTF_partial_set) !== 0 ? PARTIAL_SET : 0);
  let x = peek(a);
  for (;;) {
    const y = yield* cas(a, x, (x & ~(NR_VALIDATED_MASK | PARTIAL_SET)) | value);
    if (y === x) return;
    x = y;
  }
}
const partialFlag = (word: number): number => ((word & PARTIAL_SET) !== 0 ? PTF_partial_set : 0);

/** L1: all entries or none, never preempted. */
function* promoteL1(cpu: Cpu, mfn: Mfn, d: DomainRef): Steps<number> {
  const base = mfnWord(mfn);
  yield* touch(base, PAGE_WORDS, POINT_READ | POINT_WRITE);
  for (let i = yield* promoteFrom(cpu, base, 0, d); i < ENTRIES; i = yield* promoteFrom(cpu, base, i + 1, d)) {
    const slot = base + 2 * i;
    const lo = peek(slot);
    if ((lo & PAGE_PRESENT) === 0) continue;
    const hi = peek(slot + 1);
    const rc = yield* getPageFromL1e(cpu, lo, hi, d, d);
    if (rc < 0) {
      yield* dropL1Entries(cpu, mfn, d, i);
      return rc;
    }
    poke(slot, adjustL1Lo(lo, hi) ^ rc);
    poke(slot + 1, adjustL1Hi(lo, hi));
  }
  return 0;
}

/** Drops the references of entries 0 .. n-1: ascending for a whole table (and by kernel), descending to undo. */
function* dropL1Entries(cpu: Cpu, mfn: Mfn, d: DomainRef, n: number): Steps<void> {
  const base = mfnWord(mfn);
  yield* touch(base, 2 * n, POINT_READ);
  for (let i = dropFrom(base, 0, n); i < n; i = dropFrom(base, i + 1, n)) {
    const slot = base + 2 * (FUSED || n === ENTRIES ? i : n - 1 - i);
    const lo = peek(slot);
    if ((lo & PAGE_PRESENT) !== 0) yield* putPageFromL1e(cpu, lo, peek(slot + 1), d);
  }
}

/** L2 to L4, from nr_validated on; L2 and L3 may stop between entries, all of them inside one. */
function* promoteUpper(cpu: Cpu, mfn: Mfn, level: number, d: DomainRef): Steps<number> {
  const base = mfnWord(mfn);
  const progress = yield* ldOnce(stampWord(mfn)); // raced on purpose: only the linear count beside it moves
  const start = nrValidated(progress);
  let partial = partialFlag(progress);
  yield* touch(base, PAGE_WORDS, POINT_READ | POINT_WRITE);
  for (let i = start; i < ENTRIES; i++, partial = 0) {
    if (level === 4 && !isGuestL4Slot(i)) continue;
    const slot = base + 2 * i;
    const lo = peek(slot);
    if ((lo & PAGE_PRESENT) === 0) continue;
    const hi = peek(slot + 1);
    let rc: number;
    if (level < 4 && i > start && (yield* hypercallPreemptCheck(cpu))) rc = -EINTR;
    else rc = yield* getPageFromUpper(cpu, level, lo, hi, mfn, d, partial | PTF_retain_ref_on_restart);
    if (rc !== 0) return yield* promoteStopped(cpu, mfn, level, i, partial, rc);
    poke(slot, adjustUpper(level, lo));
  }
  if (level === 4) yield* initXenL4Slots(mfn, peek(domain.m2pStrict(d)) !== 0);
  return 0;
}

/** Entry `i` did not go through: notes how far validation came; after an error the frame becomes old_guest_table. */
function* promoteStopped(cpu: Cpu, mfn: Mfn, level: number, i: number, partial: number, rc: number): Steps<number> {
  if (rc === -ERESTART) {
    yield* setProgress(mfn, i, PTF_partial_set);
    return rc;
  }
  if (rc === -EINTR) {
    if (i === 0 && partial === 0) return rc;
    yield* setProgress(mfn, i, partial);
    return -ERESTART;
  }
  const slot = mfnWord(mfn) + 2 * i;
  const below = entryMfn(peek(slot), peek(slot + 1), FRAMES);
  if (i === 0) {
    if (partial !== 0 && !isOldGuestTable(cpu, below)) yield* putPage(cpu, below);
    return rc;
  }
  const transfer = level > 2 && below >= 0 && isOldGuestTable(cpu, below);
  if (!transfer && peek(vcpu.oldGuestTable(cpu)) !== 0) poke(vcpu.nLostTables(cpu), peek(vcpu.nLostTables(cpu)) + 1);
  yield* setProgress(mfn, i, transfer ? PTF_partial_set : partial);
  setOldGuestTable(cpu, mfn, true);
  return rc;
}

/** Downward from the last validated entry. */
function* demoteUpper(cpu: Cpu, mfn: Mfn, level: number): Steps<number> {
  const base = mfnWord(mfn);
  const progress = yield* ldOnce(stampWord(mfn)); // raced on purpose: only the linear count beside it moves
  let partial = partialFlag(progress);
  yield* touch(base, PAGE_WORDS, POINT_READ);
  let i = nrValidated(progress) - (partial === 0 ? 1 : 0);
  let did = false;
  for (; i >= 0; i--, partial = 0) {
    if (level === 4 && !isGuestL4Slot(i)) continue;
    const slot = base + 2 * i;
    const lo = peek(slot);
    if ((lo & PAGE_PRESENT) === 0) continue;
    let rc: number;
    if (level < 4 && did && (yield* hypercallPreemptCheck(cpu))) rc = -EINTR;
    else rc = yield* putPageFromUpper(cpu, lo, peek(slot + 1), mfn, partial);
    if (rc === -ERESTART) {
      yield* setProgress(mfn, i, PTF_partial_set);
      return rc;
    }
    if (rc === -EINTR) {
      if (i === LAST && partial === 0) return rc;
      yield* setProgress(mfn, i + (partial === 0 ? 1 : 0), partial);
      return -ERESTART;
    }
    did = true;
  }
  return 0;
}
