/** Pauses, deaths and interrupts between coroutines. */
import { beforeEach, describe, expect, it } from 'vitest';
import { interleave, type Outcome } from '../../src/explore/loop.js';
import { randomWalk } from '../../src/explore/random-walk.js';
import { roundRobin } from '../../src/explore/round-robin.js';
import type { Strategy } from '../../src/explore/strategy.js';
import { findDomain } from '../../src/hypervisor/domain.js';
import { words } from '../../src/ops/memory.js';
import { actor, cpuIndex, MODE_OFF, type Cpu } from '../../src/sync/actor.js';
import { run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { COMMON_WORDS, counts, countsLocked, destroys, pauses, sends, SHARED, sleeps } from './bodies.js';
import { bootGuest, type Image } from './guest.js';
import { ARENA, ARENA_CHUNKS } from '../../src/machine/layout.js';

/** The last chunk of the arena: the machine here never grows that far. */
const COMMON = ARENA + (ARENA_CHUNKS - 1) * 1024;
let image: Image;

const boot = (): void => {
  image = bootGuest(2);
  words.fill(0, COMMON, COMMON + COMMON_WORDS);
};
beforeEach(boot);

const cpu = (i: number): Cpu => image.cpus[i] as Cpu;
const index = (i: number): number => cpuIndex(cpu(i));

/** Runs the bodies under many schedules, each on a fresh machine; answers what each body answered in each. */
function runs(n: number, bodies: () => (() => Steps<number>)[], bound = 100_000): number[][] {
  const all: number[][] = [];
  const walk = randomWalk(42);
  for (let i = 0; i < n; i++) {
    boot();
    const answers: number[] = [];
    const strategy: Strategy = i === 0 ? roundRobin() : walk;
    const o: Outcome = interleave(
      bodies().map(
        (body, k) =>
          function* () {
            answers[k] = yield* body();
          },
      ),
      strategy,
      bound,
    );
    expect(o.kind === 'threw' ? String(o.error) : o.kind).toBe('done');
    all.push(answers);
  }
  return all;
}

describe('a paused domain', () => {
  it('makes no guest access before it is unpaused', () => {
    const all = runs(100, () => [
      () => counts(index(0), 0, COMMON, 10_000),
      () => counts(index(1), 1, COMMON, 10_000),
      () => pauses(1, COMMON, 3),
    ]);
    expect(all.filter((a) => a.join() !== '0,0,0')).toEqual([]);
  });

  it('counts as stopped while its vCPUs sleep for a lock that one of them holds', () => {
    const all = runs(100, () => [
      () => countsLocked(index(0), 0, COMMON, 10_000, 0),
      () => countsLocked(index(1), 1, COMMON, 10_000, 1),
      () => pauses(1, COMMON, 3),
    ]);
    expect(all.filter((a) => a.join() !== '0,0,0')).toEqual([]);
    expect(words[COMMON + SHARED]).toBeGreaterThan(0);
  });
});

describe('a destroyed domain', () => {
  it('stops its vCPUs between two accesses, and they are off', () => {
    const all = runs(100, () => [
      () => counts(index(0), 0, COMMON, 10_000),
      () => counts(index(1), 1, COMMON, 10_000),
      () => destroys(1, COMMON, 5),
    ]);
    expect(all.filter((a) => a.join() !== '1,1,0')).toEqual([]);
    expect([0, 1].map((i) => words[actor.mode(cpu(i))])).toEqual([MODE_OFF, MODE_OFF]);
    expect(
      run(function* () {
        return yield* findDomain(1);
      }),
    ).toBe(0);
  });
});

describe('interrupts between vCPUs', () => {
  it('are answered from a sleep, in every schedule tried, and none is lost', () => {
    const all = runs(200, () => [() => sends(index(0), 0, COMMON, index(1), 3), () => sleeps(index(1), 1, COMMON)]);
    expect(all.filter((a) => a.join() !== '0,0')).toEqual([]);
  });
});

describe('a guest lock', () => {
  it('taken either way excludes', () => {
    runs(100, () => [() => countsLocked(index(0), 0, COMMON, 8, 0), () => countsLocked(index(1), 1, COMMON, 8, 1)]);
    expect(words[COMMON + SHARED]).toBe(16);
  });
});
