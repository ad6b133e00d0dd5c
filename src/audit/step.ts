/**
 * Checks after every step of an explored execution, on what the step changed: I1 to I4, I12, I13, I19, the page-lock rule,
 * and the first access through a dead translation.
 *
 * Invariant: the same answer as `recountStep` over the whole machine, which a test demands after every step; nothing is
 * written, and no counter is believed that is being checked. The invariants of guests' kernels (I15, I16) are checked by
 * what guests export (abi/guest.ts, GuestLook); leaks (I5 to I11, I14, I17, I18) are for the audit at the end.
 * Lock: none; called between two steps, when nothing runs.
 * Source: reference xen-pv-memory.md, section 6; DESIGN decision 3 (a point declares what its accessor then does).
 *
 * `step` is told what an actor declared and then did. Beside that an actor writes, without a point, words that are its own:
 * its record, its TLB; a slot that a walk fills is found by the entry that the walk read last.
 */
import { mfnWord, PAGE_WORDS, type Mfn } from '../abi/frames.js';
import { GTF_reading, GTF_writing } from '../abi/grant.js';
import { domain, domainSlot, domainSlots } from '../hypervisor/domain.js';
import * as f from '../machine/frame.js';
import { ARENA, FRAME_TABLE, FRAME_WORDS, FRAMES, TLB_SLOTS, TLBS } from '../machine/layout.js';
import { actor, CPU_WORDS, cpuAt, CPUS_BASE, HEADER_BASE, MAX_CPUS, MODE_ACCESS, MODE_GUEST } from '../sync/actor.js';
import { peek } from '../sync/primitives.js';
import { POINT_ATOMIC, POINT_POLL, POINT_READ, POINT_UNLOCK, POINT_WRITE } from '../sync/schedule.js';
import { makeAccesses, type Accesses } from './step/accesses.js';
import { entriesInForce, entryFault, tableFault } from './step/entries.js';
import { finding, type Finding } from './step/finding.js';
import { frameFault, holdsRefs } from './step/frames.js';
import { grantsAt } from './step/grants.js';
import { makeNaming } from './step/naming.js';
import { makeProgress, type Progress } from './step/progress.js';
import { recountStep } from './step/recount.js';
import { makeShadow, type Was } from './step/shadow.js';
import { isPending, isProtected, tlbFault, vcpuLabel } from './step/translations.js';
import { frameLabel } from './view.js';

export type { Finding } from './step/finding.js';
export { recountStep } from './step/recount.js';

export interface StepChecks {
  /** The machine was put back to its start, the same at every call. */
  reset(): void;
  /** After a step of the actor `index` (of `cpuAt`), which did what it had declared. */
  step(index: number, address: number, kind: number, words: number): Finding | undefined;
}

const RMW = POINT_READ | POINT_WRITE | POINT_ATOMIC;
/** Entries written at once beyond which the whole table is looked at. */
const FEW = 8;

class Checks implements StepChecks {
  readonly #shadow = makeShadow();
  readonly #naming = makeNaming();
  readonly #accesses: Accesses = makeAccesses();
  readonly #progress: Progress = makeProgress();
  /** The actor that page-locked a frame, and how many it has locked. */
  readonly #lockedBy = new Map<number, number>();
  readonly #locks = new Int32Array(MAX_CPUS);
  readonly #pending = new Uint8Array(MAX_CPUS);
  readonly #was: Was = { count: 0, type: 0, owner: 0 };

  reset(): void {
    this.#shadow.reset();
    this.#naming.reset();
    this.#accesses.reset();
    this.#progress.reset();
    this.#lockedBy.clear();
    this.#locks.fill(0);
    for (let i = 0; i < MAX_CPUS; i++) this.#pending[i] = isPending(cpuAt(i)) ? 1 : 0;
  }

  step(index: number, a: number, kind: number, words: number): Finding | undefined {
    if (a < FRAME_TABLE) return kind === 0 ? undefined : this.#memory(index, a, kind, words);
    if (a < TLBS) return (kind & POINT_WRITE) === 0 ? undefined : this.#records(index, a, words);
    if (a >= CPUS_BASE) return a < HEADER_BASE ? this.#processor(index, a, kind) : undefined;
    return a >= ARENA && (kind & POINT_UNLOCK) !== 0 && isTableLock(a) ? recountStep() : undefined;
  }

  /** Machine memory: tables, what Xen shares with guests, and whatever guests reach. */
  #memory(index: number, a: number, kind: number, words: number): Finding | undefined {
    const mfn = Math.floor(a / PAGE_WORDS) as Mfn;
    let wrong: Finding | undefined;
    if ((kind & POINT_WRITE) !== 0) {
      if (holdsRefs(peek(f.typeInfo(mfn)))) wrong = stored(mfn, a, words);
      else if ((peek(f.countInfo(mfn)) & f.PGC_xen_heap) !== 0) wrong = this.#shared(mfn, a, words);
      if (wrong !== undefined) return wrong;
    }
    const mode = peek(actor.mode(cpuAt(index)));
    if (mode !== MODE_GUEST && mode !== MODE_ACCESS) return undefined;
    // A walk sets A and D by a compare-exchange of one word, which is no store of the guest's.
    const writes = (kind & POINT_WRITE) !== 0 && !((kind & RMW) === RMW && words === 1);
    wrong = this.#accesses.arrived(cpuAt(index), mfn, writes);
    const slot = (a >> 1) & (TLB_SLOTS - 1);
    if (wrong !== undefined || (kind & POINT_READ) === 0 || !this.#shadow.slotMoved(index, slot)) return wrong;
    return this.#accesses.filled(cpuAt(index), slot);
  }

  /** A frame of Xen's heap was written: the bits of grants, if it is a table's. */
  #shared(mfn: Mfn, a: number, words: number): Finding | undefined {
    let wrong: Finding | undefined;
    for (let at = a; at < a + words && wrong === undefined; at++) {
      grantsAt(at, mfn, (granted, bits) => {
        if ((bits & GTF_reading) !== 0 && (bits & GTF_writing) !== 0) return;
        wrong ??= this.#accesses.changed(granted) ?? this.#naming.fault(granted);
      });
    }
    return wrong;
  }

  #records(index: number, a: number, words: number): Finding | undefined {
    const last = Math.min(Math.floor((a + words - 1 - FRAME_TABLE) / FRAME_WORDS), FRAMES - 1);
    for (let m = Math.floor((a - FRAME_TABLE) / FRAME_WORDS); m <= last; m++) {
      const wrong = this.#record(index, m as Mfn);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  #record(index: number, mfn: Mfn): Finding | undefined {
    const was = this.#was;
    this.#shadow.take(mfn, was);
    const c = peek(f.countInfo(mfn));
    const t = peek(f.typeInfo(mfn));
    const owner = peek(f.ownerWord(mfn));
    if (c === was.count && t === was.type && owner === was.owner) return undefined;
    const wrong = frameFault(mfn) ?? this.#lockMoved(index, mfn, was.count, c);
    if (wrong !== undefined) return wrong;
    const refs = c & f.PGC_count_mask;
    const free = (c & f.PGC_state) === f.PGC_state_free;
    const inForce = !free && holdsRefs(t);
    const wasFree = (was.count & f.PGC_state) === f.PGC_state_free;
    if (inForce && (wasFree || !holdsRefs(was.type) || ((t ^ was.type) & MATTERS) !== 0)) {
      const bad = tableFault(mfn);
      if (bad !== undefined) return bad;
    }
    const born = refs !== 0 && ((was.count & f.PGC_count_mask) === 0 || owner !== was.owner || wasFree);
    const gone = (refs === 0 || free) && (was.count & f.PGC_count_mask) !== 0;
    const retyped = !free && (t & f.PGT_count_mask) !== 0 && isOther(t, was.type);
    if (born || gone || retyped) {
      const bad = this.#naming.fault(mfn);
      if (bad !== undefined) return bad;
    }
    return born || (isProtected(mfn) && !wasProtected(was)) ? this.#accesses.changed(mfn) : undefined;
  }

  /** I4: one page lock per actor, given back by who took it. */
  #lockMoved(index: number, mfn: Mfn, was: number, c: number): Finding | undefined {
    if (((was ^ c) & f.PGT_locked) === 0) return undefined;
    const who = vcpuLabel(cpuAt(index));
    if ((c & f.PGT_locked) !== 0) {
      this.#lockedBy.set(mfn, index);
      this.#locks[index]! += 1;
      return this.#locks[index] === 1 ? undefined : finding('I4', `${who} holds a second page lock`, [who]);
    }
    const holder = this.#lockedBy.get(mfn);
    if (holder === undefined) return undefined; // locked before the start
    this.#lockedBy.delete(mfn);
    this.#locks[holder]! -= 1;
    if (holder === index) return undefined;
    return finding('page-lock', `${who} unlocks ${frameLabel(mfn)}, locked by ${vcpuLabel(cpuAt(holder))}`, [who]);
  }

  /** Words of an actor: requests that were served, parts of hypercalls. */
  #processor(index: number, a: number, kind: number): Finding | undefined {
    // The mode was changed, and the own request word looked at after it.
    if ((kind & POINT_POLL) !== 0 && (kind & POINT_WRITE) !== 0) return this.#progress.looked(cpuAt(index));
    if ((a - CPUS_BASE) % CPU_WORDS !== 0) return undefined;
    const i = (a - CPUS_BASE) / CPU_WORDS;
    if ((kind & POINT_WRITE) === 0) return i === index ? this.#progress.looked(cpuAt(i)) : undefined;
    const pending = isPending(cpuAt(i)) ? 1 : 0;
    const served = this.#pending[i] === 1 && pending === 0;
    this.#pending[i] = pending;
    return served ? tlbFault(cpuAt(i)) : undefined;
  }
}

/** Bits of a type word that say which entries are in force. */
const MATTERS = f.PGT_type_mask | f.PGT_validated | f.PGT_partial;

/** The frame is taken as something it was not before, or as a table again. */
const isOther = (t: number, was: number): boolean =>
  ((t ^ was) & f.PGT_type_mask) !== 0 || ((was & f.PGT_count_mask) === 0 && f.isTableType(t));

const wasProtected = (was: Was): boolean =>
  (was.count & f.PGC_state) !== f.PGC_state_free &&
  (was.type & f.PGT_validated) !== 0 &&
  (was.type & f.PGT_count_mask) !== 0 &&
  f.typeLevel(was.type) >= 1 &&
  f.typeLevel(was.type) <= 5;

/** Entries of a table in force were stored. */
function stored(mfn: Mfn, a: number, words: number): Finding | undefined {
  const c = peek(f.countInfo(mfn));
  if ((c & f.PGC_state) === f.PGC_state_free) return undefined;
  if (words > 2 * FEW) return tableFault(mfn);
  const t = peek(f.typeInfo(mfn));
  const end = entriesInForce(mfn, t);
  const first = (a - mfnWord(mfn)) >> 1;
  const last = (a + words - 1 - mfnWord(mfn)) >> 1;
  for (let i = first; i <= last && i < end; i++) {
    const wrong = entryFault(mfn, f.typeLevel(t), i);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

/** Is it the lock of a domain's grant table? */
function isTableLock(a: number): boolean {
  for (let i = 0; i < domainSlots; i++) if (peek(domain.grantTable(domainSlot(i))) === a) return true;
  return false;
}

/** Checks for one machine, which is at its start now and whenever `reset` is called. */
export function makeStepChecks(): StepChecks {
  const checks = new Checks();
  checks.reset();
  return checks;
}
