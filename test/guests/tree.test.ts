/**
 * Live trees: munmap, fork and exec make the hypercalls that the real kernel made (FORMAT.md items 15, 17-21).
 */
import { describe, expect, test } from 'vitest';
import {
  HYPERVISOR_mmu_update,
  HYPERVISOR_mmuext_op,
  HYPERVISOR_multicall,
  HYPERVISOR_update_va_mapping,
} from '../../src/abi/hypercall.js';
import { addVaBytes } from './support.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import { COUNT, WARN } from '../../guests/kernel/counters.js';
import { counted, warned } from '../../guests/kernel/count.js';
import { execTask } from '../../guests/kernel/exec.js';
import { mmPut } from '../../guests/kernel/exit.js';
import { dupMm } from '../../guests/kernel/fork.js';
import { mm } from '../../guests/kernel/mm.js';
import { munmap } from '../../guests/kernel/mmap.js';
import { kernel, percpu } from '../../guests/kernel/records.js';
import { activateMm, enterLazyTlb, initMm } from '../../guests/kernel/switch.js';
import { task } from '../../guests/kernel/task.js';
import { userLoad, userStore } from '../../guests/kernel/user.js';
import { bootMachine, bootVcpu, makeDomain } from './machine.js';
import { DATA, makeProcess, totals } from './process.js';

const clean = (k: Parameters<typeof warned>[0]): void => {
  for (const [name, kind] of Object.entries(WARN)) expect([name, warned(k, kind)]).toEqual([name, 0]);
};

describe('munmap in a live tree', () => {
  test.each([
    { pages: 1, stride: 1, tables: 1, flush: 1 },
    { pages: 16, stride: 1, tables: 1, flush: 16 },
    { pages: 300, stride: 1, tables: 1, flush: 1 },
    { pages: 64, stride: 512, tables: 64, flush: 1 },
  ])('$pages pages $stride apart: one emulated store each, and $tables tables', ({ pages, stride, tables, flush }) => {
    bootMachine();
    run(function* () {
      const d = yield* makeDomain({ populated: 512 });
      const c = yield* bootVcpu(d);
      const p = yield* makeProcess(c, pages, stride);
      d.calls.length = 0;
      const emulations = peek(vcpu.nEmulations(c.cpu));
      const continuations = peek(vcpu.nContinuations(c.cpu));
      expect(yield* munmap(c, p.m, DATA, (pages - 1) * stride + 1)).toBe(0);
      expect(peek(vcpu.nEmulations(c.cpu)) - emulations).toBe(pages);
      expect(totals(d.calls).direct).toEqual({
        [HYPERVISOR_mmu_update]: tables + 2,
        [HYPERVISOR_multicall]: tables,
        [HYPERVISOR_update_va_mapping]: 2,
        [HYPERVISOR_mmuext_op]: flush,
      });
      expect(peek(vcpu.nContinuations(c.cpu)) - continuations).toBe(tables + 3);
      clean(c.k);
    });
  });
});

describe('fork', () => {
  test.each([16, 300])('%i private pages: one emulated store each, the child by batches of 31', (pages) => {
    bootMachine();
    run(function* () {
      const d = yield* makeDomain({ populated: 1024 });
      const c = yield* bootVcpu(d);
      const free = peek(kernel.nrFree(c.k));
      const p = yield* makeProcess(c, pages);
      d.calls.length = 0;
      const emulations = peek(vcpu.nEmulations(c.cpu));
      const child = yield* dupMm(c, p.m);
      const present = 8 + 1 + 1 + pages;
      expect(peek(mm.rss(child))).toBe(present);
      expect(peek(vcpu.nEmulations(c.cpu)) - emulations).toBe(present);
      const all = totals(d.calls);
      expect(all.direct[HYPERVISOR_mmu_update]).toBe(3 + Math.ceil(pages / 31));
      expect(all.multicalls).toEqual([18]);
      expect(all.sub).toEqual({ [HYPERVISOR_mmuext_op]: 6, [HYPERVISOR_update_va_mapping]: 12 });
      expect(all.direct[HYPERVISOR_mmuext_op]).toBe(1);

      // Copy on write: the parent's store gets a page of its own; the child, alone then, keeps the old one.
      expect(yield* userStore(c, DATA, 77)).toBe(true);
      poke(task.mm(p.t), child);
      yield* activateMm(c, child);
      expect(yield* userLoad(c, DATA)).toBe(1);
      expect(yield* userStore(c, DATA, 5)).toBe(true);
      expect(counted(c.k, COUNT.cowCopies)).toBe(1);
      poke(task.mm(p.t), p.m);
      yield* activateMm(c, p.m);
      expect(yield* userLoad(c, DATA)).toBe(77);

      yield* enterLazyTlb(c, p.m);
      yield* mmPut(c, child);
      yield* mmPut(c, p.m);
      yield* activateMm(c, initMm(c));
      poke(percpu.current(c.pc), 0);
      expect(peek(kernel.nrFree(c.k))).toBe(free);
      clean(c.k);
    });
  });
});

test('execve: the new root is built, pinned by 8 calls and loaded, then the old one goes without a switch', () => {
  bootMachine();
  run(function* () {
    const d = yield* makeDomain({ populated: 512 });
    const c = yield* bootVcpu(d);
    const p = yield* makeProcess(c, 16);
    d.calls.length = 0;
    expect(yield* execTask(c, p.t)).toBe(0);
    expect(d.calls.map((x) => x.nr)).toEqual([
      HYPERVISOR_mmu_update,
      HYPERVISOR_multicall,
      HYPERVISOR_mmuext_op,
      HYPERVISOR_multicall,
    ]);
    expect(totals(d.calls).multicalls).toEqual([8, 17]);
    expect(yield* userStore(c, addVaBytes(DATA, 0), 1)).toBe(false);
    expect(peek(task.killed(p.t))).toBe(11);
    clean(c.k);
  });
});
