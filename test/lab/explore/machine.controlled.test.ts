/** A machine under exploration: resets put everything back, executions are functions of their schedules. */
import { describe, expect, test } from 'vitest';
import { LabError } from '../../../src/abi/errors.js';
import { interleave } from '../../../src/explore/loop.js';
import { randomWalk } from '../../../src/explore/random-walk.js';
import { auditMachine } from '../../../src/audit/index.js';
import { actor, ACTOR_UPPER } from '../../../src/sync/actor.js';
import { words } from '../../../src/ops/memory.js';
import { parseScenario } from '../../../src/scenario/load.js';
import { loadCatalog } from '../../../src/lab/catalog.js';
import { smallScenario } from './scenario.js';
import { build } from './small.js';

const fail = (): never => {
  throw new Error('no such side');
};

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

describe('a state that was judged is not judged again', () => {
  test('every word past the log that is not dead at rest makes another state', () => {
    const { machine, program } = build(smallScenario('exit-revoke'), 'zap-pte');
    interleave(program.start(), randomWalk(1));
    const { snapshot } = machine;
    const dead = (a: number): boolean => snapshot.volatile.some((r) => a >= r.from && a < r.from + r.words);
    const state = snapshot.fingerprint();
    let tried = 0;
    for (const side of machine.sides) {
      for (let a: number = side.cpu; a < side.cpu + ACTOR_UPPER; a++) {
        if (dead(a)) continue;
        words[a]! ^= 1;
        expect([a, snapshot.fingerprint() === state]).toEqual([a, false]);
        words[a]! ^= 1;
        tried++;
      }
    }
    expect([tried >= 2 * 10, snapshot.fingerprint()]).toEqual([true, state]);
  });

  test.each([
    ['exit-revoke', 'zap-pte'],
    ['exit-revoke', 'kernel-handle-buggy'],
    ['exit-lazy', 'early-unpin'],
    ['munmap-fault', 'private-page'],
    ['unmap-touch', 'zap-pte-cleared-buggy'],
  ])('no check reads a word that is dead at rest: %s under %s', (name, design) => {
    const scenario = smallScenario(name);
    const { machine, guests } = build(scenario, design);
    const reports = () => guests.reports(scenario.domains.map((d) => d.domid));
    const audit = () => JSON.stringify(auditMachine([], reports()));
    const walk = randomWalk(9);
    for (let i = 0; i < 12; i++) {
      machine.reset();
      const out = interleave(
        machine.sides.map((s) => s.body),
        walk,
      );
      if (out.kind !== 'done') continue;
      machine.snapshot.fingerprint();
      const clean = audit();
      for (const r of machine.snapshot.volatile) {
        for (let a = r.from; a < r.from + r.words; a++) words[a] = Math.imul(a + i, 0x9e3779b9);
      }
      expect(audit()).toBe(clean);
    }
  });
});

test('a side that ends with a lock is a finding', () => {
  const { machine, program } = build(smallScenario('exit-revoke'), 'zap-pte');
  const out = interleave(program.start(), randomWalk(1));
  const cpu = machine.sides[0]?.cpu ?? fail();
  words[actor.heldCount(cpu)] = 1;
  expect(program.finish(out).map((f) => f.rule)).toEqual(['lock-held']);
  words[actor.heldCount(cpu)] = 0;
  expect(program.finish(out)).toEqual([]);
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
