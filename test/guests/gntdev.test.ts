/**
 * What today's Linux does with granted pages, hypercall by hypercall (linux-teardown FORMAT.md, items 1, 6, 8-14).
 */
import { describe, expect, test } from 'vitest';
import {
  HYPERVISOR_grant_table_op,
  HYPERVISOR_mmu_update,
  HYPERVISOR_mmuext_op,
  HYPERVISOR_multicall,
  HYPERVISOR_update_va_mapping,
} from '../../src/abi/hypercall.js';
import { EFAULT } from '../../src/abi/errno.js';
import { makeVa } from '../../src/abi/frames.js';
import { listFirst, listNext } from '../../src/shm/list.js';
import { addVaBytes } from './support.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { endAccess, grantInUse } from '../../guests/drivers/grants.js';
import { grantMap } from '../../guests/drivers/gntdev/map.js';
import type { KernelCpu } from '../../guests/kernel/context.js';
import { COUNT, WARN } from '../../guests/kernel/counters.js';
import { counted, warned } from '../../guests/kernel/count.js';
import { mmPut } from '../../guests/kernel/exit.js';
import { closeFiles } from '../../guests/kernel/file.js';
import { forkTask } from '../../guests/kernel/clone.js';
import { madviseDontneed, munmap } from '../../guests/kernel/mmap.js';
import { mprotect, mremap } from '../../guests/kernel/mprotect.js';
import { percpu, kernel } from '../../guests/kernel/records.js';
import { activateMm, enterLazyTlb, initMm } from '../../guests/kernel/switch.js';
import { task, taskOfNode } from '../../guests/kernel/task.js';
import { userTouch } from '../../guests/kernel/user.js';
import { VM_READ } from '../../guests/kernel/vma.js';
import { mapSelfGrants } from './granted.js';
import { bootMachine, bootVcpu, makeDomain, type TestDomain } from './machine.js';
import { GNT, makeProcess, totals, type Process } from './process.js';

function* end(c: KernelCpu, p: Process): Steps<void> {
  poke(task.mm(p.t), 0);
  yield* enterLazyTlb(c, p.m);
  yield* mmPut(c, p.m);
  yield* closeFiles(c, p.t);
}

function* settled(c: KernelCpu, refs: readonly number[]): Steps<void> {
  yield* activateMm(c, initMm(c));
  poke(percpu.current(c.pc), 0);
  for (const ref of refs) {
    expect(yield* grantInUse(c, ref)).toBe(false);
    expect(yield* endAccess(c, ref)).toBe(true);
  }
  for (const [name, kind] of Object.entries(WARN)) expect([name, warned(c.k, kind)]).toEqual([name, 0]);
}

function* setUp(): Steps<{ d: TestDomain; c: KernelCpu }> {
  const d = yield* makeDomain({ populated: 1024, ballooned: 512 });
  return { d, c: yield* bootVcpu(d) };
}

describe('exit with grants', () => {
  test.each([1, 16, 64, 512])('%i grants: two grant calls of that many operations, then the exit as ever', (n) => {
    bootMachine();
    run(function* () {
      const { d, c } = yield* setUp();
      const p = yield* makeProcess(c, 1);
      const ballooned = peek(kernel.nrBallooned(c.k));
      const { refs } = yield* mapSelfGrants(c, p, n, GNT);
      d.calls.length = 0;
      yield* end(c, p);
      const all = totals(d.calls);
      expect(d.calls.map((x) => x.nr)).toEqual([
        HYPERVISOR_grant_table_op,
        HYPERVISOR_grant_table_op,
        HYPERVISOR_mmuext_op,
        HYPERVISOR_multicall,
      ]);
      expect(d.calls.slice(0, 2).map((x) => x.args[2])).toEqual([n, n]);
      expect(all.multicalls).toEqual([21]);
      expect(all.sub).toEqual({ [HYPERVISOR_mmuext_op]: 7, [HYPERVISOR_update_va_mapping]: 15 });
      expect(peek(kernel.nrBallooned(c.k))).toBe(ballooned);
      yield* settled(c, refs);
      expect(counted(c.k, COUNT.grantsTornDown)).toBe(n);
    });
  });
});

describe('setting grants up', () => {
  test('makes three tables in the pinned tree, then one call for user and one for kernel mappings', () => {
    bootMachine();
    run(function* () {
      const { d, c } = yield* setUp();
      const p = yield* makeProcess(c, 1);
      d.calls.length = 0;
      yield* mapSelfGrants(c, p, 64, GNT);
      const all = totals(d.calls);
      expect(all.direct).toEqual({
        [HYPERVISOR_mmu_update]: 3,
        [HYPERVISOR_update_va_mapping]: 2,
        [HYPERVISOR_multicall]: 1,
        [HYPERVISOR_grant_table_op]: 2,
      });
      expect(all.sub).toEqual({ [HYPERVISOR_mmuext_op]: 1, [HYPERVISOR_update_va_mapping]: 1 });
    });
  });
});

describe('munmap of grants', () => {
  test('two grant calls, then the tables of the pinned tree go one by one, then one INVLPG', () => {
    bootMachine();
    run(function* () {
      const { d, c } = yield* setUp();
      const p = yield* makeProcess(c, 1);
      const { refs } = yield* mapSelfGrants(c, p, 64, GNT);
      d.calls.length = 0;
      const continuations = peek(vcpu.nContinuations(c.cpu));
      expect(yield* munmap(c, p.m, GNT, 64)).toBe(0);
      expect(totals(d.calls).direct).toEqual({
        [HYPERVISOR_grant_table_op]: 2,
        [HYPERVISOR_mmu_update]: 3,
        [HYPERVISOR_multicall]: 1,
        [HYPERVISOR_update_va_mapping]: 2,
        [HYPERVISOR_mmuext_op]: 1,
      });
      expect(peek(vcpu.nContinuations(c.cpu)) - continuations).toBe(4);
      expect(peek(vcpu.nEmulations(c.cpu))).toBe(0);
      yield* end(c, p);
      yield* settled(c, refs);
    });
  });

  test.each([
    { part: 'head', from: 0, n: 8, pairs: 1 },
    { part: 'tail', from: 8, n: 8, pairs: 1 },
    { part: 'mid', from: 4, n: 8, pairs: 2 },
    { part: 'one', from: 7, n: 1, pairs: 2 },
  ])('gnt-part-$part: only that range goes; the exit does one pair per rest', ({ from, n, pairs }) => {
    bootMachine();
    run(function* () {
      const { d, c } = yield* setUp();
      const p = yield* makeProcess(c, 1);
      const { refs, map } = yield* mapSelfGrants(c, p, 16, GNT);
      d.calls.length = 0;
      expect(yield* munmap(c, p.m, addVaBytes(GNT, from * 4096), n)).toBe(0);
      expect(totals(d.calls).direct).toEqual({ [HYPERVISOR_grant_table_op]: 2 });
      expect(peek(grantMap.live(map))).toBe(2 * (16 - n));
      d.calls.length = 0;
      yield* end(c, p);
      expect(totals(d.calls).direct[HYPERVISOR_grant_table_op]).toBe(2 * pairs);
      yield* settled(c, refs);
    });
  });
});

test('mprotect of a range of grants unmaps them as a side effect, and the next touch is SIGBUS', () => {
  bootMachine();
  run(function* () {
    const { d, c } = yield* setUp();
    const p = yield* makeProcess(c, 1);
    const { refs } = yield* mapSelfGrants(c, p, 16, GNT);
    d.calls.length = 0;
    expect(yield* mprotect(c, p.m, GNT, 16, VM_READ)).toBe(0);
    expect(totals(d.calls).direct).toEqual({ [HYPERVISOR_grant_table_op]: 2 });
    expect(yield* userTouch(c, GNT, 1, false)).toBe(0);
    expect(peek(task.killed(p.t))).toBe(7);
    yield* end(c, p);
    yield* settled(c, refs);
  });
});

test('closing the descriptor first changes nothing: the VMA holds the file', () => {
  bootMachine();
  run(function* () {
    const { d, c } = yield* setUp();
    const p = yield* makeProcess(c, 1);
    const { refs } = yield* mapSelfGrants(c, p, 64, GNT);
    d.calls.length = 0;
    yield* closeFiles(c, p.t);
    expect(d.calls).toEqual([]);
    yield* end(c, p);
    expect(totals(d.calls).direct[HYPERVISOR_grant_table_op]).toBe(2);
    yield* settled(c, refs);
  });
});

describe('moving and dropping ranges of grants', () => {
  test('mremap unmaps them, makes tables at the new place and frees the old ones; no entry is moved', () => {
    bootMachine();
    run(function* () {
      const { d, c } = yield* setUp();
      const p = yield* makeProcess(c, 1);
      const { refs } = yield* mapSelfGrants(c, p, 16, GNT);
      const to = makeVa(98);
      d.calls.length = 0;
      const continuations = peek(vcpu.nContinuations(c.cpu));
      expect(yield* mremap(c, p.m, GNT, 16, 16, to)).toBe(0);
      expect(totals(d.calls).direct).toEqual({
        [HYPERVISOR_grant_table_op]: 2,
        [HYPERVISOR_mmu_update]: 6,
        [HYPERVISOR_multicall]: 2,
        [HYPERVISOR_update_va_mapping]: 4,
        [HYPERVISOR_mmuext_op]: 1,
      });
      expect(peek(vcpu.nContinuations(c.cpu)) - continuations).toBe(4);
      expect(peek(vcpu.nEmulations(c.cpu))).toBe(0);
      expect(yield* userTouch(c, to, 1, false)).toBe(0);
      expect(peek(task.killed(p.t))).toBe(7);
      yield* end(c, p);
      yield* settled(c, refs);
    });
  });

  test('mremap to a smaller size unmaps the tail; to a larger one it is refused', () => {
    bootMachine();
    run(function* () {
      const { d, c } = yield* setUp();
      const p = yield* makeProcess(c, 1);
      const { refs } = yield* mapSelfGrants(c, p, 16, GNT);
      d.calls.length = 0;
      expect(yield* mremap(c, p.m, GNT, 16, 17, GNT)).toBe(-EFAULT);
      expect(d.calls).toEqual([]);
      expect(yield* mremap(c, p.m, GNT, 16, 8, GNT)).toBe(0);
      expect(totals(d.calls).direct).toEqual({ [HYPERVISOR_grant_table_op]: 2 });
      expect(yield* userTouch(c, GNT, 8, true)).toBe(8);
      yield* end(c, p);
      expect(totals(d.calls).direct[HYPERVISOR_grant_table_op]).toBe(4);
      yield* settled(c, refs);
    });
  });

  test('MADV_DONTNEED unmaps them; the next touch is SIGBUS', () => {
    bootMachine();
    run(function* () {
      const { d, c } = yield* setUp();
      const p = yield* makeProcess(c, 1);
      const { refs } = yield* mapSelfGrants(c, p, 16, GNT);
      d.calls.length = 0;
      expect(yield* madviseDontneed(c, p.m, GNT, 16)).toBe(0);
      expect(totals(d.calls).direct).toEqual({ [HYPERVISOR_grant_table_op]: 2 });
      expect(yield* userTouch(c, GNT, 1, true)).toBe(0);
      expect(peek(task.killed(p.t))).toBe(7);
      yield* end(c, p);
      yield* settled(c, refs);
    });
  });
});

test('fork leaves the grants to the parent; the child holds the file, its exit has nothing to unmap', () => {
  bootMachine();
  run(function* () {
    const { d, c } = yield* setUp();
    const p = yield* makeProcess(c, 4);
    const { refs } = yield* mapSelfGrants(c, p, 16, GNT);
    const pid = yield* forkTask(c, p.t, 0);
    expect(pid).toBeGreaterThan(0);
    const child = taskOfNode(yield* lastTask(c));
    d.calls.length = 0;
    const m = peek(task.mm(child)) as Process['m'];
    poke(task.mm(child), 0);
    yield* mmPut(c, m);
    expect(totals(d.calls).direct[HYPERVISOR_grant_table_op]).toBeUndefined();
    expect(yield* userTouch(c, GNT, 16, true)).toBe(16);
    yield* end(c, p);
    expect(totals(d.calls).direct[HYPERVISOR_grant_table_op]).toBe(2);
    yield* closeFiles(c, child);
    yield* settled(c, refs);
  });
});

function* lastTask(c: KernelCpu): Steps<number> {
  const head = kernel.tasks(c.k);
  let last = 0;
  for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) last = n;
  return last;
}
