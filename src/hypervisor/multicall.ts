/**
 * HYPERVISOR_multicall: hypercalls in a row, each result stored beside its arguments.
 *
 * Invariant: a failing entry does not stop the rest; an interrupted entry's new arguments go back into the guest's list,
 * and the list goes on there; no nesting; leaving kernel mode ends it.
 * Lock: none.
 * Source: xen/common/multicall.c, pv_do_multicall_call; [X37]; XSA-213.
 */
import { EFAULT, EINVAL } from '../abi/errno.js';
import { vaHi, vaLo, type Va } from '../abi/frames.js';
import { HYPERVISOR_iret, HYPERVISOR_multicall } from '../abi/hypercall.js';
import { MULTICALL_ARGS, MULTICALL_RESULT, MULTICALL_WORDS } from '../abi/mmu.js';
import { vcpu } from '../machine/cpu-record.js';
import type { Cpu } from '../sync/actor.js';
import { peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { addrOk, copyFromVa, copyToVa, guestPointer } from './copy.js';
import { dispatch } from './dispatch.js';
import { argHi, argLo, cancelContinuation, createContinuation, hypercallPreemptCheck, setArg } from './preempt.js';

const BYTES = MULTICALL_WORDS * 4;
const ARGS = 6;

/** What one entry came to: the list goes on, ends, goes on in a continuation with this entry or after it, or faulted. */
const NEXT = 0;
const EXIT = 1;
const AGAIN = 2;
const LEFT_KERNEL = 3;
const FAULT = 4;

/** rdi entries, rsi count. 0, -EFAULT, -EINVAL (inside a multicall). */
export function* doMulticall(cpu: Cpu): Steps<number> {
  if (peek(vcpu.multicall(cpu)) !== 0) return -EINVAL;
  const list = guestPointer(cpu, 0);
  const n = argLo(cpu, 1) >>> 0;
  if (!addrOk(list)) return -EFAULT;
  poke(vcpu.multicall(cpu), 1);
  let i = 0;
  let how = NEXT;
  while (i < n && how === NEXT) {
    if (i > 0 && (yield* hypercallPreemptCheck(cpu))) break;
    how = yield* oneCall(cpu, (list + i * BYTES) as Va);
    if (how !== AGAIN) i++;
  }
  poke(vcpu.multicall(cpu), 0);
  if (how === FAULT) return -EFAULT;
  if (how === EXIT) return peek(vcpu.multicallEntry(cpu) + MULTICALL_RESULT);
  if (i >= n) return 0;
  const rest = (list + i * BYTES) as Va;
  setArg(cpu, 0, vaLo(rest), vaHi(rest));
  setArg(cpu, 1, n - i, 0);
  return createContinuation(cpu, HYPERVISOR_multicall);
}

function* oneCall(cpu: Cpu, at: Va): Steps<number> {
  const entry = vcpu.multicallEntry(cpu);
  if (!(yield* copyFromVa(cpu, at, entry, MULTICALL_WORDS))) return FAULT;
  const op = peek(entry + 1) === 0 ? peek(entry) : -1;
  for (let i = 0; i < ARGS; i++) {
    setArg(cpu, i, peek(entry + MULTICALL_ARGS + 2 * i), peek(entry + MULTICALL_ARGS + 2 * i + 1));
  }
  poke(vcpu.nSubcalls(cpu), peek(vcpu.nSubcalls(cpu)) + 1);
  trace(cpu, EVENT.subcall, op, argLo(cpu, 1));
  const rc = yield* dispatch(cpu, op);
  poke(entry + MULTICALL_RESULT, rc);
  poke(entry + MULTICALL_RESULT + 1, rc >> 31);
  const stored = yield* copyToVa(cpu, (at + MULTICALL_RESULT * 4) as Va, entry + MULTICALL_RESULT, 2);
  if (op === HYPERVISOR_iret) return EXIT;
  if (!stored) return faulted(cpu);
  if (peek(vcpu.continued(cpu)) !== 0) return yield* entryBack(cpu, at);
  return peek(vcpu.kernelMode(cpu)) === 0 ? LEFT_KERNEL : NEXT;
}

/** The entry is to go on: its arguments, as the call left them in the registers, go into the guest's list. */
function* entryBack(cpu: Cpu, at: Va): Steps<number> {
  const entry = vcpu.multicallEntry(cpu);
  for (let i = 0; i < ARGS; i++) {
    poke(entry + MULTICALL_ARGS + 2 * i, argLo(cpu, i));
    poke(entry + MULTICALL_ARGS + 2 * i + 1, argHi(cpu, i));
  }
  return (yield* copyToVa(cpu, at, entry, MULTICALL_WORDS)) ? AGAIN : faulted(cpu);
}

function faulted(cpu: Cpu): number {
  cancelContinuation(cpu);
  return FAULT;
}
