/** Faults as part of schedules: planned or chosen, found, shrunk to those that are needed, replayed; deaths among them. */
import { describe, expect, test } from 'vitest';
import { decodeSchedule, type Schedule } from '../../../src/explore/schedule.js';
import { LabError } from '../../../src/abi/errors.js';
import { planOf } from '../../../src/lab/explore/explore.js';
import type { Searched, SearchSpec } from '../../../src/lab/explore/messages.js';
import { record } from '../../../src/lab/explore/replay.js';
import { searchJob } from '../../../src/lab/explore/search-job.js';
import { Subject } from '../../../src/lab/explore/subject.js';
import { parseFault } from '../../../src/lab/inject/spec.js';
import type { Scenario } from '../../../src/scenario/scenario.js';
import { smallGuests } from '../../../workers/small.js';
import { smallScenario } from './scenario.js';

const spec: SearchSpec = {
  strategy: 'bounded',
  preemptions: 1,
  seed: 1,
  depth: 3,
  faults: 1,
  executions: undefined,
  timeMs: undefined,
  expect: { kind: 'clean' },
  saved: undefined,
  classes: false,
};
const quiet = { stopped: () => false, progress: () => undefined, shrinking: () => undefined };
const withFaults = (name: string, ...faults: string[]): Scenario => ({
  ...smallScenario(name),
  faults: faults.map(parseFault),
});
const search = (s: Scenario, design: string, more: Partial<SearchSpec> = {}): Searched =>
  searchJob(planOf(s, design, false), { ...spec, ...more }, smallGuests, quiet);

describe('a grant unmap that may be refused', () => {
  const scenario = withFaults('exit-revoke', 'gnttab.unmap');

  test('is met once in every schedule of one preemption, with each answer; who copes stays clean', () => {
    const r = search(scenario, 'notifier-coping');
    expect([r.exhausted, r.violations]).toEqual([true, []]);
    expect(r.covers).toBe('every outcome of schedules of at most 1 preemptions and 1 faults');
    expect(r.counts.executions).toBe(3 * (1 + 2 * 4));
    expect(search(scenario, 'notifier-coping', { faults: 0 }).counts.executions).toBe(3);
  });

  test.each<[string, number | undefined]>([
    ['chosen, two of them', 2],
    ['planned, every one', undefined],
  ])('%s: who drops the handle is found, by one fault and no preemption, and the schedule replays', (_name, faults) => {
    const found = search(scenario, 'notifier', { faults, preemptions: 0 }).violations;
    const v = found.find((x) => x.rule === 'I10');
    expect([v?.rule, v?.preemptions, v?.vcpus]).toEqual(['I10', 0, 1]);
    expect(v?.faults).toEqual(['dom0.0: fault at gnttab.unmap: general_error']);
    const subject = new Subject(planOf(scenario, 'notifier', false), new Set(v?.leftOut), smallGuests());
    const schedule = decodeSchedule(v?.schedule ?? '') as Schedule;
    expect(schedule.choices).toHaveLength(1);
    for (let i = 0; i < 2; i++) {
      const recording = record(subject, schedule, 100_000);
      expect([recording.trace, recording.diverged]).toEqual([v?.trace, false]);
      expect(recording.happenings.filter((h) => h.kind === 'fault')).toHaveLength(1);
      expect(recording.findings.map((f) => f.rule)).toContain('I10');
    }
    const unharmed = record(subject, { ...schedule, choices: [] }, 100_000);
    expect(unharmed.findings).toEqual([]);
  });

  test('counts for each vCPU by itself, and only what its rule names', () => {
    const runs = (...faults: string[]): number =>
      search(withFaults('exit-revoke', ...faults), 'zap-pte', { preemptions: 0 }).counts.executions;
    expect(runs('gnttab.unmap:status=eagain')).toBe(2 * 3);
    expect(runs('gnttab.unmap:nth=2,status=eagain')).toBe(2 * 2);
    expect(runs('gnttab.unmap:nth=3,status=eagain')).toBe(2);
    expect(runs('gnttab.unmap:domain=front')).toBe(2);
  });
});

test('deaths at any guest access, and the destruction of a domain: what is left is clean', () => {
  for (const site of ['vcpu.dead', 'domain.destroy']) {
    const r = search(withFaults('exit-revoke', site), 'zap-pte', { preemptions: 0 });
    expect([r.exhausted, r.violations, r.counts.executions > 90]).toEqual([true, [], true]);
  }
  // The other vCPU of the dead one's domain may wait for it for ever: that is no deadlock of ours.
  const r = search(withFaults('exit-lazy', 'vcpu.dead:vcpu=0'), 'notifier', { strategy: 'pct', executions: 300 });
  expect([r.counts.executions, r.violations, r.counts.states > 40]).toEqual([300, [], true]);
});

test('a rule that concerns nobody in the race, and more rules than there is room for, are refused', () => {
  expect(() => planOf(withFaults('exit-revoke', 'gnttab.unmap:domain=back'), 'zap-pte', true)).toThrow(LabError);
  const many = Array.from({ length: 20 }, () => 'gnttab.unmap');
  expect(() => planOf(withFaults('exit-revoke', ...many), 'zap-pte', true)).toThrow(/needs 40 rules/);
});
