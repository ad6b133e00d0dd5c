/** Locks, waits and 64-bit words under real threads; more threads than processors on purpose. */
import { beforeEach, describe, expect, it } from 'vitest';
import { arenaInit } from '../../src/shm/arena.js';
import { slabInit, slabLive, slabRecords } from '../../src/shm/slab.js';
import { words } from '../../src/ops/memory.js';
import { actor, CONTROL, cpuAt, REQ_ABORT } from '../../src/sync/actor.js';
import { RANK } from '../../src/sync/lock-order.js';
import { run, unlock, lock } from '../../src/sync/primitives.js';
import { compileForThreads, runThreads, startThread } from '../support/threads.js';

const bodies = compileForThreads('test/sync/bodies.ts');

const LOCK = 1024;
const DATA = 1040;
const GATE = 1056;
/** Beyond a reader-writer lock, or a slab, that lies at LOCK. */
const FAR_GATE = 8192;

const indices = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
const word = (a: number): number => words[a] as number;
const contended = (n: number): number => indices(n).reduce((sum, i) => sum + word(actor.contended(cpuAt(i))), 0);

/** Resolves once the actor says that it waits for the word. */
async function untilWaiting(index: number, a: number): Promise<void> {
  for (let i = 0; i < 2000 && word(actor.waiting(cpuAt(index))) !== a; i++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

beforeEach(() => words.fill(0));

describe('threads', () => {
  // Tried again when the threads never met: on a busy machine each may run in a slice of its own.
  it.each([2, 4])('a mutex makes plain increments of %i threads add up', { retry: 9 }, async (n) => {
    const times = 100_000;
    await runThreads(
      bodies,
      'count',
      indices(n).map((i) => [i, LOCK, DATA, times, GATE, n]),
    );
    expect(words[DATA]).toBe(n * times);
    expect(words[LOCK]).toBe(0);
    expect(contended(n)).toBeGreaterThan(0);
  });

  it('a mutex taken as guests do, by trying and waiting, excludes and loses no wake-up', async () => {
    const all = indices(4).map((i) => [i, LOCK, DATA, 50_000, GATE, 4]);
    await runThreads(bodies, 'countByTrying', all);
    expect(words[DATA]).toBe(200_000);
    for (const i of indices(4)) expect(words[actor.request(cpuAt(i))]).toBe(0);
  });

  it('a mutex tried without waiting excludes as well', async () => {
    const got = await runThreads(
      bodies,
      'countIfFree',
      indices(3).map((i) => [i, LOCK, DATA, 20_000, GATE, 3]),
    );
    expect(words[DATA]).toBe((got as number[]).reduce((a, b) => a + b, 0));
    expect(words[DATA]).toBeGreaterThan(0);
  });

  it('counts an acquisition that found the lock held, once', async () => {
    run(function* () {
      yield* lock(CONTROL, LOCK, RANK.heap);
    });
    const thread = startThread(bodies, 'takeOnce', [1, LOCK]);
    await untilWaiting(1, LOCK);
    run(function* () {
      yield* unlock(CONTROL, LOCK);
    });
    expect(await thread.result).toBe(1);
    await thread.terminate();
    expect(words[actor.contended(cpuAt(1))]).toBe(1);
    expect(words[actor.waiting(cpuAt(1))]).toBe(0);
    expect(words[actor.heldCount(cpuAt(1))]).toBe(0);
  });

  it('a writer excludes readers and other writers', async () => {
    const times = 4000;
    const threads = [
      ...[1, 2].map((i) => startThread(bodies, 'writer', [i, LOCK, 4096, times, FAR_GATE, 4])),
      ...[3, 4].map((i) => startThread(bodies, 'reader', [i, LOCK, 4096, times, FAR_GATE, 4, 500])),
    ];
    expect(await Promise.all(threads.map((t) => t.result))).toEqual([0, 0, 0, 0]);
    await Promise.all(threads.map((t) => t.terminate()));
    expect([words[4096], words[4097]]).toEqual([2 * times, 2 * times]);
  });

  it('readers do not exclude each other', async () => {
    const all = await runThreads(
      bodies,
      'readTogether',
      indices(3).map((i) => [i, LOCK, FAR_GATE, 3]),
    );
    expect(all).toEqual([0, 0, 0]);
  });

  it('never sees half of a 64-bit store or compare-exchange', async () => {
    const torn = await runThreads(
      bodies,
      'storeWhole',
      indices(3).map((i) => [i, DATA, 50_000, GATE, 3]),
    );
    expect(torn).toEqual([0, 0, 0]);
  });

  it('counts in both halves of one word by 16-bit compare-exchange', async () => {
    const args = [1, 2, 3, 4].map((i) => [i, 2 * DATA + (i & 1), 15_000, GATE, 4]);
    await runThreads(bodies, 'countHalf', args);
    expect((words[DATA] as number) >>> 0).toBe(((30_000 << 16) | 30_000) >>> 0);
  });

  it('hands each slab record to one thread at a time and loses none', async () => {
    arenaInit(65536, 64);
    run(function* () {
      yield* slabInit(CONTROL, LOCK, 6, 65536, RANK.heap);
    });
    const stolen = await runThreads(
      bodies,
      'churn',
      indices(3).map((i) => [i, LOCK, 200, 20_000, FAR_GATE, 3]),
    );
    expect(stolen).toEqual([0, 0, 0]);
    expect(slabLive(LOCK)).toBe(0);
    expect(slabRecords(LOCK)).toEqual([]);
  });
});

describe('waiting', () => {
  it('ends when the word has changed although nobody woke the waiter', async () => {
    const thread = startThread(bodies, 'waitFor', [1, DATA, 0]);
    await untilWaiting(1, DATA);
    Atomics.store(words, DATA, 5);
    expect(await thread.result).toBe(5);
    await thread.terminate();
  });

  it.each([
    ['for a word', 'waitFor', [1, DATA, 0], DATA],
    ['for a lock', 'takeOnce', [1, LOCK], LOCK],
  ] as const)('%s ends by MachineLost when the machine is given up', async (_what, name, args, a) => {
    run(function* () {
      yield* lock(CONTROL, LOCK, RANK.heap);
    });
    const thread = startThread(bodies, name, args);
    const ended = expect(thread.result).rejects.toThrow(/given up/);
    await untilWaiting(1, a);
    Atomics.or(words, actor.request(cpuAt(1)), REQ_ABORT);
    await ended;
    await thread.terminate();
  });
});
