/** I15 and I16 after every step: the same answer as a look at every table and every slot, after every step. */
import { describe, expect, test } from 'vitest';
import type { Violation } from '../../../src/abi/guest.js';
import { mfnWord, type Mfn } from '../../../src/abi/frames.js';
import { PAGE_PRESENT, PAGE_RW } from '../../../src/abi/pte.js';
import { interleave } from '../../../src/explore/loop.js';
import { randomWalk, xorshift } from '../../../src/explore/random-walk.js';
import { machineView } from '../../../src/lab/explore/program.js';
import { PGT_validated, typeInfo, typeLevel } from '../../../src/machine/frame.js';
import { FRAMES } from '../../../src/machine/layout.js';
import { cpuIndex } from '../../../src/sync/actor.js';
import { ldOnce, peek, stOnce } from '../../../src/sync/primitives.js';
import { POINT_WRITE } from '../../../src/sync/schedule.js';
import type { Steps } from '../../../src/sync/steps.js';
import { PTE_SPECIAL } from '../../../guests/kernel/pte.js';
import { smallScenario } from './scenario.js';
import { build } from './small.js';

/** A word to spoil, and the bit of it: types of tables, what the direct map shows of tables, granted entries. */
function targets(): readonly (readonly [number, number])[][] {
  const types: [number, number][] = [];
  const aliases: [number, number][] = [];
  const granted: [number, number][] = [];
  for (let m = 1; m < FRAMES; m++) {
    if (!machineView.typed(m as Mfn)) continue;
    types.push([typeInfo(m as Mfn), PGT_validated]);
    if (typeLevel(peek(typeInfo(m as Mfn))) !== 1) continue;
    for (let a = mfnWord(m as Mfn); a < mfnWord((m + 1) as Mfn); a += 2) {
      const lo = peek(a);
      if ((lo & PAGE_PRESENT) === 0) continue;
      if (machineView.typed((lo >>> 12) as Mfn)) aliases.push([a, PAGE_RW]);
      if ((lo & PTE_SPECIAL) !== 0) granted.push([a, PTE_SPECIAL]);
    }
  }
  return [types, aliases, granted].filter((group) => group.length > 0);
}

/** Waits for `after` looks, then stores one wrong word. */
function* vandal(random: () => number, after: number): Steps<void> {
  for (let i = 0; i < after; i++) yield* ldOnce(typeInfo(0 as Mfn)); // raced on purpose: it only lets time pass
  const groups = targets();
  const group = groups[random() % groups.length] ?? [];
  const [a, bit] = group[random() % group.length] ?? [typeInfo(0 as Mfn), 0];
  yield* stOnce(a, (yield* ldOnce(a)) ^ bit); // raced on purpose: as any vandal
}

interface Run {
  readonly found: Violation | undefined;
  readonly expected: readonly string[];
  readonly steps: number;
}

/** A machine, and its look: made once, put back for every execution. */
function subject(name: string, design: string) {
  const built = build(smallScenario(name), design);
  built.program.start();
  const look = built.guests.look(machineView);
  expect(look.recount()).toEqual([]);
  return { ...built, look };
}

/** One execution, until either side finds something; the vandal acts in the name of a side, or of nobody. */
function runOnce({ machine, program, look }: ReturnType<typeof subject>, seed: number, wrong: boolean): Run {
  program.start();
  look.reset();
  const random = xorshift(seed);
  const cpus = machine.sides.map((s) => cpuIndex(s.cpu));
  const blamed = random() % 2 === 0 ? 0 : (cpus[0] ?? 0);
  const bodies = machine.sides.map((s) => s.body);
  if (wrong) bodies.push(() => vandal(random, random() % 250));
  const since = new Map<Mfn, number>();
  let found: Violation | undefined;
  let expected: string[] = [];
  let all = look.recount();
  let steps = 0;
  const out = interleave(bodies, randomWalk(seed), 20_000, (body, a, kind, words) => {
    const index = cpus[body] ?? blamed;
    steps++;
    if ((kind & POINT_WRITE) === 0) return undefined;
    all = look.recount();
    // Whoever put a table out of step answers for it, once at rest.
    for (const m of since.keys()) if (!all.some((o) => o.mfn === m)) since.delete(m);
    for (const o of all) if (!since.has(o.mfn)) since.set(o.mfn, index);
    expected = all
      .filter((o) => !o.excused(index) && (o.violation.invariant === 'I16' || since.get(o.mfn) === index))
      .map((o) => o.violation.detail);
    found = look.step(index, a, kind, words);
    if (found === undefined && expected.length === 0) return undefined;
    return { rule: 'stop', detail: '', holders: [] };
  });
  if (out.kind === 'threw' && !wrong) throw out.error;
  return { found, expected, steps };
}

describe('a look at what a step wrote', () => {
  test.each([
    ['exit-lazy', 'private-page'],
    ['munmap-fault', 'private-tuples'],
    ['one-lock', 'private-union'],
    ['fork-exit', 'notifier'],
  ])('finds nothing wrong with a right design: %s under %s', (name, design) => {
    const run = runOnce(subject(name, design), 5, false);
    expect([run.found, run.expected]).toEqual([undefined, []]);
    expect(run.steps).toBeGreaterThan(500);
  });

  test('finds at the same step what a look at everything finds, and as many rules', { timeout: 60_000 }, () => {
    const rules = new Map<string, number>();
    const all = subject('munmap-fault', 'private-page');
    for (let seed = 1; seed <= 30; seed++) {
      const { found, expected } = runOnce(all, seed, true);
      expect([seed, found === undefined]).toEqual([seed, expected.length === 0]);
      if (found === undefined) continue;
      expect(expected).toContain(found.detail);
      rules.set(found.invariant, (rules.get(found.invariant) ?? 0) + 1);
    }
    expect([...rules.keys()].sort()).toEqual(['I15', 'I16']);
  });

  test('tells a forgotten slot at the step that lets the PTE lock go', () => {
    const run = runOnce(subject('munmap-fault', 'private-bypass-buggy'), 5, false);
    expect([run.found?.invariant, run.expected.length]).toEqual(['I16', 1]);
  });
});
