/**
 * Steps about grants: granting, revoking and using pages again; mapping, touching and unmapping those of others.
 *
 * Invariant: grants are numbered from 0 in each granting domain, in the order they were made; a process maps grant `i`
 * at the same address whoever granted it, so one process maps the grants of one peer.
 * Lock: the driver's and the kernel's own.
 */
import { EAGAIN, EINVAL, ENOMEM } from '../../../src/abi/errno.js';
import { INVALID_GREF } from '../../../src/abi/grant.js';
import { makeVa, type Pfn, type Va } from '../../../src/abi/frames.js';
import { or, peek } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { gntdevMmap, gntdevNewMap, gntdevOpen } from '../../drivers/gntdev/device.js';
import { entryOf, pfnOfEntry, setGrant } from '../../drivers/gntdev/map.js';
import { offerPage, sendPage, takeOffered } from '../../drivers/flip.js';
import { endAccess, grantAccess } from '../../drivers/grants.js';
import { allocZeroedPage, getPageRef } from '../../kernel/alloc.js';
import type { KernelCpu } from '../../kernel/context.js';
import { fileOf, installFile, type File } from '../../kernel/file.js';
import { addVa, directVa, L1_SPAN, PFN_NONE } from '../../kernel/layout.js';
import { releasePage } from '../../kernel/lru.js';
import { munmap } from '../../kernel/mmap.js';
import { page, pageOf, PG_granted } from '../../kernel/page.js';
import type { Task } from '../../kernel/task.js';
import { userTouch } from '../../kernel/user.js';
import { backingSlot, GRANT_SLOTS, grantedSlot, pageSlot, refSlot, slotNow, slotSet } from './board.js';
import { kernel } from '../../kernel/records.js';
import { arg, currentMm, currentTask, type Step } from './step.js';

const GRANTS = makeVa(255, 511, 511, 256);
/** Where a process maps grant `i`. */
const grantAt = (i: number): Va => addVa(GRANTS, i * L1_SPAN);

/** One more page granted to `peer`, in the first free slot. */
function* grantOne(c: KernelCpu, peer: number, readonly: boolean): Steps<number> {
  const me = peek(kernel.domid(c.k));
  let i = 0;
  while (i < GRANT_SLOTS && peek(grantedSlot(c, i)) !== 0) i++;
  const pfn = i < GRANT_SLOTS ? yield* allocZeroedPage(c) : PFN_NONE;
  if (pfn === PFN_NONE) return -ENOMEM;
  const ref = yield* grantAccess(c, peer, pfn, readonly);
  if (ref === INVALID_GREF) {
    yield* releasePage(c, pfn);
    return -ENOMEM;
  }
  yield* or(page.flags(pageOf(c.k, pfn)), PG_granted);
  yield* slotSet(grantedSlot(c, i), pfn);
  yield* slotSet(refSlot(c, me, i), ref);
  return 0;
}

/** The descriptor of the grant device that the task has, opened when it has none. */
function* deviceOf(c: KernelCpu, t: Task): Steps<File> {
  if (fileOf(t, 0) !== 0) return fileOf(t, 0);
  const f = yield* gntdevOpen(c);
  if (f !== 0) yield* installFile(t, f);
  return f;
}

function* mapFrom(c: KernelCpu, peer: number, first: number, n: number): Steps<number> {
  const f = yield* deviceOf(c, currentTask(c));
  if (f === 0) return -ENOMEM;
  const map = yield* gntdevNewMap(c, f, n, false);
  if (map === 0) return -ENOMEM;
  for (let i = 0; i < n; i++) {
    setGrant(map, i, peer, yield* slotNow(refSlot(c, peer, first + i)));
    yield* slotSet(backingSlot(c, first + i), pfnOfEntry(entryOf(map, i)));
  }
  return yield* gntdevMmap(c, currentMm(c), f, map, grantAt(first));
}

/** Revokes grant `i` once; its page is free for other use when nobody had it mapped. */
function* revoke(c: KernelCpu, i: number): Steps<number> {
  const me = peek(kernel.domid(c.k));
  const ref = peek(refSlot(c, me, i));
  if (ref === 0) return -EINVAL;
  if (!(yield* endAccess(c, ref))) return -EAGAIN;
  yield* slotSet(refSlot(c, me, i), 0);
  yield* releasePage(c, peek(grantedSlot(c, i)) as Pfn);
  yield* slotSet(grantedSlot(c, i), 0);
  return 0;
}

/** One more page offered for a frame of `peer`'s, in the first free slot. */
function* acceptOne(c: KernelCpu, peer: number): Steps<number> {
  let i = 0;
  while (i < GRANT_SLOTS && peek(grantedSlot(c, i)) !== 0) i++;
  const offer = i < GRANT_SLOTS ? yield* offerPage(c, peer) : undefined;
  if (offer === undefined) return -ENOMEM;
  yield* slotSet(grantedSlot(c, i), offer.pfn);
  yield* slotSet(refSlot(c, peek(kernel.domid(c.k)), i), offer.ref);
  return 0;
}

function* takeOne(c: KernelCpu, i: number): Steps<number> {
  const slot = refSlot(c, peek(kernel.domid(c.k)), i);
  const ref = peek(slot);
  if (ref === 0) return -EINVAL;
  const rc = yield* takeOffered(c, peek(grantedSlot(c, i)) as Pfn, ref);
  if (rc === -EAGAIN) return rc;
  yield* slotSet(slot, 0);
  yield* slotSet(grantedSlot(c, i), 0);
  return rc;
}

export const grantSteps: readonly Step[] = [
  {
    name: 'grant',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return yield* grantOne(c, arg(args, 0), false);
    },
  },
  {
    name: 'grant-readonly',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return yield* grantOne(c, arg(args, 0), true);
    },
  },
  {
    name: 'revoke',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return yield* revoke(c, arg(args, 0));
    },
  },
  {
    name: 'map',
    process: true,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return yield* mapFrom(c, arg(args, 0), arg(args, 1), arg(args, 2));
    },
  },
  {
    name: 'touch',
    process: true,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return (yield* userTouch(c, grantAt(arg(args, 0)), arg(args, 1), true)) - arg(args, 1);
    },
  },
  {
    name: 'unmap',
    process: true,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return yield* munmap(c, currentMm(c), grantAt(arg(args, 0)), arg(args, 1));
    },
  },
  {
    name: 'hold',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      const pfn = (yield* slotNow(backingSlot(c, arg(args, 0)))) as Pfn;
      if (pfn === PFN_NONE) return -EINVAL;
      yield* getPageRef(c, pfn);
      return 0;
    },
  },
  {
    name: 'release',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      const pfn = (yield* slotNow(backingSlot(c, arg(args, 0)))) as Pfn;
      if (pfn === PFN_NONE) return -EINVAL;
      yield* releasePage(c, pfn);
      return 0;
    },
  },
  {
    name: 'accept',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return yield* acceptOne(c, arg(args, 0));
    },
  },
  {
    name: 'take',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      return yield* takeOne(c, arg(args, 0));
    },
  },
  {
    name: 'transfer',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      const ref = yield* slotNow(refSlot(c, arg(args, 0), arg(args, 1)));
      return ref === 0 ? -EINVAL : yield* sendPage(c, arg(args, 0), ref);
    },
  },
  {
    name: 'page',
    process: false,
    *run(c: KernelCpu, args: readonly number[]): Steps<number> {
      const pfn = yield* allocZeroedPage(c);
      if (pfn === PFN_NONE) return -ENOMEM;
      yield* c.g.store32(directVa(pfn), 1);
      yield* slotSet(pageSlot(c, arg(args, 0)), pfn);
      return 0;
    },
  },
];
