/**
 * Steps between domains: a grant copy as a backend makes it, and event channels with a wait that ends.
 *
 * Invariant: an event only says "look"; who awaits one looks at most as often as it was told, and says -EAGAIN then. A
 * page that was copied to is its domain's own whatever the copy answered.
 * Lock: none. Source: Linux drivers/net/xen-netback/netback.c (copies), drivers/xen/events/events_base.c.
 */
import { EAGAIN, EINVAL, ENOMEM } from '../../../src/abi/errno.js';
import { DOMID_SELF, PAGE_SIZE } from '../../../src/abi/frames.js';
import {
  COPY_DEST,
  COPY_LEN,
  COPY_PTR_WHERE,
  COPY_SOURCE,
  COPY_STATUS,
  COPY_WORDS,
  GNTCOPY_source_gref,
  GNTTABOP_copy,
} from '../../../src/abi/grant.js';
import { HYPERVISOR_grant_table_op } from '../../../src/abi/hypercall.js';
import { peek } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { allocZeroedPage } from '../../kernel/alloc.js';
import type { KernelCpu } from '../../kernel/context.js';
import { PFN_NONE } from '../../kernel/layout.js';
import { releasePage } from '../../kernel/lru.js';
import { pfnToMfn } from '../../kernel/p2m.js';
import { kernel } from '../../kernel/records.js';
import { scratchSet, structCall, structWord } from '../../xen/calls.js';
import { allocUnbound, bindInterdomain, sendEvent } from '../../xen/event-ops.js';
import { newsSlot, portSlot, refSlot, slotNow, slotSet } from './board.js';
import { arg, type Step } from './step.js';

/** Copies the page behind `ref` of `peer` to a fresh one, which is given back. */
function* copyFrom(c: KernelCpu, peer: number, ref: number): Steps<number> {
  const pfn = yield* allocZeroedPage(c);
  if (pfn === PFN_NONE) return -ENOMEM;
  const mfn = yield* pfnToMfn(c, pfn);
  for (let w = 0; w < COPY_WORDS; w++) scratchSet(c, w, 0);
  scratchSet(c, COPY_SOURCE, ref);
  scratchSet(c, COPY_SOURCE + COPY_PTR_WHERE, peer);
  scratchSet(c, COPY_DEST, mfn);
  scratchSet(c, COPY_DEST + COPY_PTR_WHERE, DOMID_SELF);
  scratchSet(c, COPY_LEN, PAGE_SIZE | (GNTCOPY_source_gref << 16));
  // grant_table_op's third argument is the number of structures.
  c.g.arg(2, 1, 0);
  const rc = yield* structCall(c, HYPERVISOR_grant_table_op, GNTTABOP_copy, COPY_WORDS);
  const status = rc < 0 ? rc : ((yield* structWord(c, COPY_STATUS)) << 16) >> 16;
  yield* releasePage(c, pfn);
  return status;
}

export const notifySteps: readonly Step[] = [
  {
    name: 'copy',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      const ref = yield* slotNow(refSlot(c, arg(args, 0), arg(args, 1)));
      return ref === 0 ? -EINVAL : yield* copyFrom(c, arg(args, 0), ref);
    },
  },
  {
    name: 'listen',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      const port = yield* allocUnbound(c, arg(args, 0));
      if (port < 0) return port;
      yield* slotSet(portSlot(c, peek(kernel.domid(c.k))), port);
      return 0;
    },
  },
  {
    name: 'connect',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      const port = yield* bindInterdomain(c, arg(args, 0), yield* slotNow(portSlot(c, arg(args, 0))));
      if (port < 0) return port;
      yield* slotSet(portSlot(c, peek(kernel.domid(c.k))), port);
      return 0;
    },
  },
  {
    name: 'notify',
    process: false,
    *run(c: KernelCpu): Steps<number> {
      const me = peek(kernel.domid(c.k));
      yield* slotSet(newsSlot(c, me), 1);
      return yield* sendEvent(c, yield* slotNow(portSlot(c, me)));
    },
  },
  {
    name: 'await',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      for (let look = 0; look < arg(args, 1); look++) {
        yield* c.g.poll();
        if ((yield* slotNow(newsSlot(c, arg(args, 0)))) !== 0) return 0;
      }
      return -EAGAIN;
    },
  },
];
