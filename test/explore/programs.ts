/**
 * Small programs for tests of the explorer: actors are lists of operations over a few words and locks, random or written.
 *
 * What an execution comes to is a line: how it ended, the words, and what each actor read.
 */
import fc from 'fast-check';
import type { Outcome, Program } from '../../src/explore/program.js';
import { words } from '../../src/ops/memory.js';
import { actor, cpuAt } from '../../src/sync/actor.js';
import { RANK } from '../../src/sync/lock-order.js';
import {
  add,
  cas,
  choose,
  fill,
  ld,
  ldOnce,
  lock,
  or,
  peek,
  st,
  stOnce,
  touch,
  tryLock,
  unlock,
  waitChange,
  waitRequest,
} from '../../src/sync/primitives.js';
import { POINT_READ } from '../../src/sync/schedule.js';
import type { Steps } from '../../src/sync/steps.js';

export const A = 1024;
export const WORDS = 4;
export const LOCKS = A + 16;

export type Op =
  | { readonly op: 'ld' | 'ldOnce' | 'add' | 'await' | 'awaitRequest' | 'choose' | 'pair' | 'zero'; readonly w: number }
  | { readonly op: 'st' | 'stOnce' | 'cas' | 'ifSet'; readonly w: number; readonly v: number }
  /** Operations under a lock; `tried`: left out when it is held. */
  | { readonly op: 'locked' | 'tried'; readonly w: number; readonly body: readonly Op[] }
  /** A request to an actor, which ends its wait early; a look at its requests, which shows whether it sleeps. */
  | { readonly op: 'request' | 'seeRequests'; readonly w: number };

/** What the actor has read so far, as one number. */
interface Register {
  value: number;
}

const note = (r: Register, v: number): void => {
  r.value = (Math.imul(r.value, 31) + v + 1) | 0;
};

function* perform(me: number, ops: readonly Op[], r: Register): Steps<void> {
  for (const o of ops) yield* performOne(me, o, r);
}

function* performOne(me: number, o: Op, r: Register): Steps<void> {
  const cpu = cpuAt(me + 1);
  const a = A + o.w;
  switch (o.op) {
    case 'ld': {
      note(r, yield* ld(a));
      return;
    }
    case 'ldOnce': {
      note(r, yield* ldOnce(a));
      return;
    }
    case 'add': {
      note(r, yield* add(a, 1));
      return;
    }
    case 'st':
      return yield* st(a, o.v);
    case 'stOnce':
      return yield* stOnce(a, o.v);
    case 'cas': {
      note(r, yield* cas(a, 0, o.v));
      return;
    }
    case 'ifSet':
      if ((yield* ldOnce(a)) !== 0) yield* stOnce(A + ((o.w + 1) % WORDS), o.v);
      return;
    case 'choose':
      return yield* stOnce(a, 1 + choose(cpu, o.w, 2));
    case 'pair':
      yield* touch(a, 2, POINT_READ);
      {
        note(r, peek(a) * 7 + peek(a + 1));
        return;
      }
    case 'zero':
      return yield* fill(a, 2);
    case 'await':
      // Once only: a wait may end early, and then nothing is awaited.
      return yield* waitChange(cpu, a, 0);
    case 'awaitRequest':
      yield* waitRequest(cpu, a, 0, 0);
      return;
    case 'request':
      yield* or(actor.request(cpuAt(1 + (o.w % 2))), 1);
      return;
    case 'seeRequests':
      note(r, yield* ldOnce(actor.request(cpuAt(1 + (o.w % 2)))));
      return;
    case 'locked':
      yield* lock(cpu, LOCKS + o.w, RANK.guestPteLock);
      yield* perform(me, o.body, r);
      return yield* unlock(cpu, LOCKS + o.w);
    case 'tried':
      if (!(yield* tryLock(cpu, LOCKS + o.w, RANK.guestPteLock))) {
        note(r, 99);
        return;
      }
      yield* perform(me, o.body, r);
      return yield* unlock(cpu, LOCKS + o.w);
  }
}

export interface Observed extends Program {
  /** What the executions so far came to. */
  readonly outcomes: Set<string>;
}

/** The program of these actors; it fails where `bad` says something. */
export function programOf(
  actors: readonly (readonly Op[])[],
  bad: (line: string, outcome: Outcome) => string | undefined = () => undefined,
): Observed {
  const registers: Register[] = actors.map(() => ({ value: 0 }));
  const outcomes = new Set<string>();
  return {
    outcomes,
    names: { actor: (i) => `actor ${i}`, address: (a) => `word ${a - A}` },
    start: () => {
      words.fill(0, A, LOCKS + 4);
      words.fill(0, cpuAt(0), cpuAt(actors.length + 1));
      for (const r of registers) r.value = 0;
      return actors.map(
        (ops, i) =>
          function* () {
            yield* perform(i, ops, registers[i]!);
          },
      );
    },
    finish: (outcome) => {
      const memory = [...words.subarray(A, A + WORDS + 1)].join(' ');
      const stuck = outcome.kind === 'deadlock' ? outcome.waits.map((w) => `${w.body}@${w.address - A}`).join(' ') : '';
      const line = `${outcome.kind} ${stuck} | ${memory} | ${registers.map((r) => r.value).join(' ')}`;
      outcomes.add(line);
      const detail = bad(line, outcome);
      return detail === undefined ? [] : [{ rule: 'bad', detail, holders: [] }];
    },
  };
}

const word = fc.nat(WORDS - 1);
const plain: fc.Arbitrary<Op> = fc.oneof(
  fc.record({ op: fc.constantFrom('ld' as const, 'ldOnce' as const, 'add' as const), w: word }),
  fc.record({
    op: fc.constantFrom('st' as const, 'stOnce' as const, 'cas' as const),
    w: word,
    v: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ op: fc.constantFrom('ifSet' as const), w: word, v: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ op: fc.constantFrom('pair' as const, 'zero' as const), w: fc.nat(WORDS - 2) }),
);
const special: fc.Arbitrary<Op> = fc.oneof(
  fc.record({ op: fc.constantFrom('await' as const, 'awaitRequest' as const, 'choose' as const), w: word }),
  fc.record({ op: fc.constantFrom('request' as const, 'seeRequests' as const), w: fc.nat(1) }),
);
const locked: fc.Arbitrary<Op> = fc.record({
  op: fc.constantFrom('locked' as const, 'locked' as const, 'tried' as const),
  w: fc.constantFrom(0, 1),
  body: fc.array(plain, { maxLength: 2 }),
});
/** One lock inside another, in either order: programs that can deadlock. */
const nested: fc.Arbitrary<Op> = fc
  .tuple(fc.constantFrom(0, 1), fc.array(plain, { maxLength: 1 }))
  .map(([w, body]) => ({ op: 'locked', w, body: [{ op: 'locked', w: 1 - w, body }] }));

/** Operations with these weights: plain ones, waits and requests, locked ones, locks inside locks. */
const someOps = (longest: number, weights: readonly [number, number, number, number]): fc.Arbitrary<Op[]> => {
  const kinds = [plain, special, locked, nested].map((arbitrary, i) => ({ weight: weights[i]!, arbitrary }));
  return fc.array(fc.oneof(...kinds), { minLength: 1, maxLength: longest });
};
const actors = (...weights: readonly [number, number, number, number]): fc.Arbitrary<Op[][]> =>
  fc.oneof(
    fc.tuple(someOps(4, weights), someOps(4, weights)),
    fc.tuple(someOps(2, weights), someOps(2, weights), someOps(2, weights)),
  );

/** Two actors of up to four operations, or three of up to two; every other program mostly waits, asks and locks. */
export const smallPrograms: fc.Arbitrary<Op[][]> = fc.oneof(actors(6, 2, 2, 1), actors(2, 5, 2, 1));
