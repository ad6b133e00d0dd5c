/** Searching small scenarios in this process: what is exhausted, found, shrunk and replayed. */
import { describe, expect, test } from 'vitest';
import { decodeSchedule, type Schedule } from '../../../src/explore/schedule.js';
import { Loop } from '../../../src/explore/loop.js';
import { randomWalk } from '../../../src/explore/random-walk.js';
import { record, traceOf } from '../../../src/lab/explore/replay.js';
import { searchJob } from '../../../src/lab/explore/search-job.js';
import type { SearchSpec } from '../../../src/lab/explore/messages.js';
import { Subject } from '../../../src/lab/explore/subject.js';
import { CHOICE_NAMES } from '../../../src/scenario/schema.js';
import { CHOICES } from '../../../src/sync/choices.js';
import { smallGuests } from '../../../workers/small.js';
import { smallScenario } from './scenario.js';
import { planOf } from './small.js';

const spec: SearchSpec = {
  strategy: 'bounded',
  preemptions: 2,
  seed: 1,
  depth: 3,
  faults: undefined,
  executions: undefined,
  timeMs: undefined,
  expect: { kind: 'clean' },
  saved: undefined,
  classes: false,
};
const quiet = { stopped: () => false, progress: () => undefined, shrinking: () => undefined };
const search = (name: string, design: string, more: Partial<SearchSpec> = {}) =>
  searchJob(planOf(smallScenario(name), design), { ...spec, ...more }, smallGuests, quiet);

describe('exit against revoke', () => {
  test('a right design is clean over every schedule of at most two preemptions, and both outcomes were met', () => {
    const r = search('exit-revoke', 'zap-pte');
    expect([r.exhausted, r.violations]).toEqual([true, []]);
    expect(r.counts.states).toBe(2);
  });

  test('an exhaustive search is gone on with where it stood, and needs as many executions in all', () => {
    const whole = search('exit-revoke', 'notifier', { strategy: 'naive', preemptions: 1, executions: 300 });
    const first = search('exit-revoke', 'notifier', { strategy: 'naive', preemptions: 1, executions: 100 });
    const rest = search('exit-revoke', 'notifier', {
      strategy: 'naive',
      preemptions: 1,
      executions: 200,
      saved: JSON.parse(JSON.stringify(first.saved)) as unknown,
    });
    expect(rest.saved).toEqual(whole.saved);
  });

  test('a design that leaks is shrunk to one vCPU, and the schedule replays to its trace every time', () => {
    const r = search('exit-revoke', 'early-unpin', { expect: { kind: 'breaks', breaks: ['I10'], may: [] } });
    const [v] = r.violations;
    if (v === undefined) throw new Error('nothing found');
    expect([v.rule, v.vcpus, v.preemptions]).toEqual(['I10', 1, 0]);
    const subject = new Subject(planOf(smallScenario('exit-revoke'), 'early-unpin'), new Set(v.leftOut), smallGuests());
    const schedule = decodeSchedule(v.schedule) as Schedule;
    for (let i = 0; i < 3; i++) {
      const recording = record(subject, schedule, 100_000);
      expect([recording.trace, recording.diverged, recording.steps]).toEqual([v.trace, false, v.steps]);
      expect(recording.findings.map((f) => f.rule)).toContain('I10');
      expect(recording.happenings.map((h) => h.text)).toContain('exit');
      expect(traceOf(subject, schedule, 100_000)).toBe(v.trace);
    }
  });

  test('another schedule has another trace', () => {
    const subject = new Subject(planOf(smallScenario('exit-revoke'), 'zap-pte'), new Set(), smallGuests());
    const traces = new Set([0, 1].map((first) => traceOf(subject, { picks: Uint8Array.of(first), choices: [] }, 1e5)));
    expect(traces.size).toBe(2);
  });
});

test('two threads that are killed at once race for nothing', () => {
  const plan = planOf(smallScenario('munmap-fault'), 'zap-pte');
  // Without what they touch, both threads end by a signal.
  const setup = plan.small.setup.map((l) => ({
    ...l,
    steps: l.steps.filter((x) => !/^(mmap|map|touch)/.test(x.text)),
  }));
  const race = plan.small.race.map((l) => ({ ...l, steps: plan.small.race[1]?.steps.slice(-1) ?? [] }));
  const small = { ...plan.small, setup, race };
  const r = searchJob({ ...plan, small }, { ...spec, strategy: 'pct', executions: 400 }, smallGuests, quiet);
  expect([r.counts.executions, r.violations]).toEqual([400, []]);
});

describe('choices of the machine', () => {
  test('the schema names those that there are', () => {
    expect([...CHOICE_NAMES]).toEqual([...CHOICES]);
  });

  /** How often each choice was asked, and taken otherwise, in random executions with the choices `names`. */
  function asked(
    scenario: string,
    design: string,
    names: readonly (typeof CHOICE_NAMES)[number][],
  ): Map<string, number> {
    const plan = planOf(smallScenario(scenario), design);
    // The last step of each side alone, and often, the second side's in the setup too, so that translations are there when they stop being true.
    const race = plan.small.race.map((l) => ({ ...l, steps: l.steps.slice(-1).flatMap((x) => [x, x, x, x, x]) }));
    const setup = [...plan.small.setup, ...race.slice(1)];
    const small = { ...plan.small, setup, race, choices: names };
    const subject = new Subject({ ...plan, small }, new Set(), smallGuests());
    const inner = randomWalk(3);
    const coin = randomWalk(4);
    const loop = new Loop(subject.machine.sides.length);
    const count = new Map<string, number>();
    const most = names.length === 0 ? 60 : 2000;
    for (let i = 0; i < most && count.size < 2; i++) {
      const strategy = {
        begin: inner.begin,
        pick: inner.pick,
        choose: (_v: unknown, actor: number, what: number, n: number) =>
          (actor + what + i + coin.choose(loop, actor, what, n)) % n,
      };
      const out = loop.execute(subject.start(), strategy, 100_000);
      if (out.kind === 'threw') throw out.error;
      expect([out.kind, subject.finish(out)]).toEqual(['done', []]);
      for (const c of loop.chosen) {
        const key = `${CHOICES[c.what] ?? ''} ${String(c.value)}`;
        count.set(key, (count.get(key) ?? 0) + 1);
      }
    }
    return count;
  }

  test('nothing is asked unless the scenario says so', () => {
    expect([...asked('munmap-fault', 'notifier', [])]).toEqual([]);
  });

  test.each([
    ['flush.deliver', 'munmap-fault', 'notifier'],
    ['event.deliver', 'exit-lazy', 'notifier'],
    ['hypercall.preempt', 'exit-lazy', 'notifier'],
    ['tlb.evict', 'munmap-fault', 'notifier'],
  ] as const)('%s is asked and taken both ways in %s, and a right design stays clean', (name, scenario, design) => {
    const count = asked(scenario, design, [name]);
    expect([...count.keys()].sort()).toEqual([`${name} 0`, `${name} 1`]);
  });
});
