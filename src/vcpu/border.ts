/**
 * The border between guest and hypervisor on one vCPU: modes, pause, death.
 *
 * Invariant: in MODE_GUEST a vCPU that is dead or paused makes no further guest access; in MODE_HYPERVISOR it is neither
 * paused nor killed before it comes back to this border (DESIGN decision 9).
 * Lock: none held when a vCPU waits or stops here, but guests' own.
 * Source: xen/arch/x86/x86_64/entry.S (test_all_events), common/sched/core.c (vcpu_runnable); [X64].
 *
 * A pause counts up vcpu.pauseCount and then sets REQ_PAUSE; the vCPU clears the bit and waits for the count.
 */
import { faultHit } from '../fault/plan.js';
import { SITE } from '../fault/sites.js';
import { chosen } from '../machine/choice.js';
import { vcpu } from '../machine/cpu-record.js';
import { enterMode, serveFlush } from '../machine/flush.js';
import { tlbInit } from '../machine/tlb.js';
import { currentDomain, domain, vcpuDead } from '../hypervisor/domain.js';
import { lateEvent } from '../hypervisor/event-channel.js';
import {
  actor,
  MODE_BLOCKED,
  MODE_GUEST,
  MODE_HYPERVISOR,
  MODE_OFF,
  REQ_FAULT,
  REQ_FLUSH,
  REQ_KILL,
  REQ_PAUSE,
  REQ_WAITS,
  type Cpu,
} from '../sync/actor.js';
import { CHOICE } from '../sync/choices.js';
import { and, ldOnce, or, peek, poke, stOnce, waitRequest, wake } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { VcpuStopped } from './stopped.js';

/** Requests that a vCPU honours before its next guest access; the others wait for a poll. */
export const URGENT = REQ_FLUSH | REQ_PAUSE | REQ_KILL;

/** Out of guest mode: a pending flush is done, a pending pause or death comes first. */
export function* enterHypervisor(cpu: Cpu): Steps<void> {
  yield* enterMode(cpu, MODE_HYPERVISOR);
  if ((peek(actor.request(cpu)) & (REQ_PAUSE | REQ_KILL)) !== 0) yield* halted(cpu);
}

/** The vCPU begins (or comes back from `parkVcpu`): waits while it is paused, then enters guest mode. */
export function* startVcpu(cpu: Cpu): Steps<void> {
  yield* and(actor.request(cpu), ~REQ_WAITS);
  yield* halted(cpu);
  yield* enterGuest(cpu);
}

/** Back to guest mode, after every pause and only if the vCPU still lives. */
export function* enterGuest(cpu: Cpu): Steps<void> {
  for (;;) {
    if ((peek(actor.request(cpu)) & (REQ_PAUSE | REQ_KILL)) !== 0) yield* halted(cpu);
    yield* enterMode(cpu, MODE_GUEST);
    if ((peek(actor.request(cpu)) & (REQ_PAUSE | REQ_KILL)) === 0) return;
    yield* enterMode(cpu, MODE_HYPERVISOR);
  }
}

/** Between two guest accesses: does what cannot wait. */
export function* serveUrgent(cpu: Cpu): Steps<void> {
  if ((peek(actor.request(cpu)) & REQ_FAULT) !== 0) yield* guestFaults(cpu);
  const request = peek(actor.request(cpu)) & URGENT;
  if (request === 0) return;
  if (request === REQ_FLUSH) {
    if (!isLate(cpu)) yield* serveFlush(cpu);
    return;
  }
  yield* enterMode(cpu, MODE_HYPERVISOR);
  yield* enterGuest(cpu);
}

/** What a fault plan has in store for a vCPU in guest code: a pause now; a death, its own or its domain's. */
function* guestFaults(cpu: Cpu): Steps<void> {
  const aside = faultHit(cpu, SITE['vcpu.pause']);
  if (aside !== 0) yield* standAside(cpu, aside);
  yield* deathFaults(cpu);
}

/** The same where only a death may come, to be met at the next preemption check or on the way out. */
export function* deathFaults(cpu: Cpu): Steps<void> {
  const destroyed = faultHit(cpu, SITE['domain.destroy']) !== 0;
  if (destroyed) yield* stOnce(domain.destroyAsked(currentDomain(cpu)), 1); // raced on purpose: the control plane looks
  if (destroyed || faultHit(cpu, SITE['vcpu.dead']) !== 0) yield* or(actor.request(cpu), REQ_KILL);
}

/** Out of guest mode for `looks` looks: nobody waits for this vCPU meanwhile. */
function* standAside(cpu: Cpu, looks: number): Steps<void> {
  yield* parkVcpu(cpu);
  for (let i = 0; i < looks; i++) yield* ldOnce(actor.request(cpu)); // raced on purpose: time passes
  yield* startVcpu(cpu);
}

/**
 * The flush that is asked for comes late, by the fault plan or by choice: overlooked as often as the plan's status says, while whoever
 * asked goes on waiting. Leaving guest mode ends the delay.
 */
function isLate(cpu: Cpu): boolean {
  const left = peek(vcpu.flushLate(cpu));
  if (left === 1) return false;
  const next = left > 1 ? left - 1 : faultHit(cpu, SITE['flush.late']) || lateByChoice(cpu);
  poke(vcpu.flushLate(cpu), Math.max(next, 0));
  return next > 0;
}

/** A schedule may have each request overlooked once. */
const lateByChoice = (cpu: Cpu): number => (chosen(cpu, CHOICE['flush.deliver']) ? 1 : 0);

/** A pause or a death was asked for: waits while paused, leaves for good when dead. */
function* halted(cpu: Cpu): Steps<void> {
  yield* and(actor.request(cpu), ~REQ_PAUSE);
  for (;;) {
    const request = yield* ldOnce(actor.request(cpu)); // raced on purpose: anyone may ask for something
    if (vcpuDead(cpu)) return yield* stopVcpu(cpu);
    const pauses = yield* ldOnce(vcpu.pauseCount(cpu)); // raced on purpose: the control plane counts
    if (pauses === 0) break;
    yield* block(cpu, vcpu.pauseCount(cpu), pauses, request);
  }
  yield* stOnce(actor.mode(cpu), MODE_HYPERVISOR); // read by flushers and pausers
}

/** Sleeps outside guest and hypervisor, where nobody waits for this vCPU. */
function* block(cpu: Cpu, a: number, seen: number, request: number): Steps<void> {
  yield* stOnce(actor.mode(cpu), MODE_BLOCKED); // read by flushers and pausers, whom the sleep below wakes
  yield* waitRequest(cpu, a, seen, request);
}

/** Leaves guest mode without leaving the guest: nobody waits for this vCPU until `enterGuest`. */
export function* parkVcpu(cpu: Cpu): Steps<void> {
  yield* enterMode(cpu, MODE_BLOCKED);
  yield* or(actor.request(cpu), REQ_WAITS);
  wake(actor.request(cpu));
}

/** This vCPU runs no more: its TLB dies with it. Answers by throwing. */
export function* stopVcpu(cpu: Cpu): Steps<never> {
  yield* haltVcpu(cpu);
  throw new VcpuStopped();
}

/** Off: nobody waits for it any more. */
export function* haltVcpu(cpu: Cpu): Steps<void> {
  if (peek(vcpu.lateDomid(cpu)) !== 0) yield* lateEvent(cpu, true);
  tlbInit(cpu);
  yield* stOnce(actor.mode(cpu), MODE_OFF); // read by flushers and pausers
  yield* or(actor.request(cpu), REQ_WAITS);
  yield* and(actor.request(cpu), ~REQ_FLUSH);
  wake(actor.request(cpu));
}
