/**
 * Every twin of the hypervisor is found by search within its budget, and the right hypervisor survives the whole search of
 * the same race: every schedule with as many preemptions.
 */
import { describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { hypervisorBoot } from '../../src/hypervisor/boot.js';
import { isTwinned, setTwin, twin, TWIN, twinOn, TWINS } from '../../src/hypervisor/twins.js';
import { GRANT_CASES } from './grant-cases.js';
import { rulesOf, searchCase } from './harness.js';
import { MEMORY_CASES } from './memory-cases.js';

const CASES = [...GRANT_CASES, ...MEMORY_CASES];
/** `npm run explore:all`: two preemptions, up to 100,000 executions. */
const ALL = process.env['MODE'] === 'exhaustive';
/** The right hypervisor is searched to the end, but for the races whose steps are too many for a test. */
const LONG = new Set<string>(['version-early']);

describe('twins', () => {
  it('each have a race that finds them', () => {
    expect(CASES.map((c) => c.twin).sort()).toEqual(TWINS.map((t) => t.name).sort());
  });

  it('are off after power on, and one at a time', () => {
    setTwin('xsa-401');
    hypervisorBoot({});
    expect([isTwinned(), twinOn()]).toEqual([false, undefined]);
    setTwin('xsa-228');
    expect(TWINS.filter((t) => twin(TWIN[t.name])).map((t) => t.name)).toEqual(['xsa-228']);
    expect(twinOn()?.rule).toBe('X47');
    setTwin(undefined);
    expect(isTwinned()).toBe(false);
  });
});

describe.each(CASES)('$twin', (c) => {
  it('is found by search', { timeout: 60_000 }, () => {
    const r = searchCase(c, true, c.budget);
    expect([r.failures, c.breaks.includes(rulesOf(r)[0] ?? '')]).toEqual([1, true]);
  });

  it('is not the hypervisor', { timeout: ALL ? 1_800_000 : 60_000 }, () => {
    const most = ALL ? 100_000 : LONG.has(c.twin) ? 200 : 20_000;
    const r = searchCase(c, false, most, ALL ? 2 : 1);
    expect(r.found).toEqual([]);
    expect(r.exhausted || r.executions === most).toBe(true);
  });
});
