import { expect, test } from 'vitest';
import { adaptSchedule, candidates, without } from '../../../src/lab/explore/reduce.js';
import type { Small, SmallList } from '../../../src/scenario/scenario.js';

const list = (domain: string, vcpu: number, ...names: string[]): SmallList => ({
  domain,
  vcpu,
  steps: names.map((name) => ({ name, args: [], text: name })),
});
/** Parts: 0 a, 1 b | 2 c | side 3: 4 d, 5 e | side 6: 7 f | side 8, the control plane: none. */
const small: Small = {
  setup: [list('front', 0, 'a', 'b'), list('dom0', 0, 'c')],
  race: [list('dom0', 0, 'd', 'e'), list('front', 0, 'f'), list('', 0)],
  choices: [],
  faults: 1,
  bound: 1000,
};
const texts = (s: Small): string[] =>
  [...s.setup, ...s.race].map((l) => `${l.domain}: ${l.steps.map((x) => x.name).join(' ')}`);

test('parts are left out by number; a side with its steps, a list of the setup when it is empty', () => {
  expect(texts(without(small, new Set()))).toEqual(texts(small));
  expect(texts(without(small, new Set([1, 4])))).toEqual(['front: a', 'dom0: c', 'dom0: e', 'front: f', ': ']);
  expect(texts(without(small, new Set([2, 6, 7])))).toEqual(['front: a b', 'dom0: d e', ': ']);
});

test('whole sides are tried first, then steps of the race, then of the setup from its end; never the last side', () => {
  expect(candidates(small, new Set()).map((s) => [...s])).toEqual([
    [3, 4, 5],
    [6, 7],
    [8],
    [4],
    [5],
    [7],
    [2],
    [1],
    [0],
  ]);
  const one = new Set([3, 4, 5, 8]);
  expect(candidates(small, one).map((s) => [...s].filter((n) => !one.has(n)))).toEqual([[7], [2], [1], [0]]);
});

test('a schedule follows its actors when sides go', () => {
  const schedule = { picks: Uint8Array.of(0, 1, 2, 1), choices: [{ actor: 2, nth: 0, what: 1, value: 1 }] };
  expect(adaptSchedule(small, schedule, new Set(), new Set([3, 4, 5]))).toEqual({
    picks: Uint8Array.of(0, 1, 0),
    choices: [{ actor: 1, nth: 0, what: 1, value: 1 }],
  });
  expect(
    adaptSchedule(small, { ...schedule, picks: Uint8Array.of(0, 1) }, new Set([3, 4, 5]), new Set([3, 4, 5, 8])),
  ).toEqual({
    picks: Uint8Array.of(0),
    choices: [],
  });
});
