/**
 * A dying domain lets go of its memory: vCPUs' bases, then every frame: pins, allocation references, and by force the
 * validity of tables that only hold each other.
 *
 * Invariant: phases are passed once, in order; within one a cursor says where to go on, so every continuation ends.
 * Lock: the destroyer holds the domain's lock; frames are changed as everywhere, by atomics.
 * Source: domain_relinquish_resources, relinquish_memory, xen/arch/x86/domain.c; [X64].
 * Differs: frames are found by their owner word in ascending order, not on the domain's lists.
 */
import { EINTR, ERESTART } from '../abi/errno.js';
import type { Mfn } from '../abi/frames.js';
import { HypervisorBug } from '../abi/errors.js';
import { faultHit } from '../fault/plan.js';
import { SITE } from '../fault/sites.js';
import {
  countInfo,
  ownerOf,
  ownerWord,
  PGC_xen_heap,
  PGT_l2_page_table,
  PGT_l3_page_table,
  PGT_l4_page_table,
  PGT_partial,
  PGT_pinned,
  PGT_type_mask,
  PGT_validated,
  typeInfo,
} from '../machine/frame.js';
import { FRAME_WORDS } from '../machine/layout.js';
import type { Cpu } from '../sync/actor.js';
import { add, and, cas, ld, ldOnce, or, peek, poke, touch } from '../sync/primitives.js';
import { POINT_ONCE, POINT_READ } from '../sync/schedule.js';
import type { Steps } from '../sync/steps.js';
import { putPageAllocRef } from './allocation.js';
import { vcpuDestroyPagetables } from './base.js';
import { domain, domidOf, vcpuCountOf, vcpuOf, type DomainRef } from './domain.js';
import { getPage, putPage, putPageAndTypePreemptible } from './page.js';
import { hypercallPreemptCheck } from './preempt.js';
import { devalidatePage } from './validate.js';

/** Types whose frames are forced to let go, phase by phase; the first stands for Xen's shared frames. */
const XEN_FRAMES = -1;
const PHASES = Object.freeze([XEN_FRAMES, PGT_l4_page_table, PGT_l3_page_table, PGT_l2_page_table]);

/** 0, or -ERESTART to be called again. */
export function* relinquishResources(cpu: Cpu, d: DomainRef): Steps<number> {
  if (isLate(cpu, d)) return -ERESTART;
  if (peek(domain.relPhase(d)) === 0) {
    for (let i = 0; i < vcpuCountOf(d); i++) {
      const rc = yield* vcpuDestroyPagetables(cpu, vcpuOf(d, i));
      if (rc !== 0) return rc;
    }
    yield* nextPhase(d);
  }
  for (;;) {
    const type = PHASES[peek(domain.relPhase(d)) - 1];
    if (type === undefined) return 0;
    const rc = yield* relinquishMemory(cpu, d, type);
    if (rc !== 0) return rc;
    yield* nextPhase(d);
  }
}

/** The memory is handed back late, by the fault plan: whoever destroys looks again as often as it says. */
function isLate(cpu: Cpu, d: DomainRef): boolean {
  const left = peek(domain.relLate(d));
  if (left === 1) return false;
  const next = left === 0 ? faultHit(cpu, SITE['memory.late']) + 1 : left - 1;
  poke(domain.relLate(d), next);
  return next > 1;
}

function* nextPhase(d: DomainRef): Steps<void> {
  poke(domain.relPhase(d), peek(domain.relPhase(d)) + 1);
  poke(domain.relCursor(d), yield* ld(domain.mfnLow(d)));
}

/** Frame records looked at in one point. */
const BLOCK = 256;

function* relinquishMemory(cpu: Cpu, d: DomainRef, type: number): Steps<number> {
  const last = yield* ld(domain.mfnHigh(d));
  for (let m = peek(domain.relCursor(d)); m <= last; m++) {
    const mfn = m as Mfn;
    if (m % BLOCK === 0 || m === peek(domain.relCursor(d))) {
      yield* touch(countInfo(mfn), (BLOCK - (m % BLOCK)) * FRAME_WORDS, POINT_READ | POINT_ONCE);
    }
    if (ownerOf(peek(ownerWord(mfn))) !== domidOf(d)) continue;
    if (((peek(countInfo(mfn)) & PGC_xen_heap) !== 0) !== (type === XEN_FRAMES)) continue;
    const rc = yield* relinquishFrame(cpu, d, mfn, type);
    const stop = rc === 0 && m < last && (yield* hypercallPreemptCheck(cpu));
    if (rc === 0 && !stop) continue;
    poke(domain.relCursor(d), rc === 0 ? m + 1 : m);
    return -ERESTART;
  }
  return 0;
}

function* relinquishFrame(cpu: Cpu, d: DomainRef, mfn: Mfn, type: number): Steps<number> {
  if (!(yield* getPage(cpu, mfn, domidOf(d)))) return 0;
  const rc = yield* dropPin(cpu, mfn);
  if (rc !== 0) {
    yield* putPage(cpu, mfn);
    return -ERESTART;
  }
  yield* putPageAllocRef(cpu, mfn);
  return yield* forceInvalid(cpu, mfn, type);
}

/** Drops the pin's references. -EINTR: they are held, the pin stands again; -ERESTART: partial, the bit is gone. */
function* dropPin(cpu: Cpu, mfn: Mfn): Steps<number> {
  const was = yield* and(typeInfo(mfn), ~PGT_pinned);
  if ((was & PGT_pinned) === 0) return 0;
  const rc = yield* putPageAndTypePreemptible(cpu, mfn);
  if (rc === -EINTR) yield* or(typeInfo(mfn), PGT_pinned);
  else if (rc === -ERESTART) yield* putPage(cpu, mfn);
  return rc;
}

/**
 * A table of this type that is still valid now is held by others of its kind only (linear links), or was left partial:
 * its entries go, its count stays for those who hold it. Our reference is dropped, or given to the partial state.
 */
function* forceInvalid(cpu: Cpu, mfn: Mfn, type: number): Steps<number> {
  const a = typeInfo(mfn);
  let y = yield* ldOnce(a); // raced on purpose: settled by the compare-exchange
  for (;;) {
    const x = y;
    if ((x & PGT_type_mask) !== type || (x & (PGT_validated | PGT_partial)) === 0) break;
    y = yield* cas(a, x, x & ~(PGT_validated | PGT_partial));
    if (y !== x) continue;
    const rc = yield* devalidatePage(cpu, mfn, x);
    if (rc !== 0) return yield* interrupted(cpu, mfn, x, rc);
    if ((x & PGT_partial) !== 0) {
      yield* add(a, -1);
      yield* putPage(cpu, mfn);
    }
    break;
  }
  yield* putPage(cpu, mfn);
  return 0;
}

/** The forced devalidation of a frame found as `x` was interrupted. */
function* interrupted(cpu: Cpu, mfn: Mfn, x: number, rc: number): Steps<number> {
  const a = typeInfo(mfn);
  const wasPartial = (x & PGT_partial) !== 0;
  if (rc === -EINTR) {
    yield* or(a, PGT_validated);
    if (wasPartial) throw new HypervisorBug('a partial table reported no progress lost');
    yield* putPage(cpu, mfn);
  } else {
    if (!wasPartial) yield* add(a, 1);
    yield* or(a, PGT_partial);
    if (wasPartial) yield* putPage(cpu, mfn);
  }
  return -ERESTART;
}
