/**
 * HYPERVISOR_grant_table_op(cmd, args, count): batches, their preemption and continuation.
 *
 * Invariant: each argument structure is read once and gets its status written back before the next one is looked at; a
 * continuation starts behind the last one that was done; nothing is held across it.
 * Lock: none here.
 * Source: [X54], [X60]; xen/common/grant_table.c, do_grant_table_op.
 *
 * A batch answers 0 or -errno, or how many operations are left when it was preempted.
 */
import { EFAULT, EINVAL, ENOSYS } from '../../abi/errno.js';
import { canonicalVa, vaHi, vaLo, type Va } from '../../abi/frames.js';
import * as gnt from '../../abi/grant.js';
import { HYPERVISOR_grant_table_op } from '../../abi/hypercall.js';
import { vcpu } from '../../machine/cpu-record.js';
import type { Cpu } from '../../sync/actor.js';
import { peek, poke } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { addrOk, copyFromVa, copyToVa } from '../copy.js';
import { currentDomain } from '../domain.js';
import { flushDomain } from '../flush.js';
import { argHi, argLo, createContinuation, hypercallPreemptCheck, setArg } from '../preempt.js';
import { cacheFlush } from './cache-flush.js';
import { clearCopyBufs, copyOne, releaseCopyBufs, releaseCopyHolds } from './copy.js';
import { mapGrantRef } from './map.js';
import { GNTTAB_UNMAP_BATCH_SIZE, unmapStateAt } from './scratch.js';
import { getStatusFrames, getVersion, querySize, setupTable } from './setup.js';
import { swapGrantRef } from './swap.js';
import { transferPage } from './transfer.js';
import { unmapCommon, unmapCommonComplete } from './unmap.js';
import { setVersion } from './version.js';
import { TWIN, twin } from '../twins.js';

/** Above these bits of cmd: where a cache flush goes on. */
const GNTTABOP_CONTINUATION_ARG_SHIFT = 12;
const GNTTABOP_CMD_MASK = (1 << GNTTABOP_CONTINUATION_ARG_SHIFT) - 1;

/** Words of one argument structure of the operations that come in batches. */
const BATCH_WORDS: Readonly<Record<number, number>> = Object.freeze({
  [gnt.GNTTABOP_map_grant_ref]: gnt.MAP_GRANT_WORDS,
  [gnt.GNTTABOP_unmap_grant_ref]: gnt.UNMAP_GRANT_WORDS,
  [gnt.GNTTABOP_transfer]: gnt.TRANSFER_WORDS,
  [gnt.GNTTABOP_copy]: gnt.COPY_WORDS,
  [gnt.GNTTABOP_unmap_and_replace]: gnt.REPLACE_WORDS,
  [gnt.GNTTABOP_swap_grant_ref]: gnt.SWAP_WORDS,
  [gnt.GNTTABOP_cache_flush]: gnt.CACHE_FLUSH_WORDS,
});

export function* doGrantTableOp(cpu: Cpu): Steps<number> {
  const cmd = argLo(cpu, 0) & GNTTABOP_CMD_MASK;
  const from = (argLo(cpu, 0) & ~GNTTABOP_CMD_MASK) >>> 0;
  const uop = canonicalVa(argLo(cpu, 1), argHi(cpu, 1));
  const count = argLo(cpu, 2);
  if (count < 0) return -EINVAL;
  if (cmd !== gnt.GNTTABOP_cache_flush && from !== 0) return -EINVAL;
  const words = BATCH_WORDS[cmd];
  if (words === undefined) return yield* single(cpu, cmd, uop, count);
  if (!addrOk(uop)) return -EFAULT;
  if (cmd === gnt.GNTTABOP_cache_flush) return yield* cacheFlushes(cpu, uop, count, from);
  const left = yield* batch(cpu, cmd, uop, count);
  return left <= 0 ? left : goOn(cpu, cmd, plus(uop, (count - left) * words), left);
}

const plus = (uop: Va, words: number): Va => (uop + words * 4) as Va;

/** Asks to be called again for what is left. */
function goOn(cpu: Cpu, cmd: number, uop: Va, count: number): number {
  setArg(cpu, 0, cmd, 0);
  setArg(cpu, 1, vaLo(uop), vaHi(uop));
  setArg(cpu, 2, count, 0);
  return createContinuation(cpu, HYPERVISOR_grant_table_op);
}

/** Operations that come alone. */
function* single(cpu: Cpu, cmd: number, uop: Va, count: number): Steps<number> {
  switch (cmd) {
    case gnt.GNTTABOP_setup_table:
    case gnt.GNTTABOP_query_size:
    case gnt.GNTTABOP_get_status_frames:
      return count === 1 ? yield* query(cpu, cmd, uop) : -EINVAL;
    case gnt.GNTTABOP_set_version:
    case gnt.GNTTABOP_get_version:
      return yield* version(cpu, cmd, uop);
    default:
      return -ENOSYS;
  }
}

/** Queries with a status of their own; setup_table and get_status_frames also write a list. */
function* query(cpu: Cpu, cmd: number, uop: Va): Steps<number> {
  const op = vcpu.copied(cpu);
  const setup = cmd === gnt.GNTTABOP_setup_table;
  const sizes = cmd === gnt.GNTTABOP_query_size;
  const words = setup ? gnt.SETUP_TABLE_WORDS : sizes ? gnt.QUERY_SIZE_WORDS : gnt.STATUS_FRAMES_WORDS;
  if (!(yield* copyFromVa(cpu, uop, op, words))) return -EFAULT;
  const list = setup ? gnt.SETUP_LIST : gnt.STATUS_FRAMES_LIST;
  if (!sizes && !addrOk(canonicalVa(peek(op + list), peek(op + list + 1)))) return -EFAULT;
  let at = gnt.STATUS_FRAMES_DOM;
  if (setup) {
    at = gnt.SETUP_STATUS;
    poke(op + at, gnt.withLowHalf(peek(op + at), yield* setupTable(cpu, op)));
  } else if (sizes) {
    at = gnt.QUERY_STATUS;
    poke(op + at, gnt.withLowHalf(peek(op + at), yield* querySize(cpu, op)));
    return (yield* copyToVa(cpu, uop, op, words)) ? 0 : -EFAULT;
  } else {
    poke(op + at, gnt.withHighHalf(peek(op + at), yield* getStatusFrames(cpu, op)));
  }
  return (yield* copyToVa(cpu, plus(uop, at), op + at, 1)) ? 0 : -EFAULT;
}

function* version(cpu: Cpu, cmd: number, uop: Va): Steps<number> {
  const op = vcpu.copied(cpu);
  const set = cmd === gnt.GNTTABOP_set_version;
  if (!(yield* copyFromVa(cpu, uop, op, set ? gnt.SET_VERSION_WORDS : gnt.GET_VERSION_WORDS))) return -EFAULT;
  const rc = set ? yield* setVersion(cpu, op) : yield* getVersion(cpu, op);
  if (!set && rc !== 0) return rc;
  const at = set ? 0 : gnt.GET_VERSION_RESULT;
  return (yield* copyToVa(cpu, plus(uop, at), op + at, 1)) ? rc : -EFAULT;
}

function* batch(cpu: Cpu, cmd: number, uop: Va, count: number): Steps<number> {
  switch (cmd) {
    case gnt.GNTTABOP_unmap_grant_ref:
      return yield* unmaps(cpu, uop, count, false);
    case gnt.GNTTABOP_unmap_and_replace:
      return yield* unmaps(cpu, uop, count, true);
    case gnt.GNTTABOP_copy:
      return yield* copies(cpu, uop, count);
    default:
      return yield* simple(cpu, cmd, uop, count);
  }
}

/** Map, transfer, swap: one after the other, a preemption check before each but the first. */
function* simple(cpu: Cpu, cmd: number, uop: Va, count: number): Steps<number> {
  const op = vcpu.copied(cpu);
  const words = BATCH_WORDS[cmd] ?? 0;
  for (let i = 0; i < count; i++) {
    if (i > 0 && (yield* hypercallPreemptCheck(cpu))) return count - i;
    const from = plus(uop, i * words);
    if (!(yield* copyFromVa(cpu, from, op, words))) return -EFAULT;
    let at = gnt.TRANSFER_STATUS;
    let back = 1;
    if (cmd === gnt.GNTTABOP_map_grant_ref) {
      yield* mapGrantRef(cpu, op);
      at = 0;
      back = words;
    } else if (cmd === gnt.GNTTABOP_transfer) {
      poke(op + at, gnt.withLowHalf(peek(op + at), yield* transferPage(cpu, op)));
    } else {
      at = gnt.SWAP_STATUS;
      poke(op + at, gnt.withLowHalf(peek(op + at), yield* swapGrantRef(cpu, op)));
    }
    if (!(yield* copyToVa(cpu, plus(from, at), op + at, back))) return -EFAULT;
  }
  return 0;
}

/** First pass over up to 32, one flush of the caller's CPUs, second pass; then a preemption check ([X54]). */
function* unmaps(cpu: Cpu, uop: Va, count: number, replace: boolean): Steps<number> {
  for (let done = 0; done < count;) {
    const n = Math.min(count - done, GNTTAB_UNMAP_BATCH_SIZE);
    const passed = yield* unmapPass(cpu, plus(uop, done * gnt.UNMAP_GRANT_WORDS), n, replace);
    const ran = passed < 0 ? ~passed : passed;
    if (!twin(TWIN['unmap-no-flush'])) yield* flushDomain(cpu, currentDomain(cpu));
    for (let i = 0; i < ran; i++) yield* unmapCommonComplete(cpu, unmapStateAt(cpu, i));
    if (passed < 0) return -EFAULT;
    done += n;
    if (done < count && (yield* hypercallPreemptCheck(cpu))) return count - done;
  }
  return 0;
}

/** How many first passes ran; inverted when an argument then faulted. */
function* unmapPass(cpu: Cpu, uop: Va, n: number, replace: boolean): Steps<number> {
  const op = vcpu.copied(cpu);
  const at = gnt.UNMAP_STATUS;
  for (let i = 0; i < n; i++) {
    const from = plus(uop, i * gnt.UNMAP_GRANT_WORDS);
    if (!(yield* copyFromVa(cpu, from, op, gnt.UNMAP_GRANT_WORDS))) return ~i;
    const status = yield* unmapCommon(cpu, op, replace, unmapStateAt(cpu, i));
    poke(op + at, gnt.withLowHalf(peek(op + at), status));
    if (!(yield* copyToVa(cpu, plus(from, at), op + at, 1))) return ~(i + 1);
  }
  return n;
}

/** Copies share what they hold with the next one; all is let go before a preemption ends the call. */
function* copies(cpu: Cpu, uop: Va, count: number): Steps<number> {
  clearCopyBufs(cpu);
  const rc = yield* copyBatch(cpu, uop, count);
  yield* releaseCopyBufs(cpu);
  return rc;
}

function* copyBatch(cpu: Cpu, uop: Va, count: number): Steps<number> {
  const op = vcpu.copied(cpu);
  const at = gnt.COPY_STATUS;
  for (let i = 0; i < count; i++) {
    if (i > 0 && (yield* hypercallPreemptCheck(cpu))) return count - i;
    const from = plus(uop, i * gnt.COPY_WORDS);
    if (!(yield* copyFromVa(cpu, from, op, gnt.COPY_WORDS))) return -EFAULT;
    const status = yield* copyOne(cpu, op);
    if (status > 0) return count - i;
    if (status !== gnt.GNTST_okay) yield* releaseCopyHolds(cpu);
    poke(op + at, gnt.withLowHalf(peek(op + at), status));
    if (!(yield* copyToVa(cpu, plus(from, at), op + at, 1))) return -EFAULT;
  }
  return 0;
}

function* cacheFlushes(cpu: Cpu, uop: Va, count: number, from: number): Steps<number> {
  const op = vcpu.copied(cpu);
  let ref = from;
  for (let i = 0; i < count; i++) {
    const at = plus(uop, i * gnt.CACHE_FLUSH_WORDS);
    if (i > 0 && (yield* hypercallPreemptCheck(cpu))) {
      return goOn(cpu, gnt.GNTTABOP_cache_flush, at, count - i);
    }
    if (!(yield* copyFromVa(cpu, at, op, gnt.CACHE_FLUSH_WORDS))) return -EFAULT;
    for (;;) {
      const rc = yield* cacheFlush(cpu, op, ref);
      if (rc < 0) return rc;
      ref = rc;
      if (rc === 0) break;
      if (yield* hypercallPreemptCheck(cpu)) return goOn(cpu, gnt.GNTTABOP_cache_flush | ref, at, count - i);
    }
  }
  return 0;
}
