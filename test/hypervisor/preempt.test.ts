/** Preemption: partial tables, the table to be finished first, continuations that end ([X14]-[X16], [I19]). */
import { beforeEach, describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EBUSY, EINVAL, ERESTART } from '../../src/abi/errno.js';
import type { Mfn } from '../../src/abi/frames.js';
import { HYPERVISOR_mmuext_op, HYPERVISOR_multicall } from '../../src/abi/hypercall.js';
import * as mmu from '../../src/abi/mmu.js';
import { destroyDomain } from '../../src/hypervisor/domctl.js';
import { dispatch } from '../../src/hypervisor/dispatch.js';
import { hypercall } from '../../src/hypervisor/gate.js';
import { renewQuantum } from '../../src/hypervisor/preempt.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { nrValidated, PGT_partial, stampWord, typeInfo } from '../../src/machine/frame.js';
import { actor, CONTROL, MODE_OFF, REQ_EVENT, REQ_KILL, REQ_PAUSE } from '../../src/sync/actor.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import { entry, machine, pair, pte, put, RO, RW, single, state, type Dom } from './machine.js';
import { recount } from './recount.js';

/** A tree below one L4: three L3s, three L2s in each, three L1s in those, two data pages in every L1. */
interface Tree {
  readonly l4: Mfn;
  readonly all: readonly Mfn[];
  readonly data: readonly Mfn[];
}
function tree(d: Dom): Tree {
  const data = d.frames(2);
  const all: Mfn[] = [];
  const make = (level: number): Mfn => {
    const [m] = d.frames(1) as [Mfn];
    all.push(m);
    const slots = level === 1 ? data : [0, 1, 2].map(() => make(level - 1));
    slots.forEach((target, i) => {
      put(m, [0, 300, 511][i] as number, pte(target, level === 1 && i === 0 ? RO : RW));
    });
    return m;
  };
  const l4 = make(4);
  return { l4, all, data };
}
const states = (t: Tree): string[] => [...t.all, ...t.data].map(state);
const partial = (m: Mfn): boolean => (peek(typeInfo(m)) & PGT_partial) !== 0;
const clean = (): void => {
  expect(recount()).toEqual([]);
};

/** Runs the call in the registers one part at a time; `look` after each part that is not the last. Answers [rc, parts]. */
function parts(d: Dom, look: (part: number) => void): [number, number] {
  for (let n = 1; ; n++) {
    poke(vcpu.continued(d.cpu), 0);
    renewQuantum(d.cpu);
    const rc = run(() => dispatch(d.cpu, peek(vcpu.rax(d.cpu))));
    if (peek(vcpu.continued(d.cpu)) === 0) return [rc, n];
    look(n);
  }
}
function loadMmuext(d: Dom, ops: Parameters<Dom['putMmuext']>[0]): void {
  d.putMmuext(ops);
  d.load(HYPERVISOR_mmuext_op, d.at(16), ops.length, d.at(0), 0x7ff0);
}
const pinOps = (t: Tree): Parameters<Dom['putMmuext']>[0] => [{ cmd: mmu.MMUEXT_PIN_L4_TABLE, a1: t.l4 }];
const unpinOps = (t: Tree): Parameters<Dom['putMmuext']>[0] => [{ cmd: mmu.MMUEXT_UNPIN_TABLE, a1: t.l4 }];

describe.each([1, 2, 3, 7])('with a quantum of %i checks', (quantum) => {
  let d0: Dom;
  let t: Tree;
  let pinnedStates: string[];
  beforeEach(() => {
    const plain = single();
    const same = tree(plain);
    expect(plain.pin(4, same.l4)).toBe(0);
    pinnedStates = states(same);
    d0 = single({ quantum });
    t = tree(d0);
    expect(t).toEqual(same);
  });

  it('an L4 pin is preempted, resumes where it was and ends as if it had not been', () => {
    loadMmuext(d0, pinOps(t));
    let reached = -1;
    const [rc, n] = parts(d0, () => {
      expect(recount(false)).toEqual([]);
      expect(partial(t.l4)).toBe(true);
      const now = nrValidated(peek(stampWord(t.l4)));
      expect(now).toBeGreaterThanOrEqual(reached);
      reached = now;
    });
    expect([rc, peek(d0.wordAt(0))]).toEqual([0, 1]);
    expect(n).toBeGreaterThan(12 / quantum);
    expect(states(t)).toEqual(pinnedStates);
    clean();
  });

  it('an interrupted unpin counts as done at once; the table is finished before anything else', () => {
    expect(d0.pin(4, t.l4)).toBe(0);
    loadMmuext(d0, unpinOps(t));
    const [rc, n] = parts(d0, (part) => {
      expect(peek(vcpu.oldGuestTable(d0.cpu)) - 1).toBe(t.l4);
      if (part === 1) expect(peek(d0.wordAt(0))).toBe(1);
      expect(recount(false)).toEqual([]);
    });
    expect([rc, peek(d0.wordAt(0))]).toEqual([0, 1]);
    expect(n).toBeGreaterThan(12 / quantum);
    for (const m of [...t.all, ...t.data]) expect(state(m)).toBe('ref 1 none 0');
    clean();
  });

  it('a base change in which the old tree goes is preempted and done in full', () => {
    put(t.l4, 272, pte(d0.l3, RW));
    expect(d0.mmuext([{ cmd: mmu.MMUEXT_NEW_BASEPTR, a1: t.l4 }])).toEqual([0, 1]);
    expect(state(t.l4)).toBe('ref 2 l4 1');
    loadMmuext(d0, [{ cmd: mmu.MMUEXT_NEW_BASEPTR, a1: d0.l4 }]);
    const [rc, n] = parts(d0, () => {
      expect(recount(false)).toEqual([]);
    });
    expect([rc, peek(d0.wordAt(0))]).toEqual([0, 1]);
    expect(n).toBeGreaterThan(12 / quantum);
    expect(peek(vcpu.guestTable(d0.cpu)) - 1).toBe(d0.l4);
    for (const m of t.all) expect(state(m)).toBe('ref 1 none 0');
    clean();
  });

  it('a pin that fails late gives everything back, in as many parts as it takes', () => {
    const last = entry(t.l4, 511);
    put(t.l4, 511, { lo: last.lo | 0x80, hi: last.hi });
    expect(d0.pin(4, t.l4)).toBe(-EINVAL);
    for (const m of [...t.all, ...t.data]) expect(state(m)).toBe('ref 1 none 0');
    clean();
  });

  it('destroying a domain is asked for again and again, and each part keeps all counts', () => {
    const [, q] = pair({ quantum });
    const tq = tree(q);
    expect(q.pin(4, tq.l4)).toBe(0);
    // Another L4 links to it: its pin goes first, and what the link keeps valid is invalidated by force, in parts too.
    const [linker] = q.frames(1) as [Mfn];
    expect(q.pin(4, linker)).toBe(0);
    expect(q.set(linker, 5, pte(tq.l4, RO))).toBe(0);
    expect(tq.l4).toBeLessThan(linker);
    poke(actor.mode(q.cpu), MODE_OFF);
    let n = 0;
    let rc: number;
    do {
      renewQuantum(CONTROL);
      rc = run(() => destroyDomain(CONTROL, q.d));
      expect(recount(false)).toEqual([]);
      n++;
    } while (rc === -ERESTART);
    expect(rc).toBe(0);
    expect(n).toBeGreaterThan(30 / quantum);
    clean();
  });
});

describe('a partial table', () => {
  it('is resumed by whoever takes its type next, also another domain’s pinner', () => {
    const [p, q] = pair({ quantum: 2 });
    const t = tree(q);
    q.putMmuext(pinOps(t));
    q.load(HYPERVISOR_mmuext_op, q.at(16), 1, q.at(0), 0x7ff0);
    poke(vcpu.continued(q.cpu), 0);
    renewQuantum(q.cpu);
    run(() => dispatch(q.cpu, HYPERVISOR_mmuext_op));
    expect(partial(t.l4)).toBe(true);
    expect(p.pin(4, t.l4, 1)).toBe(0);
    expect(state(t.l4)).toBe('ref 2 l4 1 pinned');
    run(() => hypercall(q.cpu));
    expect(peek(vcpu.raxLo(q.cpu))).toBe(-EINVAL);
    expect(state(t.l4)).toBe('ref 2 l4 1 pinned');
    clean();
  });

  it('cannot become anything else, and is let go when its domain is destroyed', () => {
    const [p, q] = machine({ quantum: 2 }, [{ domid: 1 }]) as [Dom, Dom];
    const t = tree(q);
    q.putMmuext(pinOps(t));
    q.load(HYPERVISOR_mmuext_op, q.at(16), 1, q.at(0), 0x7ff0);
    renewQuantum(q.cpu);
    run(() => dispatch(q.cpu, HYPERVISOR_mmuext_op));
    expect(partial(t.l4)).toBe(true);
    expect(p.pin(1, t.l4, 1)).toBe(-EINVAL);
    expect(p.mapForeign(8, pte(t.l4, RW), 1)).toBe(-EBUSY);
    poke(actor.mode(q.cpu), MODE_OFF);
    let rc: number;
    do {
      renewQuantum(CONTROL);
      rc = run(() => destroyDomain(CONTROL, q.d));
    } while (rc === -ERESTART);
    expect(rc).toBe(0);
    clean();
  });

  it('below slot 0 of a failing L3 is forgotten when the L4 fails too, as recorded (tape main-pagetable-313)', () => {
    const d0 = single();
    const [l1, x, l2, l3, l4] = d0.frames(5) as [Mfn, Mfn, Mfn, Mfn, Mfn];
    put(l2, 3, pte(l1, RW));
    put(l2, 17, pte(l2, RW));
    put(l3, 0, pte(l2, RW));
    put(l4, 273, pte(l3, RW));
    put(l1, 0, pte(x, RW));
    expect(d0.pin(4, l4)).toBe(-EINVAL);
    expect([state(l1), state(l2), state(l3), state(l4)]).toEqual([
      'ref 2 l1 1',
      'ref 3 l2 1',
      'ref 1 none 0',
      'ref 1 none 0',
    ]);
    expect(peek(vcpu.nLostTables(d0.cpu))).toBe(1);
  });
});

describe('a request', () => {
  it('for an event preempts a call once', () => {
    const d0 = single();
    const t = tree(d0);
    poke(actor.request(d0.cpu), REQ_EVENT);
    expect(d0.pin(4, t.l4)).toBe(0);
    expect(peek(vcpu.nContinuations(d0.cpu))).toBe(1);
    expect(d0.unpin(t.l4)).toBe(0);
    expect(peek(vcpu.nContinuations(d0.cpu))).toBeGreaterThan(1);
  });

  it.each([REQ_PAUSE, REQ_KILL])('for a pause or death (%i) sends the call to the border, which calls again', (bit) => {
    const d0 = single();
    const t = tree(d0);
    loadMmuext(d0, pinOps(t));
    poke(actor.request(d0.cpu), bit);
    expect(run(() => hypercall(d0.cpu))).toBe(false);
    expect(peek(actor.doing(d0.cpu))).toBe(0);
    expect(partial(t.l4)).toBe(true);
    poke(actor.request(d0.cpu), 0);
    expect(run(() => hypercall(d0.cpu))).toBe(true);
    expect(peek(vcpu.raxLo(d0.cpu))).toBe(0);
    expect(state(t.l4)).toBe('ref 2 l4 1 pinned');
    clean();
  });

  it('between the entries of a multicall leaves the rest for later', () => {
    const d0 = single();
    const [a, b] = d0.frames(2) as [Mfn, Mfn];
    d0.putMmuext([
      { cmd: mmu.MMUEXT_PIN_L1_TABLE, a1: a },
      { cmd: mmu.MMUEXT_PIN_L1_TABLE, a1: b },
    ]);
    for (let i = 0; i < 2; i++) {
      const base = 128 + i * mmu.MULTICALL_WORDS;
      d0.wide(base, HYPERVISOR_mmuext_op);
      d0.wide(base + mmu.MULTICALL_ARGS, d0.at(16 + 6 * i));
      d0.wide(base + mmu.MULTICALL_ARGS + 2, 1);
      d0.wide(base + mmu.MULTICALL_ARGS + 4, 0);
      d0.wide(base + mmu.MULTICALL_ARGS + 6, 0x7ff0);
    }
    poke(actor.request(d0.cpu), REQ_PAUSE);
    d0.load(HYPERVISOR_multicall, d0.at(128), 2);
    expect(run(() => hypercall(d0.cpu))).toBe(false);
    expect([state(a), state(b)]).toEqual(['ref 2 l1 1 pinned', 'ref 1 none 0']);
    expect(peek(vcpu.argLo(d0.cpu, 1))).toBe(1);
    poke(actor.request(d0.cpu), 0);
    expect(run(() => hypercall(d0.cpu))).toBe(true);
    expect(state(b)).toBe('ref 2 l1 1 pinned');
    expect(d0.map(8, pte(b, RW))).toBe(-EBUSY);
  });
});
