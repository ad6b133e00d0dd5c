/**
 * GNTTABOP_setup_table, query_size, get_status_frames, get_version: what a guest asks about a grant table.
 *
 * Invariant: a frame number told to a guest is a frame of the named domain's, which it may map.
 * Lock: setup_table the table's write lock (it may grow the table), the others its read lock.
 * Source: [X38], [X60]; xen/common/grant_table.c. `op`: the argument structure, copied in, results written there.
 * An answer is a GNTST status, but for get_version, which answers an errno.
 */
import { EPERM, ESRCH } from '../../abi/errno.js';
import { canonicalVa, DOMID_SELF, type Va } from '../../abi/frames.js';
import {
  GET_VERSION_RESULT,
  GNTST_bad_domain,
  GNTST_bad_virt_addr,
  GNTST_general_error,
  GNTST_okay,
  GNTST_permission_denied,
  lowHalf,
  QUERY_MAX,
  QUERY_NR,
  SETUP_LIST,
  SETUP_NR,
  STATUS_FRAMES_DOM,
  STATUS_FRAMES_LIST,
} from '../../abi/grant.js';
import type { Cpu } from '../../sync/actor.js';
import { ld, ldOnce, peek, poke } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { copyToVa } from '../copy.js';
import { currentDomain, findDomain, mayTarget, type DomainRef } from '../domain.js';
import { tableOf } from './claim.js';
import { growTable } from './grow.js';
import { listed } from './scratch.js';
import {
  grantReadLock,
  grantReadUnlock,
  grantTable,
  grantWriteLock,
  grantWriteUnlock,
  statusFramesFor,
  type GrantTable,
} from './table.js';

/** The domain with that id, DOMID_SELF for the caller's own; 0: none. */
export function* domainByAnyId(cpu: Cpu, domid: number): Steps<DomainRef> {
  return domid === DOMID_SELF ? currentDomain(cpu) : yield* findDomain(domid);
}

export function* setupTable(cpu: Cpu, op: number): Steps<number> {
  const d = yield* domainByAnyId(cpu, lowHalf(peek(op)));
  if (d === 0) return GNTST_bad_domain;
  if (!mayTarget(cpu, d)) return GNTST_permission_denied;
  const gt = tableOf(d);
  const frames = peek(op + SETUP_NR) >>> 0;
  if (frames > peek(grantTable.maxGrantFrames(gt))) return GNTST_general_error;
  yield* grantWriteLock(cpu, gt);
  let status: number;
  const short = frames > (yield* ld(grantTable.nrGrantFrames(gt)));
  if ((short || (yield* shortOfStatus(gt, frames))) && (yield* growTable(cpu, gt, frames)) !== 0) {
    status = GNTST_general_error;
  } else {
    const list = canonicalVa(peek(op + SETUP_LIST), peek(op + SETUP_LIST + 1));
    status = yield* tellFrames(cpu, peek(grantTable.sharedList(gt)), frames, list);
  }
  yield* grantWriteUnlock(cpu, gt);
  return status;
}

function* shortOfStatus(gt: GrantTable, frames: number): Steps<boolean> {
  if ((yield* ld(grantTable.version(gt))) < 2) return false;
  return statusFramesFor(frames) > (yield* ld(grantTable.nrStatusFrames(gt)));
}

/** Writes the first `n` frame numbers of a list as 64-bit words; bad_virt_addr when one could not be written. */
function* tellFrames(cpu: Cpu, list: number, n: number, to: Va): Steps<number> {
  let status: number = GNTST_okay;
  for (let i = 0; i < n; i++) {
    poke(listed(cpu), yield* ld(list + i));
    poke(listed(cpu) + 1, 0);
    if (!(yield* copyToVa(cpu, (to + 8 * i) as Va, listed(cpu), 2))) status = GNTST_bad_virt_addr;
  }
  return status;
}

export function* querySize(cpu: Cpu, op: number): Steps<number> {
  const d = yield* domainByAnyId(cpu, lowHalf(peek(op)));
  if (d === 0) return GNTST_bad_domain;
  if (!mayTarget(cpu, d)) return GNTST_permission_denied;
  const gt = tableOf(d);
  yield* grantReadLock(cpu, gt);
  poke(op + QUERY_NR, yield* ld(grantTable.nrGrantFrames(gt)));
  yield* grantReadUnlock(cpu, gt);
  poke(op + QUERY_MAX, peek(grantTable.maxGrantFrames(gt)));
  return GNTST_okay;
}

export function* getStatusFrames(cpu: Cpu, op: number): Steps<number> {
  const d = yield* domainByAnyId(cpu, lowHalf(peek(op + STATUS_FRAMES_DOM)));
  if (d === 0) return GNTST_bad_domain;
  if (!mayTarget(cpu, d)) return GNTST_permission_denied;
  const gt = tableOf(d);
  const frames = peek(op) >>> 0;
  yield* grantReadLock(cpu, gt);
  let status: number = GNTST_general_error;
  if (frames <= (yield* ld(grantTable.nrStatusFrames(gt)))) {
    const list = canonicalVa(peek(op + STATUS_FRAMES_LIST), peek(op + STATUS_FRAMES_LIST + 1));
    status = yield* tellFrames(cpu, peek(grantTable.statusList(gt)), frames, list);
  }
  yield* grantReadUnlock(cpu, gt);
  return status;
}

/** 0, -ESRCH or -EPERM. */
export function* getVersion(cpu: Cpu, op: number): Steps<number> {
  const d = yield* domainByAnyId(cpu, lowHalf(peek(op)));
  if (d === 0) return -ESRCH;
  if (!mayTarget(cpu, d)) return -EPERM;
  poke(op + GET_VERSION_RESULT, yield* ldOnce(grantTable.version(tableOf(d)))); // raced as in Xen: no lock taken
  return 0;
}
