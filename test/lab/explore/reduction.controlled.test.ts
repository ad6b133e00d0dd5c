/**
 * Bounded reduction against plain enumeration over whole small scenarios: as many final states, in far fewer executions.
 *
 * An access that is not declared, or declared too small, would let the reduction leave out an order that matters.
 */
import { expect, test } from 'vitest';
import { bpor } from '../../../src/explore/bpor.js';
import { exhaustive } from '../../../src/explore/exhaustive.js';
import { search } from '../../../src/explore/search.js';
import type { Strategy } from '../../../src/explore/strategy.js';
import { Subject } from '../../../src/lab/explore/subject.js';
import { smallGuests } from '../../../workers/small.js';
import { smallScenario } from './scenario.js';
import { planOf } from './small.js';

test.each([
  ['exit-lazy', 'zap-pte', 10],
  ['exit-revoke', 'notifier', 10],
  ['munmap-fault', 'private-page', 5],
])('%s under %s has the same outcomes at one preemption, in %i times fewer executions', (name, design, times) => {
  const plan = { ...planOf(smallScenario(name), design), stepChecks: false };
  const run = (strategy: Strategy): { executions: number; states: number; exhausted: boolean } => {
    const subject = new Subject(plan, new Set(), smallGuests());
    const { executions, exhausted } = search(subject, strategy, { failures: Infinity, bound: plan.small.bound });
    return { executions, states: subject.states, exhausted };
  };
  const all = run(exhaustive(1));
  const few = run(bpor(1));
  expect([few.states, few.exhausted, all.exhausted]).toEqual([all.states, true, true]);
  expect(all.executions / few.executions).toBeGreaterThan(times);
});
