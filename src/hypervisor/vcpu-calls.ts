/**
 * Small hypercalls about the calling vCPU and its domain: vm_assist, stack_switch, iret.
 *
 * Lock: none; the vCPU's own words, and the domain's assist word, whose bits its vCPUs set and clear atomically, as Xen's
 * set_bit and clear_bit do.
 * Source: vm_assist in xen/common/domain.c; stack_switch, iret in xen/arch/x86/pv.
 */
import { EINVAL, ENOSYS, EPERM } from '../abi/errno.js';
import { VMASST_CMD_disable, VMASST_CMD_enable, VMASST_TYPE_m2p_strict } from '../abi/mmu.js';
import { toggleGuestMode } from '../machine/base.js';
import { vcpu } from '../machine/cpu-record.js';
import type { Cpu } from '../sync/actor.js';
import { and, or, peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { CRASH_UNHANDLED_FAULT, currentDomain, domain, domainCrash } from './domain.js';
import { argHi, argLo } from './preempt.js';

/** Types 0 to 5 have bits in one word. */
const VMASST_PLAIN = 0x3f;

/** rdi command, rsi type. 0, -EINVAL unknown type, -ENOSYS unknown command. */
export function* doVmAssist(cpu: Cpu): Steps<number> {
  const type = argLo(cpu, 1) >>> 0;
  const strict = type === VMASST_TYPE_m2p_strict;
  if (!strict && (type > 31 || ((VMASST_PLAIN >>> type) & 1) === 0)) return -EINVAL;
  const command = argLo(cpu, 0);
  if (command !== VMASST_CMD_enable && command !== VMASST_CMD_disable) return -ENOSYS;
  const d = currentDomain(cpu);
  if (d === 0) return -EPERM;
  const field = strict ? domain.m2pStrict(d) : domain.assist(d);
  const bit = strict ? 1 : 1 << type;
  if (command === VMASST_CMD_enable) yield* or(field, bit);
  else yield* and(field, ~bit);
  return 0;
}

/** rdi selector, rsi address: where trap frames go from now on. */
export function doStackSwitch(cpu: Cpu): number {
  poke(vcpu.kernelSpLo(cpu), argLo(cpu, 1));
  poke(vcpu.kernelSpHi(cpu), argHi(cpu, 1));
  return 0;
}

/** To user mode; without a user base the domain cannot go on. */
export function* doIret(cpu: Cpu): Steps<number> {
  const d = currentDomain(cpu);
  if (d === 0) return -EPERM;
  if (peek(vcpu.guestTableUser(cpu)) === 0) yield* domainCrash(cpu, d, CRASH_UNHANDLED_FAULT);
  else yield* toggleGuestMode(cpu);
  return 0;
}
