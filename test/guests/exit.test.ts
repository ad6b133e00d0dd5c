/**
 * The end of a process makes exactly the hypercalls that the real kernel made (linux-teardown FORMAT.md, items 1-7, 15).
 */
import { describe, expect, test } from 'vitest';
import {
  HYPERVISOR_mmu_update,
  HYPERVISOR_mmuext_op,
  HYPERVISOR_multicall,
  HYPERVISOR_update_va_mapping,
} from '../../src/abi/hypercall.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import { WARN } from '../../guests/kernel/counters.js';
import { warned } from '../../guests/kernel/count.js';
import { mmPut } from '../../guests/kernel/exit.js';
import { kernel, percpu } from '../../guests/kernel/records.js';
import { activateMm, enterLazyTlb, initMm } from '../../guests/kernel/switch.js';
import { task } from '../../guests/kernel/task.js';
import { bootMachine, bootVcpu, makeDomain } from './machine.js';
import { makeProcess, totals } from './process.js';

const shape = (nL1: number, nL2: number, nL3: number): number[] => {
  const entries = 3 + nL3 + nL2 + 2 * nL1;
  const full = Math.floor(entries / 32);
  return [...Array<number>(full).fill(32), ...(entries % 32 === 0 ? [] : [entries % 32])];
};

describe('exit of an ordinary process', () => {
  test.each([
    { name: 'anon-exit.p1', pages: 1, stride: 1, nL1: 4 },
    { name: 'anon-exit.p512', pages: 512, stride: 1, nL1: 4 },
    { name: 'sparse-exit.p64', pages: 64, stride: 512, nL1: 67 },
  ])('$name: one call to leave the roots, then the unpin in batches of 32', ({ pages, stride, nL1 }) => {
    bootMachine();
    run(function* () {
      const d = yield* makeDomain({ populated: 1024 });
      const c = yield* bootVcpu(d);
      const free = peek(kernel.nrFree(c.k));
      const { m, t } = yield* makeProcess(c, pages, stride);
      const faults = peek(vcpu.nFaults(c.cpu));
      const emulations = peek(vcpu.nEmulations(c.cpu));
      d.calls.length = 0;
      poke(task.mm(t), 0);
      yield* enterLazyTlb(c, m);
      yield* mmPut(c, m);
      const all = totals(d.calls);
      const unpin = shape(nL1, 3, 3);
      expect(all.direct).toEqual({ [HYPERVISOR_mmuext_op]: 1, [HYPERVISOR_multicall]: unpin.length });
      expect(all.multicalls).toEqual(unpin);
      expect(all.sub).toEqual({ [HYPERVISOR_mmuext_op]: 2 + nL1, [HYPERVISOR_update_va_mapping]: 2 + 3 + 3 + nL1 });
      expect(d.calls[0]?.args[1]).toBe(2);
      expect(peek(vcpu.nFaults(c.cpu))).toBe(faults);
      expect(peek(vcpu.nEmulations(c.cpu))).toBe(emulations);
      yield* activateMm(c, initMm(c));
      poke(percpu.current(c.pc), 0);
      expect(peek(kernel.nrFree(c.k))).toBe(free);
      for (const [name, kind] of Object.entries(WARN)) expect([name, warned(c.k, kind)]).toEqual([name, 0]);
    });
  });
});

test('a fault outside lazy mode is one mmu_update per entry', () => {
  bootMachine();
  run(function* () {
    const d = yield* makeDomain({ populated: 512 });
    const c = yield* bootVcpu(d);
    yield* makeProcess(c, 1);
    const before = totals(d.calls).direct[HYPERVISOR_mmu_update] ?? 0;
    expect(before).toBeGreaterThan(0);
  });
});
