/**
 * The gate: the one way from a guest into the hypervisor by hypercall.
 *
 * Invariant: number in vcpu.rax, arguments in the argument registers, result in raxLo/raxHi (sign extended);
 * `doing` is set while the vCPU may hold addresses of other domains' records, and is 0 whenever it does not.
 * Lock: none held at entry and exit but guests' own.
 * Source: xen/arch/x86/pv/hypercall.c, arch/x86/x86_64/entry.S; [X16]; DESIGN decisions 1 and 3.
 */
import { vcpu } from '../machine/cpu-record.js';
import { actor, cpuAt, REQ_KILL, REQ_PAUSE, type Cpu } from '../sync/actor.js';
import { ldOnce, peek, poke, stOnce } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { dispatch } from './dispatch.js';
import { lateEvent } from './event-channel.js';
import { globals } from './globals.js';
import { renewQuantum } from './preempt.js';
import { reapDomains } from './reap.js';

/**
 * Runs the hypercall in the registers, its continuations included. True: it is done, its result is in rax. False: it was
 * preempted for a pause or a death; the border serves that, then calls again.
 */
export function* hypercall(cpu: Cpu): Steps<boolean> {
  if (peek(vcpu.continued(cpu)) === 0) countEntry(cpu);
  poke(actor.beat(cpu), peek(actor.beat(cpu)) + 1);
  yield* stOnce(actor.doing(cpu), peek(vcpu.rax(cpu)) + 1); // read by watchdogs and reapers
  const done = yield* rounds(cpu);
  if (done && peek(vcpu.lateDomid(cpu)) !== 0) yield* lateEvent(cpu, false);
  yield* stOnce(actor.doing(cpu), 0); // as above
  if (peek(globals.reapable) !== 0) yield* reapDomains(cpu);
  return done;
}

function* rounds(cpu: Cpu): Steps<boolean> {
  for (;;) {
    const nr = peek(vcpu.rax(cpu));
    poke(vcpu.continued(cpu), 0);
    renewQuantum(cpu);
    const rc = yield* dispatch(cpu, nr);
    if (peek(vcpu.continued(cpu)) === 0) {
      poke(vcpu.raxLo(cpu), rc);
      poke(vcpu.raxHi(cpu), rc >> 31);
      trace(cpu, EVENT.gateExit, nr, rc);
      return true;
    }
    poke(vcpu.nContinuations(cpu), peek(vcpu.nContinuations(cpu)) + 1);
    trace(cpu, EVENT.gateContinue, nr, 0);
    const request = yield* ldOnce(actor.request(cpu)); // raced on purpose: or-ed by anyone
    if ((request & (REQ_PAUSE | REQ_KILL)) !== 0) return false;
  }
}

/** Counts a hypercall, and whether another vCPU, and one of another domain, is inside the hypervisor at this moment. */
function countEntry(cpu: Cpu): void {
  poke(vcpu.nHypercalls(cpu), peek(vcpu.nHypercalls(cpu)) + 1);
  poke(vcpu.eventPreempted(cpu), 0);
  trace(cpu, EVENT.gateEnter, peek(vcpu.rax(cpu)), peek(vcpu.argLo(cpu, 0)));
  trace(cpu, EVENT.gateArgs, peek(vcpu.argLo(cpu, 1)), peek(vcpu.argLo(cpu, 2)));
  const used = peek(globals.cpusUsed);
  let met = 0;
  for (let i = 0; i < used; i++) {
    const other = cpuAt(i);
    if (other === cpu || peek(actor.doing(other)) === 0) continue;
    met = 1;
    if (peek(vcpu.domain(other)) === peek(vcpu.domain(cpu))) continue;
    poke(vcpu.nMet(cpu), peek(vcpu.nMet(cpu)) + 1);
    break;
  }
  poke(vcpu.nOverlaps(cpu), peek(vcpu.nOverlaps(cpu)) + met);
}
