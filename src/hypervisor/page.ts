/**
 * References and types of frames, as the rest of the hypervisor takes and drops them.
 *
 * Lock: see page-ref.ts, page-type-get.ts, page-type-put.ts, page-lock.ts, which this file gathers.
 * Source: xen/arch/x86/mm.c; [X1]-[X16].
 */
import { EINTR, EINVAL, ERESTART } from '../abi/errno.js';
import { HypervisorBug } from '../abi/errors.js';
import type { Domid, Mfn } from '../abi/frames.js';
import type { Cpu } from '../sync/actor.js';
import type { Steps } from '../sync/steps.js';
import { getPage, putPage } from './page-ref.js';
import { getPageTypeFlags } from './page-type-get.js';
import { PTF_preemptible, putPageTypeFlags } from './page-type-put.js';

export { pageLock, pageUnlock } from './page-lock.js';
export { getPage, getPageAny, getPageLight, putPage } from './page-ref.js';
export { getPageTypeFlags } from './page-type-get.js';
export {
  dropLinearCounts,
  PTF_defer,
  PTF_partial_set,
  PTF_preemptible,
  PTF_retain_ref_on_restart,
  putPageTypeFlags,
} from './page-type-put.js';

const NO_TABLE = -1 as Mfn;

/** Type and reference: 0, or -EINVAL when owner or type do not fit, or the validation's error; nothing held then. */
export function* getPageAndType(cpu: Cpu, mfn: Mfn, owner: Domid, type: number): Steps<number> {
  if (!(yield* getPage(cpu, mfn, owner))) return -EINVAL;
  const rc = yield* getPageType(cpu, mfn, type);
  if (rc !== 0) yield* putPage(cpu, mfn);
  return rc;
}

export function* putPageAndType(cpu: Cpu, mfn: Mfn): Steps<void> {
  yield* putPageType(cpu, mfn);
  yield* putPage(cpu, mfn);
}

/** 0, -EINTR (nothing changed, references still held) or -ERESTART (partial; the type reference is its). */
export function* putPageAndTypePreemptible(cpu: Cpu, mfn: Mfn): Steps<number> {
  const rc = yield* putPageTypeFlags(cpu, mfn, PTF_preemptible, NO_TABLE);
  if (rc === 0) yield* putPage(cpu, mfn);
  return rc;
}

/** Not preemptible: for writable, shared and l1. 0 or -errno. */
export function* getPageType(cpu: Cpu, mfn: Mfn, type: number): Steps<number> {
  const rc = yield* getPageTypeFlags(cpu, mfn, type, false);
  if (rc === -EINTR || rc === -ERESTART) throw new HypervisorBug('unpreemptible type get was preempted');
  return rc;
}

/** 0, -errno, -EINTR (nothing changed) or -ERESTART (partial). */
export function* getPageTypePreemptible(cpu: Cpu, mfn: Mfn, type: number): Steps<number> {
  return yield* getPageTypeFlags(cpu, mfn, type, true);
}

export function* putPageType(cpu: Cpu, mfn: Mfn): Steps<void> {
  const rc = yield* putPageTypeFlags(cpu, mfn, 0, NO_TABLE);
  if (rc !== 0) throw new HypervisorBug('unpreemptible type put was preempted');
}
