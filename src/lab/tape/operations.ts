/**
 * Executes one operation of a tape: the caller's kernel fills Xen's structures, makes the hypercall, reads the answer.
 *
 * Invariant: no operation reaches the machine but through a GuestCpu.
 * Source: tapes FORMAT.md (operations).
 */
import type { Steps } from '../../sync/steps.js';
import type { Answer } from './compare.js';
import type { TapeGuest } from './guest.js';
import { doFill, doM2p, doPeek, doPoke, doSnap, doVread, doVwrite } from './access-ops.js';
import { doDestroy, doExchange, doPause, doReservation } from './memory-ops.js';
import { doGrantCopy, doGrantMap, doGrantReplace, doGrantTransfer, doGrantUnmap, doGrantWrite } from './grant-ops.js';
import {
  doCacheFlush,
  doGetVersion,
  doQuerySize,
  doSetVersion,
  doSetupTable,
  doStatusFrames,
  doSwap,
} from './table-ops.js';
import { doMmuext, doMmuUpdate, doUpdateVa, doVmAssist } from './mmu-ops.js';
import type { Op } from './schema.js';
import type { TapeMachine } from './tape-machine.js';

/** Runs `op` on the kernel of `by`; leaves by the vCPU's own exception when Xen kills the caller. */
export function* execute(m: TapeMachine, by: TapeGuest, op: Op): Steps<Answer> {
  switch (op.op) {
    case 'poke':
      return yield* doPoke(m, by, op);
    case 'fill':
      return yield* doFill(m, by, op);
    case 'peek':
      return yield* doPeek(m, by, op);
    case 'snap':
      return yield* doSnap(m, by, op);
    case 'mmuext':
      return yield* doMmuext(m, by, op);
    case 'mmu_update':
      return yield* doMmuUpdate(m, by, op);
    case 'update_va':
      return yield* doUpdateVa(m, by, op);
    case 'vread':
      return yield* doVread(m, by, op);
    case 'vwrite':
      return yield* doVwrite(m, by, op);
    case 'gnt_map':
      return yield* doGrantMap(m, by, op);
    case 'gnt_unmap':
      return yield* doGrantUnmap(m, by, op);
    case 'gnt_replace':
      return yield* doGrantReplace(m, by, op);
    case 'gnt_copy':
      return yield* doGrantCopy(m, by, op);
    case 'gnt_transfer':
      return yield* doGrantTransfer(m, by, op);
    case 'gnt_swap':
      return yield* doSwap(m, by, op);
    case 'gnt_set_version':
      return yield* doSetVersion(by, op);
    case 'gnt_get_version':
      return yield* doGetVersion(by, op);
    case 'gnt_query_size':
      return yield* doQuerySize(by, op);
    case 'gnt_setup_table':
      return yield* doSetupTable(by, op);
    case 'gnt_status_frames':
      return yield* doStatusFrames(by, op);
    case 'gnt_cache_flush':
      return yield* doCacheFlush(m, by, op);
    case 'gnt_write':
      return yield* doGrantWrite(m, by, op);
    case 'decrease':
    case 'populate':
    case 'increase':
      return yield* doReservation(m, by, op);
    case 'exchange':
      return yield* doExchange(m, by, op);
    case 'destroy':
      return yield* doDestroy(by, op);
    case 'pause':
      return yield* doPause(by, op);
    case 'm2p':
      return yield* doM2p(m, by, op);
    case 'vm_assist':
      return yield* doVmAssist(by, op);
  }
}
