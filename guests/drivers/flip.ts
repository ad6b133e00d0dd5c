/**
 * Page flipping, as old network drivers had it: one side offers a page without a frame, the other sends it a frame.
 *
 * Invariant: a frame is sent only when nothing maps it, the direct map included; its page then has none. An offer's entry
 * holds the page's number first and the frame's once Xen says completed; an offer that Xen has committed itself to is
 * waited for a bounded while, and never given to somebody else.
 * Lock: none across hypercalls; page and reference are the caller's own meanwhile.
 * Source: Linux 2.6.18-xen drivers/xen/netback (net_rx_action, netbk_check_gop) and netfront; gnttab_grant_foreign_transfer
 * and gnttab_end_foreign_transfer_ref of drivers/xen/grant-table.c up to Linux 5.19; [X58].
 * Differs: a frame that Xen refuses to take goes back to its page, where netback had a BUG_ON; the wait has an end.
 */
import { EAGAIN, EINVAL, ENOMEM } from '../../src/abi/errno.js';
import type { Mfn, Pfn } from '../../src/abi/frames.js';
import {
  GNTST_bad_page,
  GNTST_okay,
  GNTTABOP_transfer,
  INVALID_GREF,
  TRANSFER_DOM,
  TRANSFER_REF,
  TRANSFER_STATUS,
  TRANSFER_WORDS,
} from '../../src/abi/grant.js';
import { HYPERVISOR_grant_table_op } from '../../src/abi/hypercall.js';
import { UVMF_ALL, UVMF_INVLPG } from '../../src/abi/mmu.js';
import { entryLo, PAGE_NX_HI } from '../../src/abi/pte.js';
import { and, or, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { insistDirect, setDirect } from '../kernel/alias.js';
import { allocZeroedPage } from '../kernel/alloc.js';
import type { KernelCpu } from '../kernel/context.js';
import { COUNT, WARN } from '../kernel/counters.js';
import { count, warn } from '../kernel/count.js';
import { PFN_NONE } from '../kernel/layout.js';
import { releasePage } from '../kernel/lru.js';
import { P2M_INVALID, pfnToMfn, setP2m } from '../kernel/p2m.js';
import { page, pageOf, PG_ballooned, PG_granted } from '../kernel/page.js';
import { KERNEL_RW } from '../kernel/pte.js';
import { scratchSet, structCall, structWord } from '../xen/calls.js';
import { borrowUnpopulated, takeBack } from './balloon.js';
import { acceptTransfer, endTransfer } from './grants.js';

/** What was offered: a page without a frame, and where Xen is to say which frame it gets. */
export interface Offer {
  readonly pfn: Pfn;
  readonly ref: number;
}

/** Offers `peer` to send a frame; undefined when memory or references are short. */
export function* offerPage(c: KernelCpu, peer: number): Steps<Offer | undefined> {
  const pfn = yield* borrowUnpopulated(c);
  if (pfn === PFN_NONE) return undefined;
  const ref = yield* acceptTransfer(c, peer, pfn);
  if (ref === INVALID_GREF) {
    yield* releasePage(c, pfn);
    return undefined;
  }
  yield* or(page.flags(pageOf(c.k, pfn)), PG_granted);
  return { pfn, ref };
}

/** Ends the offer: the page with the frame that came is free, or without one goes back. 0, or -EAGAIN: Xen is at it. */
export function* takeOffered(c: KernelCpu, pfn: Pfn, ref: number): Steps<number> {
  const mfn = yield* endTransfer(c, ref);
  if (mfn < 0) return -EAGAIN;
  const { k } = c;
  yield* and(page.flags(pageOf(k, pfn)), ~PG_granted);
  if (mfn === 0) {
    yield* releasePage(c, pfn);
    return 0;
  }
  yield* setP2m(c, pfn, mfn);
  const ok = yield* insistDirect(c, pfn, entryLo(mfn as Mfn, KERNEL_RW), PAGE_NX_HI, UVMF_INVLPG);
  yield* st(page.flags(pageOf(k, pfn)), 0);
  if (ok) yield* releasePage(c, pfn);
  return ok ? 0 : -EINVAL;
}

/** Sends a frame to `peer` against its offer `ref`. Answers the transfer's GNTST_*, or -errno when there was none. */
export function* sendPage(c: KernelCpu, peer: number, ref: number): Steps<number> {
  const pfn = yield* allocZeroedPage(c);
  if (pfn === PFN_NONE) return -ENOMEM;
  const mfn = yield* pfnToMfn(c, pfn);
  if (!(yield* setDirect(c, pfn, 0, 0, UVMF_INVLPG | UVMF_ALL))) {
    yield* releasePage(c, pfn);
    return -EINVAL;
  }
  yield* setP2m(c, pfn, P2M_INVALID);
  const status = yield* transfer(c, mfn, peer, ref);
  if (status < 0 && status !== GNTST_okay) yield* warn(c, WARN.hypercall, mfn);
  if (status === GNTST_bad_page) {
    yield* takeBack(c, pfn, mfn);
    return status;
  }
  // With any other answer the frame is the receiver's, or lost to Xen.
  yield* st(page.flags(pageOf(c.k, pfn)), PG_ballooned);
  yield* count(c, COUNT.ballooned);
  yield* releasePage(c, pfn);
  return status;
}

function* transfer(c: KernelCpu, mfn: Mfn, peer: number, ref: number): Steps<number> {
  for (let w = 0; w < TRANSFER_WORDS; w++) scratchSet(c, w, 0);
  scratchSet(c, 0, mfn);
  scratchSet(c, TRANSFER_DOM, peer);
  scratchSet(c, TRANSFER_REF, ref);
  // grant_table_op's third argument is the number of structures.
  c.g.arg(2, 1, 0);
  const rc = yield* structCall(c, HYPERVISOR_grant_table_op, GNTTABOP_transfer, TRANSFER_WORDS);
  // A call that was refused whole took nothing.
  return rc < 0 ? GNTST_bad_page : ((yield* structWord(c, TRANSFER_STATUS)) << 16) >> 16;
}
