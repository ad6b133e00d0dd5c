/**
 * p2m: what frame a pfn has; and the way back through Xen's M2P.
 *
 * Invariant: p2m[pfn] is a frame of the domain's own, or P2M_INVALID, or P2M_FOREIGN | mfn while a grant is mapped there.
 * M2P is a hint: for a foreign frame it names the granter's pfn, so a way back counts only when p2m agrees ([X77]).
 * Lock: an entry is one word, written by who owns the page.
 * Source: Linux arch/x86/xen/p2m.c, include/asm/xen/page.h (mfn_to_local_pfn).
 */
import type { Mfn, Pfn } from '../../src/abi/frames.js';
import { INVALID_MFN } from '../../src/abi/frames.js';
import { entryMfn } from '../../src/abi/pte.js';
import { ldOnce, peek, stOnce } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { m2pVa, PFN_NONE } from './layout.js';
import { kernel, type Kernel } from './records.js';

export const P2M_INVALID = -1;
export const P2M_FOREIGN = 1 << 30;

const slot = (k: Kernel, pfn: Pfn): number => peek(kernel.p2m(k)) + pfn;

/** The frame of `pfn`, own or foreign; INVALID_MFN when it has none. */
export function* pfnToMfn(c: KernelCpu, pfn: Pfn): Steps<Mfn> {
  const e = yield* ldOnce(slot(c.k, pfn)); // raced on purpose: one word, whole
  return e === P2M_INVALID ? INVALID_MFN : ((e & ~P2M_FOREIGN) as Mfn);
}

export function* setP2m(c: KernelCpu, pfn: Pfn, entry: number): Steps<void> {
  yield* stOnce(slot(c.k, pfn), entry); // raced on purpose: one word, whole
}

/** The raw entry of a still kernel. */
export const p2mEntry = (k: Kernel, pfn: Pfn): number => peek(slot(k, pfn));

/** The own pfn that has frame `mfn`; PFN_NONE when it is nobody's here (foreign, Xen's, ballooned). */
export function* mfnToPfn(c: KernelCpu, mfn: Mfn): Steps<Pfn> {
  const pfn = (yield* c.g.load32(m2pVa(mfn))) as Pfn;
  if (c.g.faulted() || pfn <= 0 || pfn >= peek(kernel.maxPfn(c.k))) return PFN_NONE;
  const e = yield* ldOnce(slot(c.k, pfn)); // raced on purpose: one word, whole
  return e === mfn ? pfn : PFN_NONE;
}

/** The pfn an entry names, PFN_NONE for a foreign or absurd frame. */
export function* entryPfn(c: KernelCpu, lo: number, hi: number): Steps<Pfn> {
  const mfn = entryMfn(lo, hi, peek(kernel.frames(c.k)));
  return mfn === INVALID_MFN ? PFN_NONE : yield* mfnToPfn(c, mfn);
}
