/**
 * GNTTABOP_cache_flush: checks who asks and for what; the machine has no cache to flush.
 *
 * Invariant: a frame of another domain is touched only while a grant of it to the caller is pinned.
 * Lock: owner's table for reading, one active entry at a time.
 * Source: xen/common/grant_table.c, _cache_flush; arch/x86 refuses to invalidate without cleaning (-EOPNOTSUPP).
 */
import { EILSEQ, EINVAL, EOPNOTSUPP, EPERM } from '../../abi/errno.js';
import { PAGE_SIZE, type Mfn } from '../../abi/frames.js';
import { CACHE_OP, CACHE_RANGE, GNTTAB_CACHE_CLEAN, GNTTAB_CACHE_INVAL, highHalf, lowHalf } from '../../abi/grant.js';
import { mfnValid, ownerOf, ownerWord } from '../../machine/frame.js';
import type { Cpu } from '../../sync/actor.js';
import { ld, peek } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { currentDomain, domidOf, ownerDomain } from '../domain.js';
import { getPageAny, putPage } from '../page.js';
import { active, activeAcquire, activeRelease } from './active.js';
import { tableOf } from './claim.js';
import { grantReadLock, grantReadUnlock, nrGrantEntries, type GrantTable } from './table.js';

/** References looked at before the search asks whether it may go on. */
export const SEARCH_STEP = 4096;

/** One operation from reference `from` on: 0 or -errno; positive: go on from there. */
export function* cacheFlush(cpu: Cpu, op: number, from: number): Steps<number> {
  const offset = lowHalf(peek(op + CACHE_RANGE));
  const length = highHalf(peek(op + CACHE_RANGE));
  const how = peek(op + CACHE_OP);
  if (offset >= PAGE_SIZE || length > PAGE_SIZE || offset + length > PAGE_SIZE) return -EINVAL;
  if ((how & ~(GNTTAB_CACHE_INVAL | GNTTAB_CACHE_CLEAN)) !== 0) return -EINVAL;
  if (length === 0 || how === 0) return from === 0 ? 0 : -EILSEQ;
  const mfn = frameOfAddress(peek(op), peek(op + 1));
  if (mfn < 0) return -EINVAL;
  if (!(yield* getPageAny(mfn))) return -EPERM;
  const rc = yield* checkAccess(cpu, mfn, how, from);
  yield* putPage(cpu, mfn);
  return rc;
}

function frameOfAddress(lo: number, hi: number): Mfn {
  const frameHi = hi >>> 12;
  const frameLo = (hi << 20) | (lo >>> 12);
  return (mfnValid(frameLo, frameHi) ? frameLo : -1) as Mfn;
}

function* checkAccess(cpu: Cpu, mfn: Mfn, how: number, from: number): Steps<number> {
  const owner = yield* ownerDomain(ownerOf(yield* ld(ownerWord(mfn))));
  if (owner === 0 || tableOf(owner) === 0) return -EPERM;
  if (owner !== currentDomain(cpu)) {
    const rgt = tableOf(owner);
    yield* grantReadLock(cpu, rgt);
    const found = yield* grantMapExists(cpu, rgt, mfn, from);
    yield* grantReadUnlock(cpu, rgt);
    if (found !== 0) return found;
  }
  return how === GNTTAB_CACHE_INVAL ? -EOPNOTSUPP : 0;
}

/** 0: a grant of the frame to the caller is pinned; -EINVAL: none; positive: none below that reference. */
function* grantMapExists(cpu: Cpu, rgt: GrantTable, mfn: Mfn, from: number): Steps<number> {
  const entries = yield* nrGrantEntries(rgt);
  const end = Math.min(from + SEARCH_STEP, entries);
  const me = domidOf(currentDomain(cpu));
  for (let ref = from; ref < end; ref++) {
    const act = yield* activeAcquire(cpu, rgt, ref);
    const pinned = peek(active.pin(act)) !== 0 && peek(active.domid(act)) === me;
    const found = pinned && peek(active.mfn(act)) === mfn;
    yield* activeRelease(cpu, act);
    if (found) return 0;
  }
  return end < entries ? end : -EINVAL;
}
