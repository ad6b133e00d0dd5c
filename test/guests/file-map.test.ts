/**
 * Mappings of files and kernel stacks: what faults map, what writes do, what goes back (linux-teardown FORMAT.md, items 20, 21).
 */
import { expect, test } from 'vitest';
import { makeVa, type Va } from '../../src/abi/frames.js';
import { HYPERVISOR_mmu_update, HYPERVISOR_mmuext_op } from '../../src/abi/hypercall.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { forkTask } from '../../guests/kernel/clone.js';
import type { KernelCpu } from '../../guests/kernel/context.js';
import { WARN } from '../../guests/kernel/counters.js';
import { warned } from '../../guests/kernel/count.js';
import { mmPut } from '../../guests/kernel/exit.js';
import { mmapFile } from '../../guests/kernel/file-map.js';
import { dupMm } from '../../guests/kernel/fork.js';
import { mm } from '../../guests/kernel/mm.js';
import { munmap } from '../../guests/kernel/mmap.js';
import { inodeAlloc, INODE_PAGES, inodePut } from '../../guests/kernel/page-cache.js';
import { kernel, percpu } from '../../guests/kernel/records.js';
import { activateMm, initMm } from '../../guests/kernel/switch.js';
import { task } from '../../guests/kernel/task.js';
import { userLoad, userStore } from '../../guests/kernel/user.js';
import { VM_READ, VM_SHARED, VM_WRITE } from '../../guests/kernel/vma.js';
import { bootMachine, bootVcpu, makeDomain, type TestDomain } from './machine.js';
import { makeProcess, totals, type Process } from './process.js';
import { addVaBytes } from './support.js';

const AT = makeVa(70, 0, 0, 5);
const OTHER = makeVa(71);
const RW = VM_READ | VM_WRITE;
const page = (at: Va, n: number): Va => addVaBytes(at, n * 4096);

function* quiet(c: KernelCpu, p: Process, free: number): Steps<void> {
  poke(task.mm(p.t), 0);
  yield* activateMm(c, initMm(c));
  yield* mmPut(c, p.m);
  poke(percpu.current(c.pc), 0);
  expect(peek(kernel.nrFree(c.k))).toBe(free);
  for (const [name, kind] of Object.entries(WARN)) expect([name, warned(c.k, kind)]).toEqual([name, 0]);
}

/** A process and the free pages before it. */
function* start(options = {}): Steps<{ d: TestDomain; c: KernelCpu; p: Process; free: number }> {
  const d = yield* makeDomain({ populated: 512, ...options });
  const c = yield* bootVcpu(d);
  const free = peek(kernel.nrFree(c.k));
  return { d, c, p: yield* makeProcess(c, 0), free };
}

test('a read maps up to sixteen pages around it, each by a call of its own, within the area', () => {
  bootMachine();
  run(function* () {
    const { d, c, p, free } = yield* start();
    const o = yield* inodeAlloc(c, 40);
    expect(yield* mmapFile(c, p.m, AT, 40, VM_READ, o, 0)).toBe(0);
    for (const [touched, mapped] of [
      [0, 16], // the window begins with the area, not at a multiple of sixteen
      [20, 11], // 11..26, of which 11..15 are there
      [39, 13], // 27..39
    ] as const) {
      const rss = peek(mm.rss(p.m));
      d.calls.length = 0;
      yield* userLoad(c, page(AT, touched));
      expect(peek(mm.rss(p.m)) - rss).toBe(mapped);
      const tables = touched === 0 ? 3 : 0;
      expect(totals(d.calls).direct[HYPERVISOR_mmu_update]).toBe(mapped + tables);
    }
    const rss = peek(mm.rss(p.m));
    d.calls.length = 0;
    for (let i = 0; i < 40; i++) expect(yield* userLoad(c, page(AT, i))).toBe(0);
    expect(totals(d.calls).direct).toEqual({});
    expect(peek(mm.rss(p.m))).toBe(rss);
    yield* inodePut(c, o);
    yield* quiet(c, p, free);
  });
});

test('a private write is seen by nobody else, a shared one by every mapping; a dirty shared page is flushed at its unmap', () => {
  bootMachine();
  run(function* () {
    const { d, c, p, free } = yield* start();
    const o = yield* inodeAlloc(c, 4);
    yield* mmapFile(c, p.m, AT, 4, RW, o, 0);
    yield* mmapFile(c, p.m, OTHER, 4, RW | VM_SHARED, o, 0);
    expect(yield* userLoad(c, page(AT, 1))).toBe(0);
    expect(yield* userStore(c, page(AT, 0), 11)).toBe(true); // over a mapped cache page
    expect(yield* userStore(c, page(AT, 3), 13)).toBe(true);
    expect(yield* userStore(c, page(OTHER, 1), 21)).toBe(true);
    expect(yield* userLoad(c, page(OTHER, 0))).toBe(0);
    expect(yield* userLoad(c, page(OTHER, 3))).toBe(0);
    expect(yield* userLoad(c, page(AT, 1))).toBe(21);
    expect(yield* userLoad(c, page(AT, 0))).toBe(11);
    d.calls.length = 0;
    yield* munmap(c, p.m, page(OTHER, 1), 1);
    expect(totals(d.calls).direct[HYPERVISOR_mmuext_op]).toBe(1);
    expect(yield* userLoad(c, page(AT, 1))).toBe(21);
    yield* munmap(c, p.m, AT, 4);
    yield* mmapFile(c, p.m, AT, 4, VM_READ, o, 0);
    expect(yield* userLoad(c, page(AT, 0))).toBe(0);
    expect(yield* userLoad(c, page(AT, 1))).toBe(21); // the cache kept it
    yield* inodePut(c, o);
    yield* quiet(c, p, free);
  });
});

test('fork leaves out what faults will find again, and copies what was written', () => {
  bootMachine();
  run(function* () {
    const { c, p, free } = yield* start();
    const o = yield* inodeAlloc(c, 8);
    yield* mmapFile(c, p.m, AT, 4, RW, o, 0);
    yield* mmapFile(c, p.m, OTHER, 4, VM_READ, o, 4);
    yield* userStore(c, AT, 5);
    yield* userLoad(c, OTHER);
    const child = yield* dupMm(c, p.m);
    expect(child).not.toBe(0);
    expect(peek(mm.nrL1(child))).toBe(peek(mm.nrL1(p.m)) - 1);
    yield* activateMm(c, child);
    poke(task.mm(p.t), child);
    expect(yield* userLoad(c, AT)).toBe(5);
    expect(yield* userStore(c, AT, 6)).toBe(true);
    expect(yield* userLoad(c, OTHER)).toBe(0);
    yield* activateMm(c, p.m);
    poke(task.mm(p.t), p.m);
    expect(yield* userLoad(c, AT)).toBe(5);
    yield* mmPut(c, child);
    yield* inodePut(c, o);
    yield* quiet(c, p, free);
  });
});

test('an object has at most as many pages as fit beside its record', () => {
  bootMachine();
  run(function* () {
    const { c } = yield* start();
    expect(yield* inodeAlloc(c, INODE_PAGES + 1)).toBe(0);
    const o = yield* inodeAlloc(c, INODE_PAGES);
    expect(o).not.toBe(0);
    yield* inodePut(c, o);
  });
});

test('a kernel stack is four calls the first time, none when one is in the cache', () => {
  bootMachine();
  run(function* () {
    const { d, c, p } = yield* start({ vmapStacks: true });
    d.calls.length = 0;
    expect(yield* forkTask(c, p.t, 0)).toBeGreaterThan(0);
    const direct = d.calls.findIndex((call) => call.nr !== HYPERVISOR_mmu_update);
    expect(direct).toBeGreaterThanOrEqual(4);
    expect(peek(kernel.nrStacks(c.k))).toBe(1);
    poke(kernel.stackCache(c.k), 1);
    expect(yield* forkTask(c, p.t, 0)).toBeGreaterThan(0);
    expect([peek(kernel.nrStacks(c.k)), peek(kernel.stackCache(c.k))]).toEqual([1, 0]);
  });
});
