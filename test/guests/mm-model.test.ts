/**
 * A process' memory against a model: whatever is mapped, unmapped, moved, protected, given up, forked and reclaimed,
 * every page reads what was last written to it, and every access that the model refuses is refused.
 */
import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { auditMachine } from '../../src/audit/index.js';
import { makeVa, type Va } from '../../src/abi/frames.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from '../../guests/kernel/context.js';
import { WARN } from '../../guests/kernel/counters.js';
import { warned } from '../../guests/kernel/count.js';
import { mmPut } from '../../guests/kernel/exit.js';
import { dupMm } from '../../guests/kernel/fork.js';
import { madviseFree } from '../../guests/kernel/madvise-free.js';
import { madviseDontneed, mmapAnon, munmap } from '../../guests/kernel/mmap.js';
import { mprotect, mremap } from '../../guests/kernel/mprotect.js';
import { reclaimOne } from '../../guests/kernel/reclaim.js';
import { kernel, percpu } from '../../guests/kernel/records.js';
import { activateMm, initMm } from '../../guests/kernel/switch.js';
import { task, taskAlloc, taskStart, type Task } from '../../guests/kernel/task.js';
import { newProcessMm } from '../../guests/kernel/exec.js';
import { userLoad, userStore } from '../../guests/kernel/user.js';
import { VM_READ, VM_WRITE } from '../../guests/kernel/vma.js';
import { reportOf } from '../../guests/report.js';
import { bootMachine, bootVcpu, makeDomain } from './machine.js';

/** Pages of the arena of the test, half of them in each of two L1 tables. */
const PAGES = 6;
const BASE = makeVa(64, 0, 0, 512 - PAGES / 2);
const at = (i: number): Va => (BASE + i * 4096) as Va;

const RW = VM_READ | VM_WRITE;
interface Page {
  value: number;
  writable: boolean;
  /** Given up: it may read 0 instead, from some moment on, until it is written. */
  mayGo: boolean;
}
type Model = Map<number, Page>;

const page = fc.nat(PAGES - 1);
const length = fc.integer({ min: 1, max: 4 });
const op = fc.oneof(
  fc.record({
    kind: fc.constantFrom('mmap', 'munmap', 'protect', 'unprotect', 'dontneed', 'free'),
    i: page,
    n: length,
  }),
  fc.record({ kind: fc.constant('move'), i: page, n: length, to: page }),
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('write', 'read'), i: page }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('reclaim', 'fork', 'swap', 'swap') }) },
);
type Op = typeof op extends fc.Arbitrary<infer T> ? T : never;

const clip = (i: number, n: number): number => Math.min(n, PAGES - i);
const none = (m: Model, i: number, n: number): boolean =>
  Array.from({ length: n }, (_, k) => m.has(i + k)).every((has) => !has);

/** One operation, on the process and on the model. */
function* apply(c: KernelCpu, t: Task, m: Model, o: Op, serial: number): Steps<void> {
  const mm = peek(task.mm(t)) as Parameters<typeof munmap>[1];
  if (o.kind === 'write' || o.kind === 'read') {
    const p = m.get(o.i);
    poke(task.killed(t), 0);
    if (o.kind === 'read') {
      const value = yield* userLoad(c, at(o.i));
      if (value === 0 && p?.mayGo === true) p.value = 0;
      expect(value).toBe(p === undefined ? -1 : p.value);
    } else {
      const ok = yield* userStore(c, at(o.i), serial);
      expect(ok).toBe(p?.writable === true);
      if (ok && p !== undefined) Object.assign(p, { value: serial, mayGo: false });
    }
    expect(peek(task.killed(t)) !== 0).toBe(o.kind === 'read' ? p === undefined : p?.writable !== true);
    return;
  }
  if (o.kind === 'reclaim') {
    for (let k = 0; k < 16; k++) yield* reclaimOne(c);
    return;
  }
  if (!('i' in o)) return;
  const i = o.i;
  const n = clip(i, 'n' in o ? o.n : 1);
  switch (o.kind) {
    case 'mmap': {
      const r = yield* mmapAnon(c, mm, at(i), n, RW);
      expect(r === 0).toBe(none(m, i, n));
      if (r === 0) for (let k = 0; k < n; k++) m.set(i + k, { value: 0, writable: true, mayGo: false });
      return;
    }
    case 'munmap':
      expect(yield* munmap(c, mm, at(i), n)).toBe(0);
      for (let k = 0; k < n; k++) m.delete(i + k);
      return;
    case 'dontneed':
      yield* madviseDontneed(c, mm, at(i), n);
      for (let k = 0; k < n; k++) if (m.has(i + k)) (m.get(i + k) as Page).value = 0;
      return;
    case 'free':
      yield* madviseFree(c, mm, at(i), n);
      for (let k = 0; k < n; k++) if (m.has(i + k)) (m.get(i + k) as Page).mayGo = true;
      return;
    case 'protect':
    case 'unprotect': {
      const writable = o.kind === 'unprotect';
      const r = yield* mprotect(c, mm, at(i), 1, writable ? RW : VM_READ);
      expect(r === 0).toBe(m.has(i));
      const p = m.get(i);
      if (p !== undefined) p.writable = writable;
      return;
    }
    case 'move': {
      const to = (o as { to: number }).to;
      const ok = m.has(i) && !m.has(to) && i !== to;
      const r = yield* mremap(c, mm, at(i), 1, 1, at(to));
      if (i === to) expect(r === 0).toBe(m.has(i));
      else expect(r === 0).toBe(ok);
      if (r === 0 && i !== to) {
        m.set(to, m.get(i) as Page);
        m.delete(i);
      }
    }
  }
}

test.prop([fc.array(op, { minLength: 20, maxLength: 90 })], { numRuns: 30, seed: 7 })(
  'memory behaves as the model does, and nothing is left behind',
  (ops) => {
    bootMachine();
    run(function* () {
      const d = yield* makeDomain({ populated: 300 });
      const c = yield* bootVcpu(d);
      const free = peek(kernel.nrFree(c.k));
      const t = yield* taskAlloc(c, 0, 0 as never, 0 as Task);
      yield* taskStart(c, t);
      poke(percpu.current(c.pc), t);
      const spaces: { mm: number; model: Model }[] = [{ mm: yield* newProcessMm(c), model: new Map() }];
      const enter = function* (): Steps<void> {
        poke(task.mm(t), spaces[0]?.mm ?? 0);
        yield* activateMm(c, (spaces[0]?.mm ?? 0) as Parameters<typeof activateMm>[1]);
      };
      yield* enter();
      yield* apply(c, t, (spaces[0] as { model: Model }).model, { kind: 'mmap', i: 0, n: PAGES }, 0);
      for (const [serial, o] of ops.entries()) {
        const here = spaces[0] as { mm: number; model: Model };
        if (o.kind === 'fork' && spaces.length < 3) {
          const model = new Map([...here.model].map(([k, p]) => [k, { ...p }]));
          spaces.push({ mm: yield* dupMm(c, here.mm as Parameters<typeof dupMm>[1]), model });
        } else if (o.kind === 'swap') {
          spaces.push(spaces.shift() as { mm: number; model: Model });
          yield* enter();
        } else yield* apply(c, t, here.model, o, serial + 1);
      }
      for (let n = 0; n < spaces.length; n++) {
        yield* enter();
        const { model } = spaces[0] as { model: Model };
        for (let i = 0; i < PAGES; i++) yield* apply(c, t, model, { kind: 'read', i }, 0);
        spaces.push(spaces.shift() as { mm: number; model: Model });
      }
      poke(task.mm(t), 0);
      yield* activateMm(c, initMm(c));
      for (const s of spaces) yield* mmPut(c, s.mm as Parameters<typeof mmPut>[1]);
      poke(percpu.current(c.pc), 0);
      expect(peek(kernel.nrFree(c.k))).toBe(free);
      for (const [name, kind] of Object.entries(WARN)) expect([name, warned(c.k, kind)]).toEqual([name, 0]);
      expect(auditMachine([], [reportOf(c.k, c.design)])).toEqual([]);
    });
  },
  120_000,
);
