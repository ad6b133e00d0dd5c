/** Several vCPUs under random schedules: threads of one mm, lazy roots, backends and frontends of two domains. */
import { describe, expect, test } from 'vitest';
import { formatWaits, interleave, type Outcome } from '../../src/explore/loop.js';
import { randomWalk } from '../../src/explore/random-walk.js';
import { arenaAlloc } from '../../src/shm/arena.js';
import { globals } from '../../src/hypervisor/globals.js';
import { auditMachine } from '../../src/audit/index.js';
import { CONTROL } from '../../src/sync/actor.js';
import { peek, run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { BOARD_WORDS } from '../../guests/drivers/blk/board.js';
import { notifierAsync } from '../../guests/designs/notifier-async.js';
import { reportOf } from '../../guests/report.js';
import { COUNT, WARN } from '../../guests/kernel/counters.js';
import { counted, warned, warnedWith } from '../../guests/kernel/count.js';
import { kernel, type Kernel } from '../../guests/kernel/records.js';
import { vcpuLoop } from '../../guests/kernel/sched.js';
import { startVcpu } from '../../guests/guest.js';
import { programIndex } from '../../guests/workloads/programs.js';
import { startWorkloads, type WorkloadPlan } from '../../guests/workloads/start.js';
import { bootMachine, makeDomain, type DomainOptions, type TestDomain } from './machine.js';

const SEEDS = [1, 2, 3, 4, 5, 6];

/** What each vCPU of a domain does. */
function bodies(d: TestDomain, plans: readonly WorkloadPlan[]): (() => Steps<void>)[] {
  return d.cpus.map((c, i) => {
    const g = d.vcpus[i];
    return function* (): Steps<void> {
      if (g === undefined) return;
      yield* g.start();
      if (!(yield* startVcpu(c, d.params))) throw new Error('no boot');
      if (i === 0) yield* startWorkloads(c, plans);
      yield* vcpuLoop(c, true);
      yield* g.halt();
    };
  });
}

const expectClean = (k: Kernel): void => {
  for (const [name, kind] of Object.entries(WARN)) {
    expect([name, warned(k, kind), warnedWith(k, kind)]).toEqual([name, 0, 0]);
  }
};

function expectDone(out: Outcome): void {
  if (out.kind === 'threw') throw out.error;
  expect(out.kind === 'deadlock' ? formatWaits(out.waits) : out.kind).toBe('done');
}

function* build(o: DomainOptions): Steps<TestDomain> {
  return yield* makeDomain(o);
}

const plan = (program: string, args: number[], processes = 1, threads = 1): WorkloadPlan => ({
  program: programIndex(program),
  processes,
  threads,
  args,
});

describe('one domain, three vCPUs', () => {
  test.each(SEEDS)('touch, fork, reclaim and balloon, seed %i', (seed) => {
    bootMachine({ quantum: 20 });
    const d = run(function* () {
      return yield* build({ populated: 512, vcpus: 3, rounds: 2, seed });
    });
    const k = d.cpus[0]?.k as Kernel;
    const free = peek(kernel.nrFree(k));
    const plans = [
      plan('touch', [12, 2, 0, 1], 1, 3),
      plan('touch', [12, 1, 1, 0], 1, 2),
      plan('fork-exit', [9, 1, 1], 1, 2),
      plan('reclaim', [64]),
      plan('balloon', [3]),
    ];
    const out = interleave(bodies(d, plans), randomWalk(seed), 30_000_000);
    expectDone(out);
    expect(peek(kernel.rounds(k))).toBe(10);
    expect(peek(kernel.nrFree(k))).toBe(free);
    expect(counted(k, COUNT.crossCalls)).toBeGreaterThan(0);
    expectClean(k);
    expect(auditMachine([], [reportOf(k, notifierAsync)])).toEqual([]);
  });
});

describe('a backend with two vCPUs and a frontend with two', () => {
  test.each(SEEDS)('grants go there and back, seed %i', (seed) => {
    bootMachine({ quantum: 20 });
    const { back, front } = run(function* () {
      const board = yield* arenaAlloc(CONTROL, peek(globals.arena), Math.ceil(BOARD_WORDS / 1024));
      return {
        back: yield* build({ populated: 400, vcpus: 2, rounds: 3, seed, board }),
        front: yield* build({ domid: 1, privileged: false, populated: 200, vcpus: 2, rounds: 2, seed, board }),
      };
    });
    const kb = back.cpus[0]?.k as Kernel;
    const kf = front.cpus[0]?.k as Kernel;
    const free = [peek(kernel.nrFree(kb)), peek(kernel.nrFree(kf)), peek(kernel.nrBallooned(kb))];
    const out = interleave(
      [
        ...bodies(back, [plan('io', [2, 3, 0, 300, 8], 2, 1)]),
        ...bodies(front, [plan('frontend', [1, 6, 5000, 1], 2)]),
      ],
      randomWalk(seed),
      60_000_000,
    );
    expectDone(out);
    expect([peek(kernel.nrFree(kb)), peek(kernel.nrFree(kf)), peek(kernel.nrBallooned(kb))]).toEqual(free);
    expect(counted(kb, COUNT.grantsMapped)).toBe(counted(kb, COUNT.grantsTornDown));
    expect(counted(kb, COUNT.grantsForgotten)).toBe(0);
    expect(counted(kb, COUNT.grantsMapped)).toBeGreaterThan(0);
    expect(counted(kf, COUNT.grants)).toBe(counted(kf, COUNT.revokes));
    expectClean(kb);
    expectClean(kf);
    expect(auditMachine([], [reportOf(kb, notifierAsync), reportOf(kf, notifierAsync)])).toEqual([]);
  });
});
