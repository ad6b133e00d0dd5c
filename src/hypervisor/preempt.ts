/**
 * Preemption: when a long hypercall must stop, and how it says where to go on.
 *
 * Invariant: a check never answers yes before the caller has done one piece of work since (re)entry, so every
 * continuation ends ([I19]); the arguments of a continuation stand in the argument registers.
 * Lock: none; every word is the CPU's own, except the request word.
 * Source: hypercall_preempt_check, hypercall_create_continuation; [X16].
 * Differs: a softirq is a quantum of checks, or a choice, so that a schedule decides it and not a timer.
 */
import { faultHit } from '../fault/plan.js';
import { SITE } from '../fault/sites.js';
import { chosen } from '../machine/choice.js';
import { vcpu } from '../machine/cpu-record.js';
import { actor, REQ_EVENT, REQ_KILL, REQ_PAUSE, type Cpu } from '../sync/actor.js';
import { CHOICE } from '../sync/choices.js';
import { POINT_POLL, POINT_READ } from '../sync/schedule.js';
import { peek, poke, touch } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { globals } from './globals.js';

/** Must the running hypercall stop here? One point: the look at the own request word. */
export function* hypercallPreemptCheck(cpu: Cpu): Steps<boolean> {
  yield* touch(actor.request(cpu), 1, POINT_READ | POINT_POLL);
  const request = peek(actor.request(cpu));
  if ((request & (REQ_PAUSE | REQ_KILL)) !== 0) return true;
  if ((request & REQ_EVENT) !== 0 && peek(vcpu.eventPreempted(cpu)) === 0) {
    poke(vcpu.eventPreempted(cpu), 1);
    return true;
  }
  if (faultHit(cpu, SITE['hypercall.preempt']) !== 0) return true;
  if (chosen(cpu, CHOICE['hypercall.preempt'])) return true;
  if (peek(globals.quantum) === 0) return false;
  const left = peek(vcpu.quantumLeft(cpu)) - 1;
  if (left > 0) poke(vcpu.quantumLeft(cpu), left);
  return left <= 0;
}

/** A new quantum: at gate entry and at every re-entry of a continuation. */
export function renewQuantum(cpu: Cpu): void {
  poke(vcpu.quantumLeft(cpu), peek(globals.quantum));
}

/** Argument registers of the running call. */
export const argLo = (cpu: Cpu, i: number): number => peek(vcpu.argLo(cpu, i));
export const argHi = (cpu: Cpu, i: number): number => peek(vcpu.argHi(cpu, i));
export function setArg(cpu: Cpu, i: number, lo: number, hi: number): void {
  poke(vcpu.argLo(cpu, i), lo);
  poke(vcpu.argHi(cpu, i), hi);
}

/** Moves the pointer in argument register `i` on by `bytes`. */
export function advanceArg(cpu: Cpu, i: number, bytes: number): void {
  const lo = (argLo(cpu, i) >>> 0) + bytes;
  const carry = Math.floor(lo / 4294967296);
  setArg(cpu, i, lo | 0, (argHi(cpu, i) + carry) | 0);
}

/**
 * Asks the gate to run hypercall `op` again with the arguments now in the registers; answers what the call returns.
 * Inside a multicall the arguments go back into the guest's entry.
 */
export function createContinuation(cpu: Cpu, op: number): number {
  poke(vcpu.continued(cpu), 1);
  if (peek(vcpu.multicall(cpu)) === 0) poke(vcpu.rax(cpu), op);
  return op;
}
export function cancelContinuation(cpu: Cpu): void {
  poke(vcpu.continued(cpu), 0);
}
