/**
 * The flush stamp of a frame's last type reference: Xen 4.17 stores it and then takes the count down, in two atomics.
 *
 * Between the two another CPU may flush, take a writable reference, use it and drop it: the type word is what it was, and the
 * stamp older than the flush. Two L1s are needed, for entries change under their table's page lock, which is held around both.
 */
import { afterAll, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { setRepaired, setTwin } from '../../src/hypervisor/twins.js';
import { rulesOf, searchRace } from './harness.js';
import { flushedBetween } from './memory-cases.js';

afterAll(() => setTwin(undefined));

test('a whole use of the frame fits between stamp and compare-exchange: a TLB can still write to the table it becomes', () => {
  const r = searchRace(flushedBetween, () => setTwin(undefined), 200, 1);
  expect([r.failures, rulesOf(r)]).toEqual([1, ['I2']]);
  expect(r.found[0]?.outcome.preemptions).toBe(1);
});

test('nothing does when the frame is claimed first, in every schedule of one preemption', () => {
  const r = searchRace(flushedBetween, setRepaired, 20_000, 1);
  expect([r.found, r.exhausted]).toEqual([[], true]);
});
