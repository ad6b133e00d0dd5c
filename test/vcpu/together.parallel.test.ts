/** The same bodies on real threads: pauses, deaths and interrupts between vCPUs. */
import { beforeEach, describe, expect, it } from 'vitest';
import { ARENA, ARENA_CHUNKS } from '../../src/machine/layout.js';
import { words } from '../../src/ops/memory.js';
import { actor, cpuIndex, MODE_OFF, type Cpu } from '../../src/sync/actor.js';
import { compileForThreads, startThread } from '../support/threads.js';
import { COMMON_WORDS, SHARED, STEPS } from './bodies.js';
import { bootGuest, type Image } from './guest.js';

const bodies = compileForThreads('test/vcpu/bodies.ts');
const COMMON = ARENA + (ARENA_CHUNKS - 1) * 1024;
let image: Image;

beforeEach(() => {
  image = bootGuest(2);
  words.fill(0, COMMON, COMMON + COMMON_WORDS);
});

const index = (i: number): number => cpuIndex(image.cpus[i] as Cpu);

async function threads(...calls: readonly (readonly [string, ...number[]])[]): Promise<unknown[]> {
  const all = calls.map(([name, ...args]) => startThread(bodies, name, args));
  try {
    return await Promise.all(all.map((t) => t.result));
  } finally {
    await Promise.all(all.map((t) => t.terminate()));
  }
}

describe('on threads', () => {
  it('a paused domain makes no guest access before it is unpaused', async () => {
    expect(
      await threads(
        ['counts', index(0), 0, COMMON, 2 ** 31],
        ['counts', index(1), 1, COMMON, 2 ** 31],
        ['pauses', 1, COMMON, 500],
      ),
    ).toEqual([0, 0, 0]);
    expect(words[COMMON + STEPS]).toBeGreaterThan(0);
  });

  it('a paused domain counts as stopped while its vCPUs sleep for a lock', async () => {
    expect(
      await threads(
        ['countsLocked', index(0), 0, COMMON, 2 ** 31, 0],
        ['countsLocked', index(1), 1, COMMON, 2 ** 31, 1],
        ['pauses', 1, COMMON, 200],
      ),
    ).toEqual([0, 0, 0]);
  });

  it('a destroyed domain stops its vCPUs, and they are off', async () => {
    expect(
      await threads(
        ['counts', index(0), 0, COMMON, 2 ** 31],
        ['counts', index(1), 1, COMMON, 2 ** 31],
        ['destroys', 1, COMMON, 10_000],
      ),
    ).toEqual([1, 1, 0]);
    expect(image.cpus.map((c) => words[actor.mode(c)])).toEqual([MODE_OFF, MODE_OFF]);
  });

  it('interrupts are answered from a sleep', async () => {
    expect(await threads(['sends', index(0), 0, COMMON, index(1), 2000], ['sleeps', index(1), 1, COMMON])).toEqual([
      0, 0,
    ]);
  });

  it('a guest lock taken either way excludes', async () => {
    await threads(['countsLocked', index(0), 0, COMMON, 50_000, 0], ['countsLocked', index(1), 1, COMMON, 50_000, 1]);
    expect(words[COMMON + SHARED]).toBe(100_000);
  });
});
