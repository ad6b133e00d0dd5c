/** The order of locks as a finding: out of rank at once, of one rank when two actors take a pair in both orders. */
import { beforeEach, expect, test } from 'vitest';
import { RuleBroken } from '../../src/abi/errors.js';
import { exhaustive } from '../../src/explore/exhaustive.js';
import type { Finding, Program } from '../../src/explore/program.js';
import { search } from '../../src/explore/search.js';
import { replay } from '../../src/explore/replay.js';
import { words } from '../../src/ops/memory.js';
import { cpuAt } from '../../src/sync/actor.js';
import { RANK } from '../../src/sync/lock-order.js';
import { lock, unlock } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';

const [A, B, GATE] = [1024, 1026, 1028];
const PTE = RANK.guestPteLock;

type Take = readonly [address: number, rank: number];

/** Takes the locks in this order and releases them again. */
function* takes(index: number, locks: readonly Take[]): Steps<void> {
  for (const [a, rank] of locks) yield* lock(cpuAt(index), a, rank);
  for (const [a] of [...locks].reverse()) yield* unlock(cpuAt(index), a);
}

/** What the very first schedule finds: one side after the other, so that nobody waits for anybody. */
function first(...sides: (readonly Take[])[]): readonly Finding[] {
  const program: Program = {
    names: { actor: (i) => `side ${String(i)}`, address: (a) => `lock ${String(a)}` },
    start: () => {
      words.fill(0);
      return sides.map((locks, i) => () => takes(i + 1, locks));
    },
    finish: () => [],
  };
  const report = search(program, exhaustive(0), { executions: 1, failures: 1, races: true });
  for (const f of report.found) expect(replay(f.schedule)).toBeDefined();
  return report.found.flatMap((f) => f.findings);
}
beforeEach(() => words.fill(0));

test('two locks of one rank taken in both orders are a finding although nobody met', () => {
  const [f, ...more] = first([[A, PTE], [B, PTE]], [[B, PTE], [A, PTE]]); // prettier-ignore
  expect([f?.rule, f?.holders, more]).toEqual(['lock-order', ['side 0', 'side 1'], []]);
  expect(f?.detail).toContain('side 0 takes lock 1024, then lock 1026, and side 1 takes lock 1026, then lock 1024');
});

test('in one order they are none, nor in both by one side, nor under a lock that keeps the two apart', () => {
  const both: readonly Take[][] = [[[A, PTE], [B, PTE]], [[B, PTE], [A, PTE]]]; // prettier-ignore
  expect(first(both[0]!, both[0]!)).toEqual([]);
  expect(first(both[0]!)).toEqual([]);
  const gated = both.map((locks): Take[] => [[GATE, RANK.guestPageTable], ...locks]);
  expect(first(...gated)).toEqual([]);
});

test('a lock out of rank is a finding of the same name', () => {
  const [f] = first([[A, RANK.pageLock], [B, RANK.grantActive]]); // prettier-ignore
  expect(f?.rule).toBe('lock-order');
  expect(f?.detail).toContain('takes grantActive while holding pageLock');
  expect(new RuleBroken('page-lock', 'x').rule).toBe('page-lock');
});
