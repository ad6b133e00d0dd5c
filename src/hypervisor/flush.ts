/**
 * Which CPUs a domain's change concerns: the dirty masks, over src/machine/flush.
 *
 * Invariant: a domain's dirty set is all its vCPUs (each is its own physical CPU and never lazy); vCPUs that are off hold
 * an empty TLB or flush before they run.
 * Lock: none.
 * Source: dirty_cpumask, tlbflush_filter, filtered_flush_tlb_mask; [X13].
 */
import type { Mfn } from '../abi/frames.js';
import { flushClock } from '../machine/clock.js';
import { flushMask, flushMaskSince, maskHi, maskLo } from '../machine/flush.js';
import { ownerOf, ownerWord, stampWord } from '../machine/frame.js';
import { actor, MODE_GUEST, type Cpu } from '../sync/actor.js';
import { ld, ldOnce, peek, stOnce } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { domain, ownerDomain, vcpuCountOf, vcpuOf, type DomainRef } from './domain.js';
import { globals } from './globals.js';
import { TWIN, twin } from './twins.js';

/** The bits of actors `first` .. `first + count - 1` in word `word` (0 low, 1 high) of a CPU set. */
function bits(first: number, count: number, word: number): number {
  let mask = 0;
  for (let i = first; i < first + count; i++) if ((i - 1) >> 5 === word) mask |= 1 << ((i - 1) & 31);
  return mask;
}
export const dirtyLo = (d: DomainRef): number => bits(peek(domain.vcpuBase(d)), peek(domain.vcpuCount(d)), 0);
export const dirtyHi = (d: DomainRef): number => bits(peek(domain.vcpuBase(d)), peek(domain.vcpuCount(d)), 1);

/** Flushes every CPU that may hold translations of the domain. */
export function* flushDomain(cpu: Cpu, d: DomainRef): Steps<void> {
  if (twin(TWIN['flush-guest-mode-only'])) return yield* flushGuestMode(cpu, d);
  yield* flushMask(cpu, dirtyLo(d), dirtyHi(d));
}

/** The twin flush-guest-mode-only: who is in the hypervisor cannot be using its TLB, can it? */
function* flushGuestMode(cpu: Cpu, d: DomainRef): Steps<void> {
  let lo = 0;
  let hi = 0;
  for (let i = 0; i < vcpuCountOf(d); i++) {
    const v = vcpuOf(d, i);
    const mode = yield* ldOnce(actor.mode(v)); // raced: the mode changes
    if (v !== cpu && mode !== MODE_GUEST) continue;
    lo |= maskLo(v);
    hi |= maskHi(v);
  }
  yield* flushMask(cpu, lo, hi);
}

/** Flushes those CPUs of the frame's owner that have not flushed since the frame's stamp (type change, [X13]). */
export function* flushOwnerStale(cpu: Cpu, mfn: Mfn): Steps<void> {
  const stamp = yield* ld(stampWord(mfn));
  const d = yield* ownerDomain(ownerOf(yield* ld(ownerWord(mfn))));
  if (d !== 0) yield* flushMaskSince(cpu, dirtyLo(d), dirtyHi(d), stamp);
}

/** Flushes every CPU that has not flushed since `stamp` (a freed frame is about to be used again). */
export function* flushAllStale(cpu: Cpu, stamp: number): Steps<void> {
  // A CPU that comes into use later starts with an empty TLB.
  const used = peek(globals.cpusUsed) - 1;
  yield* flushMaskSince(cpu, bits(1, used, 0), bits(1, used, 1), stamp);
}

/** page_set_tlbflush_timestamp. */
export function* stampFrame(mfn: Mfn): Steps<void> {
  yield* stOnce(stampWord(mfn), yield* flushClock()); // raced on purpose: two last puts in a row stamp the same frame
}
