/**
 * The orchestration of a run with threads that do nothing but what each test needs: barrier, stop, watchdog, verdicts.
 *
 * In one project only: whoever starts the threads, they are of the parallel build. The threads are real and run the real primitives; hypervisor and guests are left out (other tests run those).
 */
import { describe, expect, test } from 'vitest';
import type { Catalog } from '../../src/abi/catalog.js';
import { runScenario, type ScenarioReport } from '../../src/lab/run/scenario-run.js';
import type { Scenario } from '../../src/scenario/scenario.js';
import { compileForThreads } from '../support/threads.js';

const fake = new URL(compileForThreads('test/lab/threads/fake-machine.ts'));
const entries = { vcpu: fake, control: fake };
// Wide enough for a machine that is busy with other tests.
const bounds = { stallMs: 2000, progressMs: 4000, graceMs: 1500, stepMs: 8000 };
const catalog: Catalog = { designs: [{ name: 'leak', buggy: true, about: '' }], programs: [], steps: [] };

const kernel = { exitOrder: 'today', splitPteLocks: true, lazyMmu: true, restore: 'balloon' } as const;
const domain = (name: string, domid: number) => ({
  name, domid, privileged: domid === 0, memoryMib: 1, vcpus: 2, kernel, workloads: [],
}); // prettier-ignore

function scenario(designs: string[], more: Partial<Scenario> = {}): Scenario {
  return {
    name: 'fake',
    description: '',
    seed: 7,
    memoryMib: 8,
    hypervisor: { build: 'release', quantum: 0, twin: '' },
    domains: [domain('dom0', 0), domain('front', 1)],
    events: [],
    extent: { kind: 'rounds', rounds: 500 },
    designs,
    checks: ['I10'],
    expect: {},
    require: {},
    faults: [],
    sweep: { expect: {}, persistent: {} },
    ...more,
  };
}

const never = new AbortController().signal;
const run = (s: Scenario, stop: AbortSignal = never, stepMs = bounds.stepMs): Promise<ScenarioReport> =>
  runScenario(s, { catalog, stop, bounds: { ...bounds, stepMs }, entries });
const first = (r: ScenarioReport) => {
  const [d] = r.designs;
  if (d === undefined) throw new Error('no design was reported');
  return d;
};

describe('a run', () => {
  test('starts every vCPU, waits for all of them and adds up what they did', { timeout: 60_000 }, async () => {
    const d = first(await run(scenario(['ok'])));
    expect(d).toMatchObject({
      design: 'ok',
      verdict: 'clean',
      expected: true,
      violations: [],
      overlap: { hypercalls: 4 },
    });
    expect(d.counters).toMatchObject({ hypercalls: 2000, rounds: 2000, exits: 4 * 2 });
  });

  test('reuses its threads for the next design, and says what each found', { timeout: 60_000 }, async () => {
    const r = await run(
      scenario(['leak', 'ok', 'refuse'], { expect: { leak: { kind: 'breaks', breaks: ['I10'], may: [] } } }),
    );
    expect(r.designs.map((d) => [d.design, d.buggy, d.verdict, d.expected])).toEqual([
      ['leak', true, 'broken', true],
      ['ok', false, 'clean', true],
      ['refuse', false, 'refused', false],
    ]);
    expect(r.designs[0]?.counters['leakedHandles']).toBe(1);
    expect(r.designs[2]?.notes).toEqual(['will not run here']);
  });

  test('in which nobody met is not exercised, never clean', { timeout: 60_000 }, async () => {
    const d = first(await run(scenario(['alone'])));
    expect(d).toMatchObject({ verdict: 'not exercised', expected: false, notes: ['no two vCPUs ever met'] });
  });

  test('that fell short of what the scenario requires is not exercised', { timeout: 60_000 }, async () => {
    const d = first(await run(scenario(['ok'], { require: { grantMaps: 1 } })));
    expect(d).toMatchObject({ verdict: 'not exercised', notes: ['grantMaps: 0 of at least 1'] });
  });

  test('of so many seconds ends after them', { timeout: 60_000 }, async () => {
    const began = performance.now();
    const d = first(await run(scenario(['ok'], { extent: { kind: 'seconds', seconds: 1 } })));
    expect(d.verdict).toBe('clean');
    expect(performance.now() - began).toBeGreaterThan(1000);
  });

  test('that is interrupted still reports what ran, and starts nothing more', { timeout: 60_000 }, async () => {
    const stop = new AbortController();
    setTimeout(() => {
      stop.abort();
    }, 2000);
    const r = await run(scenario(['ok', 'leak'], { extent: { kind: 'seconds', seconds: 60 } }), stop.signal);
    expect(r.designs.map((d) => [d.design, d.verdict, d.expected])).toEqual([['ok', 'interrupted', false]]);
    expect(r.designs[0]?.counters['hypercalls']).toBeGreaterThan(0);
  });
});

describe('a vCPU that stops answering', () => {
  test('in a loop is named and ended, and the next design runs', { timeout: 60_000 }, async () => {
    const r = await run(scenario(['spin', 'ok']));
    expect(r.designs.map((d) => d.verdict)).toEqual(['lost', 'clean']);
    expect(r.designs[0]?.violations[0]?.detail).toMatch(/^1 of 1 vCPUs stood still for 2 s: dom0\.vcpu0 is off/);
    expect(r.designs[0]?.notes.join()).toContain('terminated: dom0.vcpu0; the machine is lost');
  });

  test(
    'with a lock is named with what it does and holds, and so is who waits for it',
    { timeout: 60_000 },
    async () => {
      const d = first(await run(scenario(['hold'])));
      expect(d.verdict).toBe('lost');
      const detail = d.violations[0]?.detail ?? '';
      expect(detail).toContain('dom0.vcpu0 is off, in mmuext_op, waiting for nothing; holds domainLock');
      expect(detail).toContain(
        'front.vcpu1 is off, waiting for domainLock at memory+48 held by dom0.vcpu0; holds no lock',
      );
      expect(d.violations[0]?.holders).toEqual(['domainLock at memory+48']);
    },
  );

  test('while booting ends the design within its bound', { timeout: 60_000 }, async () => {
    const d = first(await run(scenario(['boot-hang'])));
    const detail = 'the control plane did not finish booting, and was terminated: the machine is lost';
    expect(d).toMatchObject({ verdict: 'lost', violations: [{ invariant: 'lost', detail, holders: [] }] });
  });

  test(
    'of which the control plane never ends loses the machine, and the next design runs',
    { timeout: 60_000 },
    async () => {
      const r = await run(scenario(['deaf-control', 'ok']), never, 3000);
      expect(r.designs.map((d) => d.verdict)).toEqual(['lost', 'clean']);
      expect(r.designs[0]?.violations[0]?.detail).toContain('the machine is lost');
    },
  );

  test('to an interrupt alone is given up after the bound', { timeout: 60_000 }, async () => {
    const stop = new AbortController();
    setTimeout(() => {
      stop.abort();
    }, 1500);
    const d = first(await run(scenario(['deaf']), stop.signal));
    expect(d.violations[0]?.detail).toMatch(/^4 of 4 vCPUs made no progress for 4 s: /);
    expect(d.notes).toEqual([]); // they answered the request to give up: no thread was terminated
  });

  test('sensibly, finishing no round for long, is given up too', { timeout: 60_000 }, async () => {
    expect(first(await run(scenario(['deaf']))).violations[0]?.detail).toContain('made no progress for 4 s');
  });
});

describe('a thread that breaks', () => {
  test('by a broken invariant ends the machine with its message', { timeout: 60_000 }, async () => {
    const d = first(await run(scenario(['bug'])));
    expect(d.verdict).toBe('error');
    expect(d.violations[0]?.detail).toBe('dom0.vcpu0: HypervisorBug: a count went below zero');
    expect(d.notes.join('\n')).toContain('fake-machine');
  });

  test('by leaving ends the machine, and the next design runs', { timeout: 60_000 }, async () => {
    const r = await run(scenario(['die', 'ok']));
    expect(r.designs.map((d) => d.verdict)).toEqual(['error', 'clean']);
    expect(r.designs[0]?.violations[0]?.detail).toBe('dom0.vcpu0: the thread ended with code 3');
  });
});
