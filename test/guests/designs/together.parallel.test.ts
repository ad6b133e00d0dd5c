/** Processes end on two vCPUs, each a thread: the verdicts stay what they are alone. */
import { beforeAll, expect, test } from 'vitest';
import { vcpu } from '../../../src/machine/cpu-record.js';
import type { Cpu } from '../../../src/sync/actor.js';
import { peek, run } from '../../../src/sync/primitives.js';
import { DESIGNS } from '../../../guests/designs/registry.js';
import { endAccess } from '../../../guests/drivers/grants.js';
import { EXIT_6_1, kernel } from '../../../guests/kernel/records.js';
import { compileForThreads, runThreads } from '../../support/threads.js';
import { gather } from './crowd.js';
import { UNDER_FAULTS } from './together.js';
import { audit, broken } from './lab.js';

let module = '';
beforeAll(() => {
  module = compileForThreads('test/guests/designs/together.ts');
});

test.each(DESIGNS.map((design, n) => ({ design, name: design.name, n })))('$name', async ({ design, n }) => {
  const split = design.refuses({ splitPteLocks: true, exitOrder: EXIT_6_1 }) === '';
  const { lab, refs } = run(() => gather(design, split));
  const { actors } = lab.mapper.params;
  const before = actors.map((cpu) => peek(vcpu.nHypercalls(cpu as Cpu)));
  await runThreads(
    module,
    'runVcpu',
    actors.map((cpu, id) => [cpu, lab.c.k, id, n]),
  );
  expect(actors.reduce((sum, cpu, i) => sum + peek(vcpu.nHypercalls(cpu as Cpu)) - before[i]!, 0)).toBeGreaterThan(20);
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
