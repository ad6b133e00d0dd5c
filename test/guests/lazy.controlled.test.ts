/** Two vCPUs and one dying mm: who leaves when, and what a flush costs (linux-teardown FORMAT.md, items 22, 24). */
import { expect, test } from 'vitest';
import type { Va } from '../../src/abi/frames.js';
import { MMUEXT_TLB_FLUSH_MULTI } from '../../src/abi/mmu.js';
import { HYPERVISOR_mmuext_op, HYPERVISOR_multicall } from '../../src/abi/hypercall.js';
import { interleave } from '../../src/explore/loop.js';
import { randomWalk } from '../../src/explore/random-walk.js';
import { ldOnce, peek, poke, run, stOnce } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { startVcpu } from '../../guests/guest.js';
import type { KernelCpu } from '../../guests/kernel/context.js';
import { COUNT } from '../../guests/kernel/counters.js';
import { counted } from '../../guests/kernel/count.js';
import { mmPut } from '../../guests/kernel/exit.js';
import { mm, type Mm } from '../../guests/kernel/mm.js';
import { munmap } from '../../guests/kernel/mmap.js';
import { kernel, percpu } from '../../guests/kernel/records.js';
import { activateMm, enterLazyTlb, initMm } from '../../guests/kernel/switch.js';
import { task } from '../../guests/kernel/task.js';
import { bootMachine, makeDomain, type TestDomain } from './machine.js';
import { peekVa } from '../../guests/kernel/words.js';
import { DATA, makeProcess } from './process.js';

/** A word two bodies signal each other by. */
const flag = (c: KernelCpu): number => kernel.driverWords(c.k);

function* await_(c: KernelCpu, value: number): Steps<void> {
  for (;;) {
    const now = yield* ldOnce(flag(c)); // raced on purpose: the other body sets it
    if (now >= value) return;
    yield* c.g.relax(flag(c), now);
  }
}

/** vCPU 1 loads the process' mm, then only keeps it; vCPU 0 does `act` and says when it is over. */
function together(seed: number, act: (c: KernelCpu, m: Mm) => Steps<void>): TestDomain {
  bootMachine();
  const d = run(function* () {
    return yield* makeDomain({ vcpus: 2, populated: 400 });
  });
  const first = function* (c: KernelCpu): Steps<void> {
    const p = yield* makeProcess(c, 16);
    yield* stOnce(flag(c) + 1, p.m);
    yield* stOnce(flag(c), 1); // raced on purpose: the other body waits for it
    yield* await_(c, 2);
    d.calls.length = 0;
    poke(task.mm(p.t), 0);
    yield* act(c, p.m);
    yield* stOnce(flag(c), 3); // raced on purpose: as above
    yield* activateMm(c, initMm(c));
    poke(percpu.current(c.pc), 0);
  };
  const second = function* (c: KernelCpu): Steps<void> {
    yield* await_(c, 1);
    const m = peek(flag(c) + 1) as Mm;
    yield* activateMm(c, m);
    yield* enterLazyTlb(c, m);
    yield* stOnce(flag(c), 2); // raced on purpose: as above
    yield* await_(c, 3);
    yield* activateMm(c, initMm(c));
  };
  const bodies = d.cpus.map((c, i) => {
    const g = d.vcpus[i];
    return function* (): Steps<void> {
      if (g === undefined) return;
      yield* g.start();
      if (!(yield* startVcpu(c, d.params))) throw new Error('no boot');
      yield* i === 0 ? first(c) : second(c);
      yield* g.halt();
    };
  });
  const out = interleave(bodies, randomWalk(seed), 5_000_000);
  if (out.kind === 'threw') throw out.error;
  expect(out.kind).toBe('done');
  return d;
}

test.each([1, 2, 3, 4, 5])(
  'the exiting vCPU leaves, then the lazy one by its own call, then comes the unpin (%i)',
  (seed) => {
    let before = 0;
    const d = together(seed, function* (c, m) {
      before = peek(mm.count(m));
      yield* enterLazyTlb(c, m);
      yield* mmPut(c, m);
    });
    expect(before).toBe(2);
    const [here, there, unpin] = d.calls;
    expect([here?.by, here?.nr, here?.args[1]]).toEqual([0, HYPERVISOR_mmuext_op, 2]);
    expect([there?.by, there?.nr, there?.args[1]]).toEqual([1, HYPERVISOR_mmuext_op, 2]);
    expect([unpin?.by, unpin?.nr]).toEqual([0, HYPERVISOR_multicall]);
    expect(counted((d.cpus[0] as KernelCpu).k, COUNT.crossCalls)).toBe(1);
  },
);

test('munmap flushes both vCPUs by one MULTI operation', () => {
  const commands: number[] = [];
  const d = together(7, function* (c, m) {
    yield* munmap(c, m, DATA, 16);
    const asked = peekVa(percpu.batchVa(c.pc));
    commands.push(yield* c.g.load32((asked + 2048) as Va));
    yield* enterLazyTlb(c, m);
    yield* mmPut(c, m);
  });
  const c = d.cpus[0] as KernelCpu;
  const flushes = d.calls.filter((x) => x.by === 0 && x.nr === HYPERVISOR_mmuext_op && x.args[1] === 1);
  expect(flushes).toHaveLength(1);
  expect(commands).toEqual([MMUEXT_TLB_FLUSH_MULTI]);
  expect(counted(c.k, COUNT.tlbFlushes)).toBeGreaterThan(0);
});
