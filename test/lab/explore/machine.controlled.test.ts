/** A machine under exploration: resets put everything back, executions are functions of their schedules. */
import { describe, expect, test } from 'vitest';
import { LabError } from '../../../src/abi/errors.js';
import { interleave } from '../../../src/explore/loop.js';
import { randomWalk } from '../../../src/explore/random-walk.js';
import { words } from '../../../src/ops/memory.js';
import { parseScenario } from '../../../src/scenario/load.js';
import { loadCatalog } from '../../../src/lab/catalog.js';
import { smallScenario } from './scenario.js';
import { build } from './small.js';

const CASES = [
  ['exit-revoke', 'zap-pte'],
  ['exit-revoke', 'early-unpin'],
  ['exit-lazy', 'private-page'],
  ['exit-lazy', 'zap-pte'],
  ['munmap-fault', 'notifier-async'],
] as const;

describe.each(CASES)('%s under %s', (name, design) => {
  const scenario = smallScenario(name);

  test('a reset puts back every word of the memory that an execution changed', () => {
    const { machine, program } = build(scenario, design);
    const strategy = randomWalk(7);
    for (let i = 0; i < 5; i++) {
      const out = interleave(program.start(), strategy);
      if (out.kind === 'threw') throw out.error;
      expect(out.kind).toBe('done');
      program.finish(out);
      expect(machine.snapshot.differences().length).toBeGreaterThan(100);
      machine.reset();
      expect(machine.snapshot.differences()).toEqual([]);
    }
  });

  test('the same seed ends in the same memory, another one after as many resets as you like', () => {
    const { program } = build(scenario, design);
    const endOf = (seed: number): [number, Int32Array] => {
      const out = interleave(program.start(), randomWalk(seed));
      return [out.steps, words.slice()];
    };
    const first = endOf(1);
    for (let seed = 2; seed < 6; seed++) endOf(seed);
    const again = endOf(1);
    expect(again[0]).toBe(first[0]);
    expect(again[1].every((v, a) => v === first[1][a])).toBe(true);
  });
});

test('a word that was changed behind the log is not put back, and the comparison sees it', () => {
  const { machine, program } = build(smallScenario('exit-revoke'), 'zap-pte');
  interleave(program.start(), randomWalk(1));
  const free = words.length >>> 1;
  words[free] = (words[free] ?? 0) + 1;
  machine.reset();
  expect(machine.snapshot.differences()).toEqual([free]);
});

describe('a setup that does not work is told with its step', () => {
  const head = `name: x
description: x
memory: 4MiB
domains:
  - { name: dom0, privileged: true, memory: 1MiB, vcpus: 2 }
  - { name: front, memory: 1MiB, vcpus: 1 }
`;
  test.each([
    ['[dom0.0: [exit]]', '{ dom0.1: [], front.0: [] }', "dom0.0: step 'exit': no process runs there"],
    ['[front.0: [revoke 2]]', '{ dom0.1: [], front.0: [] }', "front.0: step 'revoke 2': it was refused with -22"],
    ['[]', '{ dom0.1: [exit], front.0: [] }', "dom0.1: step 'exit': no process runs there when the race begins"],
    ['[dom0.0: [process], dom0.1: [lazy], dom0.0: [exit]]', '{ dom0.1: [], front.0: [] }', 'waits for another vCPU'],
  ])('%s', (setup, race, message) => {
    const text = `${head}small:\n  setup: ${setup}\n  race: ${race}\n`;
    const scenario = parseScenario('x.yaml', text, loadCatalog());
    const attempt = (): unknown => build(scenario, 'notifier');
    expect(attempt).toThrow(LabError);
    expect(attempt).toThrow(message);
  });
});
