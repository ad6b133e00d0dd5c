/** `explore` and `replay` as processes: threads of the controlled build, tokens, JSON, exit codes, signals. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { start, type Ended } from '../support/command.js';

const FILE = 'guests/scenarios/small/exit-revoke.yaml';
const timeout = 120_000;
const run = (...args: string[]): Promise<Ended> => start(...args).ended;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'xenolith-explore-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

interface Report {
  readonly scenario: string;
  readonly designs: readonly {
    readonly design: string;
    readonly expected: boolean;
    readonly executions: number;
    readonly exhausted: boolean;
    readonly bound: number | null;
    readonly violations: readonly { readonly invariant: string; readonly token: string; readonly vcpus: number }[];
  }[];
}

describe('explore', () => {
  test(
    'the JSON has the documented keys; what was found replays from the file and by its token, to the same trace',
    async () => {
      const r = await run('explore', FILE, '-d', 'early-unpin', '-d', 'zap-pte', '-d', 'private-union', '--json', '-q');
      expect([r.code, r.err]).toEqual([0, '']);
      const report = JSON.parse(r.out) as Report;
      expect(Object.keys(report)).toEqual(['scenario', 'designs']);
      const [leaks, right, refused] = report.designs;
      expect(Object.keys(leaks ?? {})).toEqual([
        'design', 'buggy', 'expected', 'executions', 'exhausted', 'bound', 'ratePerSecond', 'violations',
      ]); // prettier-ignore
      expect(Object.keys(leaks?.violations[0] ?? {})).toEqual([
        'invariant',
        'since',
        'token',
        'steps',
        'preemptions',
        'vcpus',
        'faults',
      ]);
      expect(leaks).toMatchObject({
        design: 'early-unpin',
        expected: true,
        violations: [{ invariant: 'I10', vcpus: 1 }],
      });
      expect(right).toMatchObject({ design: 'zap-pte', expected: true, exhausted: true, bound: 2, violations: [] });
      expect(refused).toMatchObject({ design: 'private-union', expected: true, executions: 0, exhausted: false });

      const found = join(folder, 'found.json');
      writeFileSync(found, r.out);
      const token = leaks?.violations[0]?.token ?? '';
      const [byFile, byToken] = [await run('replay', found), await run('replay', token, '--scenario', FILE)];
      expect([byFile.code, byToken.code]).toEqual([0, 0]);
      expect(byFile.out).toBe(byToken.out);
      expect(byFile.out).toContain('the same as when it was found');
      expect(byFile.out).toMatch(/\n {2}step \| dom0\.0\n/);
      expect(byFile.out).toMatch(/> exit\n/);
      expect(byFile.out).toMatch(/^I10 leaked handle/m);

      const altered = token.replace(/\.[0-9a-f]{8}(\.[\w-]+)$/, '.00000000$1');
      const other = await run('replay', altered);
      expect([other.code, other.out.includes('NOT the one it was found with')]).toEqual([1, true]);
      const code = await run('replay', token.replace(/^(x1\.[0-9a-f]{8}\.)[0-9a-f]{8}/, '$100000000'));
      expect([code.code, code.err]).toEqual([2, expect.stringContaining('--any-code')]);
      const elsewhere = await run('replay', token, '--scenario', 'guests/scenarios/small/exit-lazy.yaml');
      expect([elsewhere.code, elsewhere.err]).toEqual([
        2,
        expect.stringContaining('is not the scenario of this token'),
      ]);
    },
    timeout,
  );

  test(
    "goes on after a token's first steps, without what was left out; another design is refused",
    async () => {
      const r = await run('explore', FILE, '-d', 'early-unpin', '--json', '-q');
      const token = (JSON.parse(r.out) as Report).designs[0]?.violations[0]?.token ?? '';
      const from = await run('explore', FILE, '--from', `${token}:300`, '-n', '40', '--json', '-q');
      expect([from.code, from.err]).toEqual([0, '']);
      const [design] = (JSON.parse(from.out) as Report).designs;
      // What was left out of the token's scenario stays out.
      expect(design).toMatchObject({ design: 'early-unpin', violations: [{ invariant: 'I10', vcpus: 1 }] });
      const refused = await run('explore', FILE, '--from', token, '-d', 'zap-pte');
      expect([refused.code, refused.err]).toEqual([2, expect.stringContaining('of design early-unpin')]);
    },
    timeout,
  );

  test(
    'a design that does not do as expected makes the exit code 1',
    async () => {
      const text = readFileSync(FILE, 'utf8').replace('early-unpin: [I10]', 'early-unpin: clean');
      const file = join(folder, 'wrong.yaml');
      writeFileSync(file, text);
      const r = await run('explore', file, '-d', 'early-unpin');
      expect([r.code, r.out]).toEqual([1, expect.stringContaining('not as expected: early-unpin')]);
      expect(r.out).toContain(`--scenario ${file}`);
    },
    timeout,
  );

  test(
    'a search is gone on with from its file, and not with other flags',
    async () => {
      const stand = join(folder, 'stand.json');
      const flags = ['explore', FILE, '-d', 'notifier', '-s', 'naive', '-p', '1', '-q', '--json', '--resume', stand];
      expect((await run(...flags, '-n', '64')).code).toBe(0);
      expect(existsSync(stand)).toBe(true);
      const first = readFileSync(stand, 'utf8');
      expect((await run(...flags, '-n', '64')).code).toBe(0);
      expect(readFileSync(stand, 'utf8')).not.toBe(first);
      const other = await run('explore', FILE, '-s', 'naive', '-p', '2', '--resume', stand);
      expect([other.code, other.err]).toEqual([
        2,
        expect.stringContaining('of another scenario, strategy, bound or code'),
      ]);
    },
    timeout,
  );

  test(
    'an interrupt ends the search, and the report says that it was not to its end',
    async () => {
      const p = start('explore', FILE, '-d', 'notifier', '-s', 'random', '--time', '600');
      await p.says('executions');
      p.child.kill('SIGINT');
      const r = await p.ended;
      expect(r.code).toBe(1);
      expect(r.out).toMatch(/notifier +interrupted/);
      expect(r.out).toContain('not exhausted (stopped)');
    },
    timeout,
  );

  test('a scenario without a small section, and an unknown strategy, are refused with a hint', async () => {
    const big = await run('explore', 'guests/scenarios/teardown.yaml');
    expect([big.code, big.err]).toEqual([2, expect.stringContaining("has no 'small' section")]);
    const strategy = await run('explore', FILE, '-s', 'luck');
    expect([strategy.code, strategy.err]).toEqual([2, expect.stringContaining('bounded')]);
    const none = await run('replay', 'nothing');
    expect([none.code, none.err]).toEqual([2, expect.stringContaining('neither a token nor a file')]);
    const small = await run('run', FILE);
    expect([small.code, small.err]).toEqual([2, expect.stringContaining('xenolith explore')]);
  });
});
