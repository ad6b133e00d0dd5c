/** Memory that runs out at every possible place: the kernel says so, undoes what it began, and loses nothing. */
import { describe, expect, test } from 'vitest';
import { auditMachine } from '../../src/audit/index.js';
import { slabLive } from '../../src/shm/slab.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { endAccess, grantAccess } from '../../guests/drivers/grants.js';
import { gntdevMmap, gntdevNewMap, gntdevOpen } from '../../guests/drivers/gntdev/device.js';
import { setGrant } from '../../guests/drivers/gntdev/map.js';
import { allocZeroedPage } from '../../guests/kernel/alloc.js';
import type { KernelCpu } from '../../guests/kernel/context.js';
import { COUNT, WARN } from '../../guests/kernel/counters.js';
import { counted, warned } from '../../guests/kernel/count.js';
import { filePut } from '../../guests/kernel/file.js';
import { newProcessMm } from '../../guests/kernel/exec.js';
import { mmPut } from '../../guests/kernel/exit.js';
import { dupMm } from '../../guests/kernel/fork.js';
import { releasePage } from '../../guests/kernel/lru.js';
import { mmapAnon, munmap } from '../../guests/kernel/mmap.js';
import { kernel, percpu } from '../../guests/kernel/records.js';
import { activateMm, initMm } from '../../guests/kernel/switch.js';
import { task, taskAlloc, taskStart, type Task } from '../../guests/kernel/task.js';
import { userTouch } from '../../guests/kernel/user.js';
import { VM_READ, VM_WRITE } from '../../guests/kernel/vma.js';
import { programIndex } from '../../guests/workloads/programs.js';
import { startWorkloads } from '../../guests/workloads/start.js';
import { vcpuLoop } from '../../guests/kernel/sched.js';
import { reportOf } from '../../guests/report.js';
import { bootMachine, bootVcpu, makeDomain } from './machine.js';
import { DATA, GNT } from './process.js';

const SLABS = [
  kernel.mmSlab,
  kernel.vmaSlab,
  kernel.anonSlab,
  kernel.fileSlab,
  kernel.mapSlab,
  kernel.gntFileSlab,
  kernel.subscriptionSlab,
  kernel.notifierSlab,
  kernel.batchSlab,
] as const;

const books = (c: KernelCpu): number[] => [
  peek(kernel.nrFree(c.k)),
  peek(kernel.nrBallooned(c.k)),
  peek(kernel.nrGrantsFree(c.k)),
  ...SLABS.map((slab) => slabLive(slab(c.k))),
];

function expectSound(c: KernelCpu): void {
  for (const [name, kind] of Object.entries(WARN)) expect([name, warned(c.k, kind)]).toEqual([name, 0]);
  expect(auditMachine([], [reportOf(c.k, c.design)])).toEqual([]);
}

/** A process' life with whatever memory there is: touch, fork, map grants, unmap a part, end. */
function* life(c: KernelCpu, t: Task): Steps<void> {
  const m = yield* newProcessMm(c);
  if (m === 0) return;
  poke(task.mm(t), m);
  poke(task.killed(t), 0);
  yield* activateMm(c, m);
  yield* mmapAnon(c, m, DATA, 20, VM_READ | VM_WRITE);
  yield* userTouch(c, DATA, 20, true);
  const child = yield* dupMm(c, m);
  yield* userTouch(c, DATA, 3, true);
  if (child !== 0) yield* mmPut(c, child);
  yield* useGrants(c, t);
  yield* munmap(c, m, DATA, 7);
  poke(task.mm(t), 0);
  yield* activateMm(c, initMm(c));
  yield* mmPut(c, m);
}

function* useGrants(c: KernelCpu, t: Task): Steps<void> {
  const f = yield* gntdevOpen(c);
  if (f === 0) return;
  const map = yield* gntdevNewMap(c, f, 3, false);
  const granted: [number, number][] = [];
  for (let i = 0; map !== 0 && i < 3; i++) {
    const pfn = yield* allocZeroedPage(c);
    const ref = pfn === 0 ? -1 : yield* grantAccess(c, 0, pfn, false);
    if (ref > 0) granted.push([pfn, ref]);
    setGrant(map, i, 0, ref > 0 ? ref : 1);
  }
  if (granted.length === 3) {
    const m = peek(task.mm(t)) as Parameters<typeof gntdevMmap>[1];
    if ((yield* gntdevMmap(c, m, f, map, GNT)) === 0) {
      yield* userTouch(c, GNT, 3, true);
      yield* munmap(c, m, GNT, 3);
    }
  }
  yield* filePut(c, f);
  for (const [pfn, ref] of granted) {
    expect(yield* endAccess(c, ref)).toBe(true);
    yield* releasePage(c, pfn as Parameters<typeof releasePage>[1]);
  }
}

describe.each([
  { what: 'the nth page', word: kernel.failPage },
  { what: 'the nth record', word: kernel.failSlab },
])('$what is refused', ({ word }) => {
  test('for every n, and everything is as it was', () => {
    bootMachine();
    run(function* () {
      const d = yield* makeDomain({ populated: 300, ballooned: 8 });
      const c = yield* bootVcpu(d);
      const t = yield* taskAlloc(c, 0, 0 as never, 0 as Task);
      yield* taskStart(c, t);
      poke(percpu.current(c.pc), t);
      yield* life(c, t);
      const before = books(c);
      let n = 1;
      for (; n < 400; n++) {
        poke(word(c.k), n);
        const failures = counted(c.k, COUNT.allocationFailures);
        yield* life(c, t);
        const hit = counted(c.k, COUNT.allocationFailures) > failures;
        poke(word(c.k), 0);
        expect([n, books(c)]).toEqual([n, before]);
        if (!hit) break;
      }
      expect(n).toBeGreaterThan(10);
      expect(n).toBeLessThan(400);
      poke(percpu.current(c.pc), 0);
      expectSound(c);
    });
  });
});

test('programs in a domain with hardly any memory come to their end', () => {
  bootMachine();
  run(function* () {
    const d = yield* makeDomain({ populated: 75, ballooned: 4, rounds: 4 });
    const c = yield* bootVcpu(d);
    const free = peek(kernel.nrFree(c.k));
    const plans = [
      { program: programIndex('touch'), processes: 2, threads: 2, args: [20, 2, 0, 0] },
      { program: programIndex('fork-exit'), processes: 1, threads: 1, args: [16, 2, 1] },
      { program: programIndex('balloon'), processes: 1, threads: 1, args: [8] },
    ];
    yield* startWorkloads(c, plans);
    yield* vcpuLoop(c, true);
    expect(counted(c.k, COUNT.allocationFailures)).toBeGreaterThan(0);
    expect(peek(kernel.nrFree(c.k))).toBe(free);
    expectSound(c);
  });
});
