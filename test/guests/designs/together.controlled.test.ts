/** Processes end on two vCPUs at once, under schedules that switch at every point: the verdicts stay what they are alone. */
import { expect, test } from 'vitest';
import { interleave } from '../../../src/explore/loop.js';
import { randomWalk } from '../../../src/explore/random-walk.js';
import { roundRobin } from '../../../src/explore/round-robin.js';
import { vcpu } from '../../../src/machine/cpu-record.js';
import type { Cpu } from '../../../src/sync/actor.js';
import { peek, run } from '../../../src/sync/primitives.js';
import { DESIGNS } from '../../../guests/designs/registry.js';
import { endAccess } from '../../../guests/drivers/grants.js';
import { EXIT_6_1, kernel } from '../../../guests/kernel/records.js';
import { gather } from './crowd.js';
import { audit, broken } from './lab.js';
import { runVcpu, UNDER_FAULTS } from './together.js';

const STRATEGIES = [
  { how: 'round robin', make: () => roundRobin() },
  { how: 'random walk', make: () => randomWalk(1) },
];
const CASES = DESIGNS.flatMap((design, n) => STRATEGIES.map((s) => ({ design, name: design.name, n, ...s })));

test.each(CASES)('$name, $how', ({ design, n, make }) => {
  const split = design.refuses({ splitPteLocks: true, exitOrder: EXIT_6_1 }) === '';
  const { lab, refs } = run(() => gather(design, split));
  const bodies = lab.mapper.params.actors.map((cpu, id) => () => runVcpu(cpu, lab.c.k, id, n));
  const before = lab.mapper.params.actors.map((cpu) => peek(vcpu.nHypercalls(cpu as Cpu)));
  const outcome = interleave(bodies, make(), 30_000_000);
  if (outcome.kind === 'threw') throw outcome.error;
  expect(outcome).toMatchObject({ kind: 'done' });
  lab.mapper.params.actors.forEach((cpu, i) => {
    expect(peek(vcpu.nHypercalls(cpu as Cpu))).toBeGreaterThan(before[i]! + 2);
  });
  const found = broken(audit(lab));
  const quiet = ['private-bypass-buggy', ...UNDER_FAULTS];
  if (design.name.endsWith('-buggy') && !quiet.includes(design.name)) expect(found).not.toEqual([]);
  else if (design.name === 'early-unpin') expect(found).toEqual(['I10']);
  else {
    expect(found).toEqual([]);
    expect(peek(kernel.nrFree(lab.c.k))).toBe(lab.free);
    expect(peek(kernel.nrBallooned(lab.c.k))).toBe(lab.ballooned);
    run(function* () {
      yield* lab.granter.vcpus[0]!.start();
      for (const ref of refs) expect(yield* endAccess(lab.g, ref)).toBe(true);
    });
  }
});
