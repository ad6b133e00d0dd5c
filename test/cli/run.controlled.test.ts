/**
 * The command as a process: real threads, real guests, exit codes, signals and pipes. In one project only: what runs is
 * the parallel build in both.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { start, type Ended } from '../support/command.js';

const TEARDOWN = 'guests/scenarios/teardown.yaml';
const timeout = 120_000;

const run = (...args: string[]): Promise<Ended> => start(...args).ended;

interface Report {
  readonly scenario: string;
  readonly seed: number;
  readonly designs: readonly {
    readonly design: string;
    readonly buggy: boolean;
    readonly verdict: string;
    readonly expected: boolean;
    readonly violations: readonly { readonly invariant: string; readonly holders: readonly string[] }[];
    readonly counters: Readonly<Record<string, number>>;
    readonly overlap: { readonly hypercalls: number };
  }[];
}
const reportOf = (r: Ended): Report => JSON.parse(r.out) as Report;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'xenolith-run-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const two = (vcpus: number, memory: string, machine: string): string => `name: two
description: a backend and a frontend
memory: ${machine}
domains:
  - name: dom0
    privileged: true
    memory: ${memory}
    vcpus: ${String(vcpus)}
    workloads:
      - { program: io, processes: 2, with: { peers: [front] } }
  - name: front
    memory: ${memory}
    vcpus: ${String(vcpus)}
    workloads:
      - { program: frontend, processes: 2, with: { peers: [dom0] } }
designs: [notifier, early-unpin]
`;

describe('xenolith run', () => {
  test(
    'teardown: some designs stay clean, the blind one leaks, a known-wrong one breaks; exit 0',
    { timeout },
    async () => {
      const designs = ['private-page', 'notifier-async', 'early-unpin', 'pre-post-late-buggy'];
      const r = await run(
        'run',
        TEARDOWN,
        ...designs.flatMap((d) => ['-d', d]),
        '--json',
        '--rounds',
        '40',
        '--seed',
        '5',
      );
      expect([r.code, r.err.includes('early-unpin: broken')]).toEqual([0, true]);
      const report = reportOf(r);
      expect([report.scenario, report.seed]).toEqual(['teardown', 5]);
      expect(report.designs.map((d) => [d.design, d.buggy, d.verdict, d.expected])).toEqual([
        ['private-page', false, 'clean', true],
        ['notifier-async', false, 'clean', true],
        ['early-unpin', false, 'broken', true],
        ['pre-post-late-buggy', true, 'broken', true],
      ]);
      for (const d of report.designs) {
        expect(d.counters['exitMmaps']).toBeGreaterThan(100);
        expect(d.overlap.hypercalls).toBeGreaterThan(0);
        expect(d.counters['leakedHandles']! > 0).toBe(d.verdict === 'broken');
      }
      const [leak] = report.designs[2]?.violations ?? [];
      expect(leak?.invariant).toBe('I10');
      expect(leak?.holders.join()).toMatch(/^d0 handle \d+ of d[12] ref \d+/);
    },
  );

  test('is exit 1 when a design does what its scenario does not say', { timeout }, async () => {
    const r = await run('run', file('two.yaml', two(2, '8MiB', '64MiB')), '--rounds', '20');
    expect(r.code).toBe(1);
    expect(r.out).toMatch(/^notifier +clean +yes/m);
    expect(r.out).toMatch(/^early-unpin +broken +NO +I10/m);
    expect(r.out).toContain('2 of 2 designs, not as expected: early-unpin');
    expect(r.out + r.err).not.toContain('\u001b'); // no terminal, no escapes
  });

  test('has a domain taken away whose vCPU died, and everything reclaimed', { timeout }, async () => {
    const fault = 'vcpu.dead:nth=4000,domain=front';
    const r = await run(
      'run',
      file('two.yaml', two(2, '8MiB', '64MiB')),
      '-d',
      'notifier',
      '--rounds',
      '20',
      '--fault',
      fault,
    );
    expect(r.out).toMatch(/^notifier +clean +yes/m);
    expect(r.out).toMatch(/front was destroyed: its vCPU [01] died/);
    expect(r.code).toBe(0);
  });

  test('boots and runs 16 vCPUs in 1 GiB', { timeout }, async () => {
    const r = await run(
      'run',
      file('large.yaml', two(8, '256MiB', '1GiB')),
      '-d',
      'notifier',
      '--json',
      '--rounds',
      '10',
    );
    expect(r.code).toBe(0);
    expect(reportOf(r).designs[0]?.counters['rounds']).toBe(40);
    expect(r.err).toContain('16 vCPUs, 1,024 MiB');
  });

  test('says that a machine is too small, exit 2, before anything runs', { timeout }, async () => {
    const r = await run('run', file('small.yaml', two(8, '256MiB', '64MiB')));
    expect(r.code).toBe(2);
    expect(r.err).toContain(
      "small.yaml:3:9: the domains need 512MiB\n  hint: of 64MiB, domains can have 45MiB; raise 'memory'",
    );
  });

  test('logs to a file: every design with its verdict', { timeout }, async () => {
    const log = join(folder, 'run.log');
    await run('run', file('two.yaml', two(2, '8MiB', '64MiB')), '--rounds', '5', '-q', '--log-file', log);
    const { readFileSync } = await import('node:fs');
    const lines = readFileSync(log, 'utf8')
      .trimEnd()
      .split('\n')
      .map((l) => JSON.parse(l) as { msg: string; verdict?: string });
    expect(lines.filter((l) => l.msg === 'report').map((l) => l.verdict)).toEqual(['clean', 'broken']);
  });
});

describe('an interruption', () => {
  test('ends the run in order: what ran is audited and reported, exit 1', { timeout }, async () => {
    const p = start('run', file('two.yaml', two(2, '8MiB', '64MiB')), '--duration', '100', '--json');
    await p.says(' rounds, ');
    p.child.kill('SIGINT');
    const r = await p.ended;
    expect(r.code).toBe(1);
    expect(r.err).toContain('stopping; the report of what ran follows');
    expect(reportOf(r).designs.map((d) => [d.design, d.verdict])).toEqual([['notifier', 'interrupted']]);
    expect(reportOf(r).designs[0]?.counters['rounds']).toBeGreaterThan(0);
  });

  test('made twice ends the process at once, exit 130', { timeout }, async () => {
    const p = start('run', file('two.yaml', two(2, '8MiB', '64MiB')), '--duration', '100');
    await p.says('64 MiB');
    p.child.kill('SIGINT');
    p.child.kill('SIGTERM');
    expect((await p.ended).code).toBe(130);
  });
});

test(
  'a reader that goes away ends the output, not the program: no stack, the run is judged all the same',
  { timeout },
  async () => {
    const p = start('run', file('two.yaml', two(2, '8MiB', '64MiB')), '-d', 'notifier', '--rounds', '10');
    p.child.stdout?.destroy();
    const r = await p.ended;
    expect(r.code).toBe(0);
    expect(r.err).not.toMatch(/EPIPE|at /);
  },
);
