/**
 * GuestCpu, implemented: the gate, the two modes, interrupts; its memory half is `memory.ts`.
 *
 * Invariant: one object per vCPU record, used by the vCPU's own thread or coroutine only; what it remembers between two
 * calls lies in the record.
 * Lock: none.
 * Source: DESIGN decisions 1, 6; xen/arch/x86/pv/{hypercall,iret,traps}.c.
 */
import { ENOSYS } from '../abi/errno.js';
import { vaHi, vaLo, type Va } from '../abi/frames.js';
import { hypercall as enterGate } from '../hypervisor/gate.js';
import { vcpu } from '../machine/cpu-record.js';
import { actor, REQ_EVENT, REQ_FAULT, REQ_IPI, type Cpu } from '../sync/actor.js';
import { checkOrder } from '../sync/held.js';
import { lockWait, or, peek, poke, touch, tryLock, waitRequest, wake } from '../sync/primitives.js';
import { POINT_POLL, POINT_READ } from '../sync/schedule.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { deathFaults, enterHypervisor, haltVcpu, parkVcpu, startVcpu, URGENT } from './border.js';
import type { GuestHandlers, Vcpu } from './guest-cpu.js';
import { deliverable, deliverGp, serveRequests } from './interrupt.js';
import { GuestLocked } from './memory-locked.js';
import { popTrap, pushTrap, resumeGuest, switchToUser } from './trap.js';

const SERVED = URGENT | REQ_EVENT | REQ_IPI;

class RealVcpu extends GuestLocked implements Vcpu {
  arg(i: number, lo: number, hi: number): void {
    poke(vcpu.argLo(this.cpu, i), lo);
    poke(vcpu.argHi(this.cpu, i), hi);
  }

  argVa(i: number, va: Va): void {
    this.arg(i, vaLo(va), vaHi(va));
  }

  *hypercall(nr: number): Steps<number> {
    const { cpu } = this;
    if (this.userMode()) return this.#refuse();
    poke(vcpu.rax(cpu), nr);
    yield* enterHypervisor(cpu);
    if ((peek(this.request) & REQ_FAULT) !== 0) yield* deathFaults(cpu);
    while (!(yield* enterGate(cpu))) yield* enterHypervisor(cpu);
    yield* resumeGuest(cpu);
    const lo = peek(vcpu.raxLo(cpu));
    if (peek(vcpu.pendingGp(cpu)) === 0 && (peek(this.request) & SERVED) === 0) return lo;
    const hi = peek(vcpu.raxHi(cpu));
    if (peek(vcpu.pendingGp(cpu)) !== 0) yield* deliverGp(this, this.handlers);
    yield* serveRequests(this, this.handlers);
    poke(vcpu.raxLo(cpu), lo);
    poke(vcpu.raxHi(cpu), hi);
    return lo;
  }

  /** The gate is the kernel's: a system call from user mode reaches the kernel, never the hypervisor. */
  #refuse(): number {
    poke(vcpu.raxLo(this.cpu), -ENOSYS);
    poke(vcpu.raxHi(this.cpu), -1);
    return -ENOSYS;
  }

  resultHi(): number {
    return peek(vcpu.raxHi(this.cpu));
  }

  setKernel(stackTop: Va, text: Va): void {
    poke(vcpu.kernelSpLo(this.cpu), vaLo(stackTop));
    poke(vcpu.kernelSpHi(this.cpu), vaHi(stackTop));
    poke(vcpu.kernelTextLo(this.cpu), vaLo(text));
    poke(vcpu.kernelTextHi(this.cpu), vaHi(text));
  }

  *toUser(): Steps<void> {
    if (this.userMode()) return;
    yield* enterHypervisor(this.cpu);
    yield* switchToUser(this.cpu);
    yield* resumeGuest(this.cpu);
  }

  *toKernel(): Steps<void> {
    if (!this.userMode()) return;
    yield* enterHypervisor(this.cpu);
    yield* pushTrap(this.cpu, 0);
    yield* popTrap(this.cpu, false);
  }

  userMode(): boolean {
    return peek(vcpu.kernelMode(this.cpu)) === 0;
  }

  maskEvents(): void {
    poke(vcpu.upcallMask(this.cpu), 1);
  }

  *unmaskEvents(): Steps<void> {
    poke(vcpu.upcallMask(this.cpu), 0);
    if (deliverable(this.cpu)) yield* serveRequests(this, this.handlers);
  }

  eventsMasked(): boolean {
    return peek(vcpu.upcallMask(this.cpu)) !== 0;
  }

  *poll(): Steps<void> {
    yield* touch(this.request, 1, POINT_READ | POINT_POLL);
    poke(actor.beat(this.cpu), peek(actor.beat(this.cpu)) + 1);
    if (peek(this.request) !== 0) yield* serveRequests(this, this.handlers);
  }

  *relax(a: number, seen: number): Steps<void> {
    yield* this.poll();
    const served = peek(this.request);
    if ((served & SERVED) === 0) yield* waitRequest(this.cpu, a, seen, served);
  }

  *lock(a: number, rank: number): Steps<void> {
    checkOrder(this.cpu, a, rank);
    while (!(yield* tryLock(this.cpu, a, rank))) {
      yield* this.poll();
      const served = peek(this.request);
      if ((served & SERVED) === 0) yield* lockWait(this.cpu, a, served);
    }
  }

  mark(a: number, b: number): void {
    trace(this.cpu, EVENT.mark, a, b);
  }

  *sendIpi(target: Cpu): Steps<void> {
    yield* or(actor.request(target), REQ_IPI);
    wake(actor.request(target));
  }

  *start(): Steps<void> {
    yield* startVcpu(this.cpu);
  }

  *park(): Steps<void> {
    yield* parkVcpu(this.cpu);
  }

  *halt(): Steps<void> {
    yield* haltVcpu(this.cpu);
  }
}

/** The processor of the vCPU whose record is `cpu`; its TLB starts empty. */
export function makeGuestCpu(cpu: Cpu, handlers: GuestHandlers): Vcpu {
  return new RealVcpu(cpu, handlers);
}
