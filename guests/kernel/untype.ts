/**
 * A table that Xen would not let go of at the first attempt is asked about again, a few times, call by call.
 *
 * Invariant: bounded; a page is called memory again only after Xen made its alias writable, which it does for no table.
 * Lock: the caller's, who owns the table.
 * Source: [X4], [X73]; Linux warns at a refused unpin and goes on, and faults later.
 */
import type { Pfn } from '../../src/abi/frames.js';
import { MMUEXT_UNPIN_TABLE } from '../../src/abi/mmu.js';
import { entryLo, PAGE_NX_HI } from '../../src/abi/pte.js';
import type { Steps } from '../../src/sync/steps.js';
import { mmuextOp, updateVaMapping } from '../xen/calls.js';
import type { KernelCpu } from './context.js';
import { directVa } from './layout.js';
import { pfnToMfn } from './p2m.js';
import { KERNEL_RW } from './pte.js';
import { splitLocks } from './ptl.js';

/** Attempts after the first. */
export const REPAIRS = 4;

/** One attempt: the pin of an L1 of its own, then the alias; false: still a table. */
export function* untypeTable(c: KernelCpu, level: number, pfn: Pfn): Steps<boolean> {
  const mfn = yield* pfnToMfn(c, pfn);
  if (level === 1 && splitLocks(c)) yield* mmuextOp(c, MMUEXT_UNPIN_TABLE, mfn);
  return (yield* updateVaMapping(c, directVa(pfn), entryLo(mfn, KERNEL_RW), PAGE_NX_HI, 0)) >= 0;
}

/** A few attempts. */
export function* untypeAgain(c: KernelCpu, level: number, pfn: Pfn): Steps<boolean> {
  for (let i = 0; i < REPAIRS; i++) if (yield* untypeTable(c, level, pfn)) return true;
  return false;
}
