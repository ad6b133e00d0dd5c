/**
 * Which function does which hypercall; shared by the gate and by multicall.
 *
 * Source: xen/arch/x86/hypercall.c, pv/hypercall.c; numbers in src/abi/hypercall.ts.
 */
import { ENOSYS } from '../abi/errno.js';
import * as nr from '../abi/hypercall.js';
import type { Cpu } from '../sync/actor.js';
import type { Steps } from '../sync/steps.js';
import { doDomctl } from './domctl.js';
import { doEventChannelOp } from './event-channel.js';
import { doGrantTableOp } from './grant/op.js';
import { doMemoryOp } from './memory-op.js';
import { doMmuUpdate } from './mmu-update.js';
import { doMmuextOp } from './mmuext.js';
import { doMulticall } from './multicall.js';
import { doUpdateVaMapping, doUpdateVaMappingOtherdomain } from './update-va.js';
import { doIret, doStackSwitch, doVmAssist } from './vcpu-calls.js';

/** Does hypercall `op` with the arguments in the registers; answers its result, or its number when it is to go on. */
export function* dispatch(cpu: Cpu, op: number): Steps<number> {
  switch (op) {
    case nr.HYPERVISOR_mmu_update:
      return yield* doMmuUpdate(cpu);
    case nr.HYPERVISOR_update_va_mapping:
      return yield* doUpdateVaMapping(cpu);
    case nr.HYPERVISOR_multicall:
      return yield* doMulticall(cpu);
    case nr.HYPERVISOR_mmuext_op:
      return yield* doMmuextOp(cpu);
    case nr.HYPERVISOR_grant_table_op:
      return yield* doGrantTableOp(cpu);
    case nr.HYPERVISOR_memory_op:
      return yield* doMemoryOp(cpu);
    case nr.HYPERVISOR_update_va_mapping_otherdomain:
      return yield* doUpdateVaMappingOtherdomain(cpu);
    case nr.HYPERVISOR_event_channel_op:
      return yield* doEventChannelOp(cpu);
    case nr.HYPERVISOR_domctl:
      return yield* doDomctl(cpu);
    case nr.HYPERVISOR_vm_assist:
      return yield* doVmAssist(cpu);
    case nr.HYPERVISOR_stack_switch:
      return doStackSwitch(cpu);
    case nr.HYPERVISOR_iret:
      return yield* doIret(cpu);
    default:
      return -ENOSYS;
  }
}
