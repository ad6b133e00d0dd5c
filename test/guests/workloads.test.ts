/** Programs of one domain with one vCPU, to their end: nothing is lost, nothing was warned about. */
import { expect, test } from 'vitest';
import { peek, run } from '../../src/sync/primitives.js';
import { loadCatalog } from '../../src/lab/catalog.js';
import { COUNT, WARN } from '../../guests/kernel/counters.js';
import { counted, warned, warnedWith } from '../../guests/kernel/count.js';
import { kernel } from '../../guests/kernel/records.js';
import { vcpuLoop } from '../../guests/kernel/sched.js';
import { ARGUMENTS, encodeArguments, programIndex } from '../../guests/workloads/programs.js';
import { startWorkloads } from '../../guests/workloads/start.js';
import { bootMachine, bootVcpu, makeDomain } from './machine.js';

test.each([
  { program: 'touch', threads: 1, args: [20, 2, 0, 0], counter: COUNT.munmaps, least: 6 },
  { program: 'touch', threads: 3, args: [20, 2, 1, 1], counter: COUNT.munmaps, least: 1 },
  { program: 'fork-exit', threads: 1, args: [20, 2, 1], counter: COUNT.forks, least: 6 },
  { program: 'fork-exit', threads: 2, args: [9, 1, 0], counter: COUNT.cowCopies, least: 3 },
  { program: 'balloon', threads: 1, args: [5], counter: COUNT.ballooned, least: 15 },
])('$program with $threads threads leaves everything as it was', ({ program, threads, args, counter, least }) => {
  bootMachine();
  run(function* () {
    const d = yield* makeDomain({ populated: 512, rounds: 3 });
    const c = yield* bootVcpu(d);
    const free = peek(kernel.nrFree(c.k));
    const ballooned = peek(kernel.nrBallooned(c.k));
    const plans = [
      { program: programIndex(program), processes: 2, threads, args },
      { program: programIndex('reclaim'), processes: 1, threads: 1, args: [64] },
    ];
    expect(yield* startWorkloads(c, plans)).toBe(0);
    yield* vcpuLoop(c, true);
    expect(peek(kernel.rounds(c.k))).toBe(9);
    expect(counted(c.k, counter)).toBeGreaterThanOrEqual(least);
    expect(peek(kernel.liveTasks(c.k))).toBe(0);
    expect(peek(kernel.nrFree(c.k))).toBe(free);
    expect(peek(kernel.nrBallooned(c.k))).toBe(ballooned);
    for (const [name, kind] of Object.entries(WARN)) {
      expect([name, warned(c.k, kind), warnedWith(c.k, kind)]).toEqual([name, 0, 0]);
    }
  });
});

test('what the catalog says of the programs is what they take', () => {
  const { programs } = loadCatalog();
  expect(programs.map((p) => [p.name, Object.keys(p.parameters)])).toEqual(
    Object.entries(ARGUMENTS).map(([name, args]) => [name, args.map((a) => a.key)]),
  );
  for (const p of programs) {
    expect(programIndex(p.name)).toBeGreaterThan(0);
    for (const [key, q] of Object.entries(p.parameters)) {
      const argument = ARGUMENTS[p.name]?.find((a) => a.key === key);
      expect(q.kind === 'choice' ? q.values : undefined).toEqual(argument?.choices);
    }
  }
  expect(
    encodeArguments('io', { peers: ['a', 'b'], end: 'kill', busy: true, patience: 7, limit: 9 }, { a: 1, b: 3 }),
  ).toEqual([10, 2, 1, 7, 9]);
});
