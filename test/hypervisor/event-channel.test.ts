/** Event channels: who may bind what, what a send leaves where, what closing does to the other end. */
import { beforeEach, describe, expect, it } from 'vitest';
import { EAGAIN, EBUSY, EEXIST, EFAULT, EINVAL, ENOENT, ENOSPC, ENOSYS, EPERM, ESRCH } from '../../src/abi/errno.js';
import * as ev from '../../src/abi/event-channel.js';
import { DOMID_SELF, mfnWord } from '../../src/abi/frames.js';
import { HYPERVISOR_event_channel_op } from '../../src/abi/hypercall.js';
import { destroyDomain } from '../../src/hypervisor/domctl.js';
import { evtchnSend, sendGuestVirq } from '../../src/hypervisor/event-channel.js';
import { hypercall as gate } from '../../src/hypervisor/gate.js';
import { MAX_PORTS, sharedInfoMfn } from '../../src/hypervisor/event-port.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { actor, CONTROL, REQ_EVENT, REQ_PAUSE } from '../../src/sync/actor.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import { argsVa, boot, makeDom, on, type Dom, type Guest } from './grant/lab.js';

let a: Dom;
let b: Dom;
beforeEach(() => {
  boot();
  a = makeDom({ domid: 1, vcpus: 2 });
  b = makeDom({ domid: 2 });
});

/** The hypercall with a structure of these words; answers rc, the structure is read with `get`. */
function op(c: Guest, cmd: number, ...words: number[]): number {
  words.forEach((w, i) => {
    c.put(i, w);
  });
  c.g.arg(0, cmd, 0);
  c.g.argVa(1, c.va);
  return on(c, () => c.g.hypercall(HYPERVISOR_event_channel_op));
}
const kernel = (d: Dom): Guest => d.cpus[0]!;

/** A port of `d`'s for `remote`. */
function unbound(d: Dom, remote: number): number {
  expect(op(kernel(d), ev.EVTCHNOP_alloc_unbound, DOMID_SELF | (remote << 16), 0)).toBe(0);
  return kernel(d).get(1);
}
function pair(): [number, number] {
  const there = unbound(a, 2);
  expect(op(kernel(b), ev.EVTCHNOP_bind_interdomain, 1, there, 0)).toBe(0);
  return [there, kernel(b).get(2)];
}
const bit = (d: Dom, array: number, port: number): number =>
  (peek(mfnWord(sharedInfoMfn(d.d)) + array + (port >>> 5)) >>> (port & 31)) & 1;
const pending = (d: Dom, port: number): number => bit(d, ev.SHARED_INFO_PENDING, port);
const selector = (d: Dom, v = 0): number =>
  peek(mfnWord(sharedInfoMfn(d.d)) + v * ev.VCPU_INFO_WORDS + ev.VCPU_INFO_PENDING_SEL);
const asked = (c: Guest): boolean => (peek(actor.request(c.g.cpu)) & REQ_EVENT) !== 0;
const send = (d: Dom, port: number): number => op(kernel(d), ev.EVTCHNOP_send, port);
function mask(d: Dom, port: number): void {
  const at = mfnWord(sharedInfoMfn(d.d)) + ev.SHARED_INFO_MASK + (port >>> 5);
  poke(at, peek(at) | (1 << (port & 31)));
}
/** Forgets the event that binding makes up, and any other. */
function quiet(...doms: Dom[]): void {
  for (const d of doms) {
    const page = mfnWord(sharedInfoMfn(d.d));
    for (let i = 0; i < 640; i++) poke(page + i, 0);
    for (const c of d.cpus) {
      poke(actor.request(c.g.cpu), peek(actor.request(c.g.cpu)) & ~REQ_EVENT);
      poke(vcpu.upcallPending(c.g.cpu), 0);
    }
  }
}

describe('binding', () => {
  it('joins an unbound port to the domain it waits for, and makes up an event for what was lost', () => {
    const there = unbound(a, 2);
    expect(send(a, there)).toBe(0);
    expect(op(kernel(b), ev.EVTCHNOP_bind_interdomain, 1, there, 0)).toBe(0);
    const here = kernel(b).get(2);
    expect([there, here, pending(b, here)]).toEqual([1, 1, 1]);
    expect(op(kernel(b), ev.EVTCHNOP_status, DOMID_SELF, here, 0, 0, 0, 0)).toBe(0);
    expect([2, 3, 4, 5].map((i) => kernel(b).get(i))).toEqual([ev.EVTCHNSTAT_interdomain, 0, 1, there]);
  });

  it('is refused to a domain that the port does not wait for, to a bound port, and to none', () => {
    const there = unbound(a, 3);
    expect(op(kernel(b), ev.EVTCHNOP_bind_interdomain, 1, there, 0)).toBe(-EINVAL);
    const [bound] = pair();
    expect(op(kernel(b), ev.EVTCHNOP_bind_interdomain, 1, bound, 0)).toBe(-EINVAL);
    expect(op(kernel(b), ev.EVTCHNOP_bind_interdomain, 1, 5000, 0)).toBe(-EINVAL);
    expect(op(kernel(b), ev.EVTCHNOP_bind_interdomain, 9, 1, 0)).toBe(-ESRCH);
    // A refused bind keeps no port.
    expect(unbound(b, 1)).toBe(2);
  });

  it('of a port for another domain takes the right to act upon it', () => {
    expect(op(kernel(b), ev.EVTCHNOP_alloc_unbound, 1 | (2 << 16), 0)).toBe(-EPERM);
    const control = makeDom({ domid: 0, privileged: true });
    expect(op(kernel(control), ev.EVTCHNOP_alloc_unbound, 1 | (2 << 16), 0)).toBe(0);
    expect(op(kernel(b), ev.EVTCHNOP_bind_interdomain, 1, kernel(control).get(1), 0)).toBe(0);
  });

  it('gives the lowest free port, up to the limit, and frees what is closed', () => {
    const ports = Array.from({ length: MAX_PORTS - 1 }, () => unbound(a, 2));
    expect(ports).toEqual(Array.from({ length: MAX_PORTS - 1 }, (_, i) => i + 1));
    expect(op(kernel(a), ev.EVTCHNOP_alloc_unbound, DOMID_SELF | (2 << 16), 0)).toBe(-ENOSPC);
    // Whether there is a port comes before whose right it is.
    expect(op(kernel(b), ev.EVTCHNOP_alloc_unbound, 1 | (2 << 16), 0)).toBe(-ENOSPC);
    expect(op(kernel(a), ev.EVTCHNOP_close, 700)).toBe(0);
    expect(unbound(a, 2)).toBe(700);
  });

  it('works within one domain', () => {
    const port = unbound(a, 1);
    expect(op(kernel(a), ev.EVTCHNOP_bind_interdomain, DOMID_SELF, port, 0)).toBe(0);
    const other = kernel(a).get(2);
    quiet(a);
    expect([send(a, other), pending(a, port), pending(a, other)]).toEqual([0, 1, 0]);
    expect(op(kernel(a), ev.EVTCHNOP_close, port)).toBe(0);
  });
});

describe('sending', () => {
  it('sets the peer’s bit and selector once, and asks its vCPU once', () => {
    const [there, here] = pair();
    quiet(a, b);
    expect(send(b, here)).toBe(0);
    expect([pending(a, there), selector(a), asked(kernel(a)), peek(vcpu.upcallPending(kernel(a).g.cpu))]).toEqual([
      1,
      1,
      true,
      1,
    ]);
    expect([pending(b, here), asked(kernel(b))]).toEqual([0, false]);
    poke(actor.request(kernel(a).g.cpu), 0);
    expect(send(b, here)).toBe(0);
    expect(asked(kernel(a))).toBe(false);
  });

  it('on a masked port waits until it is unmasked', () => {
    const [there, here] = pair();
    quiet(a, b);
    mask(a, there);
    send(b, here);
    expect([pending(a, there), selector(a), asked(kernel(a))]).toEqual([1, 0, false]);
    expect(op(kernel(a), ev.EVTCHNOP_unmask, there)).toBe(0);
    expect([selector(a), bit(a, ev.SHARED_INFO_MASK, there)]).toEqual([1, 0]);
  });

  it('goes to the vCPU the port is bound to', () => {
    const [there, here] = pair();
    quiet(a, b);
    expect(op(kernel(a), ev.EVTCHNOP_bind_vcpu, there, 1)).toBe(0);
    expect(op(kernel(a), ev.EVTCHNOP_bind_vcpu, there, 2)).toBe(-ENOENT);
    send(b, here);
    expect([asked(a.cpus[0]!), asked(a.cpus[1]!), selector(a, 1)]).toEqual([false, true, 1]);
  });

  it('to a vCPU of the own domain needs no peer', () => {
    expect(op(kernel(a), ev.EVTCHNOP_bind_ipi, 1, 0)).toBe(0);
    const port = kernel(a).get(1);
    expect([send(a, port), pending(a, port), asked(a.cpus[1]!)]).toEqual([0, 1, true]);
    expect(op(kernel(a), ev.EVTCHNOP_bind_ipi, 2, 0)).toBe(-ENOENT);
  });

  it('is refused on ports that are free, reserved or virtual interrupts', () => {
    expect(op(kernel(a), ev.EVTCHNOP_bind_virq, ev.VIRQ_TIMER, 1, 0)).toBe(0);
    expect([send(a, kernel(a).get(2)), send(a, 0), send(a, 9), send(a, -1)]).toEqual(Array(4).fill(-EINVAL));
  });

  it('reaches the handler when the guest comes by', () => {
    const [, here] = pair();
    quiet(a, b);
    const c = kernel(a);
    c.events = 0;
    send(b, here);
    on(c, () => c.g.poll());
    expect([c.events, asked(c), peek(vcpu.upcallPending(c.g.cpu))]).toEqual([1, false, 0]);
  });
});

describe('virtual interrupts', () => {
  it('are bound once, the global ones through vCPU 0', () => {
    const bind = (virq: number, v: number): number => op(kernel(a), ev.EVTCHNOP_bind_virq, virq, v, 0);
    expect([bind(ev.VIRQ_TIMER, 0), bind(ev.VIRQ_TIMER, 1), bind(ev.VIRQ_TIMER, 1)]).toEqual([0, 0, -EEXIST]);
    expect([bind(ev.VIRQ_DOM_EXC, 1), bind(ev.VIRQ_DOM_EXC, 0), bind(ev.VIRQ_DOM_EXC, 0)]).toEqual([
      -EINVAL,
      0,
      -EEXIST,
    ]);
    expect([bind(24, 0), bind(-1, 0), bind(ev.VIRQ_DEBUG, 5)]).toEqual([-EINVAL, -EINVAL, -ENOENT]);
  });

  it('arrive where they are bound, and nowhere else', () => {
    op(kernel(a), ev.EVTCHNOP_bind_virq, ev.VIRQ_TIMER, 1, 0);
    const port = kernel(a).get(2);
    run(() => sendGuestVirq(CONTROL, a.d, ev.VIRQ_TIMER, 0));
    expect(pending(a, port)).toBe(0);
    run(() => sendGuestVirq(CONTROL, a.d, ev.VIRQ_TIMER, 1));
    expect([pending(a, port), asked(a.cpus[1]!)]).toEqual([1, true]);
  });
});

describe('closing', () => {
  it('leaves the other end unbound, for the same domain to bind again', () => {
    const [there, here] = pair();
    expect(op(kernel(b), ev.EVTCHNOP_close, here)).toBe(0);
    expect(op(kernel(a), ev.EVTCHNOP_status, DOMID_SELF, there, 0, 0, 0, 0)).toBe(0);
    expect([2, 4].map((i) => kernel(a).get(i))).toEqual([ev.EVTCHNSTAT_unbound, 2]);
    expect(send(a, there)).toBe(0);
    expect(op(kernel(b), ev.EVTCHNOP_bind_interdomain, 1, there, 0)).toBe(0);
    expect(op(kernel(b), ev.EVTCHNOP_close, 40)).toBe(-EINVAL);
    expect(op(kernel(b), ev.EVTCHNOP_close, 0)).toBe(-EINVAL);
  });

  it('takes a pending event with it', () => {
    const [there, here] = pair();
    quiet(a, b);
    send(b, here);
    expect(op(kernel(a), ev.EVTCHNOP_close, there)).toBe(0);
    expect(pending(a, there)).toBe(0);
  });

  it('happens to all ports at a reset, and to a dying domain’s', () => {
    const [there] = pair();
    unbound(a, 2);
    expect(op(kernel(a), ev.EVTCHNOP_reset, DOMID_SELF)).toBe(0);
    expect(send(a, there)).toBe(-EINVAL);
    expect(op(kernel(b), ev.EVTCHNOP_reset, 1)).toBe(-EPERM);
    const [again, here] = pair();
    a.cpus.forEach((c) => {
      run(() => c.g.halt());
    });
    expect(run(() => destroyDomain(CONTROL, a.d))).toBe(0);
    expect(op(kernel(b), ev.EVTCHNOP_status, DOMID_SELF, here, 0, 0, 0, 0)).toBe(0);
    expect([kernel(b).get(2), again]).toEqual([ev.EVTCHNSTAT_unbound, 1]);
    expect(run(() => evtchnSend(CONTROL, b.d, here))).toBe(0);
  });
});

describe('a reset that stops for a pause', () => {
  /** One part of a hypercall that is asked to pause: it stops at its first preemption check. */
  function part(c: Guest, cmd: number, word: number): boolean {
    c.put(0, word);
    c.g.arg(0, cmd, 0);
    c.g.argVa(1, c.va);
    poke(vcpu.rax(c.g.cpu), HYPERVISOR_event_channel_op);
    return goOn(c, REQ_PAUSE);
  }
  function goOn(c: Guest, request = 0): boolean {
    const word = actor.request(c.g.cpu);
    poke(word, peek(word) | request);
    const done = run(() => gate(c.g.cpu));
    poke(word, peek(word) & ~request);
    return done;
  }

  it('leaves ports below to whoever binds them meanwhile, and says so', () => {
    unbound(a, 2);
    expect(part(kernel(a), ev.EVTCHNOP_reset, DOMID_SELF)).toBe(false);
    expect(op(a.cpus[1]!, ev.EVTCHNOP_reset, DOMID_SELF)).toBe(-EBUSY);
    expect(op(a.cpus[1]!, ev.EVTCHNOP_alloc_unbound, DOMID_SELF | (2 << 16), 0)).toBe(0);
    expect(goOn(kernel(a))).toBe(true);
    expect(peek(vcpu.raxLo(kernel(a).g.cpu))).toBe(-EAGAIN);
    expect(op(kernel(a), ev.EVTCHNOP_reset, DOMID_SELF)).toBe(0);
  });

  it('keeps no port of a domain that is destroyed before it goes on', () => {
    unbound(a, 2);
    expect(part(kernel(a), ev.EVTCHNOP_reset, DOMID_SELF)).toBe(false);
    const there = op(a.cpus[1]!, ev.EVTCHNOP_alloc_unbound, DOMID_SELF | (2 << 16), 0);
    expect([there, a.cpus[1]!.get(1)]).toEqual([0, 1]);
    expect(op(kernel(b), ev.EVTCHNOP_bind_interdomain, 1, 1, 0)).toBe(0);
    const here = kernel(b).get(2);
    a.cpus.forEach((c) => {
      run(() => c.g.halt());
    });
    expect(run(() => destroyDomain(CONTROL, a.d))).toBe(0);
    expect(op(kernel(b), ev.EVTCHNOP_status, DOMID_SELF, here, 0, 0, 0, 0)).toBe(0);
    expect([2, 4].map((i) => kernel(b).get(i))).toEqual([ev.EVTCHNSTAT_unbound, 1]);
  });
});

describe('the call', () => {
  it('answers errnos for what is wrong with it', () => {
    const c = kernel(a);
    expect([op(c, 99), op(c, ev.EVTCHNOP_bind_pirq, 1, 0, 0), op(c, 11)]).toEqual([-ENOSYS, -EINVAL, -ENOSYS]);
    c.g.arg(0, ev.EVTCHNOP_send, 0);
    c.g.argVa(1, argsVa(40));
    expect(on(c, () => c.g.hypercall(HYPERVISOR_event_channel_op))).toBe(-EFAULT);
    expect(op(c, ev.EVTCHNOP_status, 9, 0, 0, 0, 0, 0)).toBe(-ESRCH);
  });
});
