import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { explain } from '../../src/cli/exit.js';
import { main } from '../../src/cli/program.js';
import type { Terminal } from '../../src/cli/terminal.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'xenolith-cli-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

async function cli(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const t: Terminal = {
    out: (text) => (out += text),
    err: (line) => (err += `${line}\n`),
    status: () => undefined,
    columns: Infinity,
    colour: false,
    live: false,
  };
  return { code: await main(args, t), out, err };
}

function file(name: string, text: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe('a usage error is exit 2, on stderr, with a hint', () => {
  test.each([
    [['bogus'], 'unknown command'],
    [['schem'], 'Did you mean schema?'],
    [['run'], "missing required argument 'file'"],
    [['run', 'x.yaml', '--rounds', 'many'], 'a whole number from 1 to'],
    [['run', 'x.yaml', '--rounds', '-1'], 'a whole number'],
    [['run', 'x.yaml', '--seed', '1e3'], 'a whole number'],
    [['run', 'x.yaml', '--rounds', '2', '--duration', '2'], 'cannot be used with'],
    [['run', 'x.yaml', '--colour'], 'unknown option'],
    [['run', 'x.yaml', '--log-level', 'loud'], 'Allowed choices are'],
    [['fuzz', '--build', 'neither'], 'Allowed choices are'],
    [['fuzz', '--vcpus', '7'], 'a whole number from 1 to 6'],
    [['fuzz', '--calls', 'many'], 'a whole number from 1'],
    [['run', 'no-such-file.yaml'], 'shipped scenarios are in guests/scenarios'],
    [['run', 'a.yaml', 'b.yaml'], 'too many arguments'],
    [['bench'], 'Commands:'],
    [['bench', 'teardown', '--pages', '0'], 'a whole number from 1'],
    [['bench', 'teardown', '--grants', '200%'], 'a share like 10%'],
    [['bench', 'teardown', '--designs', 'notifer'], "there is no design 'notifer'"],
    [['bench', 'teardown', '--lazy', '1'], 'no combination'],
    [['bench', 'teardown', '--model', 'no-such-file.yaml'], 'the cost model cannot be read'],
    [['bench', 'teardown', '--json', '--csv'], 'cannot be used with'],
    [['bench', 'teardown', '--html', 'no-such-folder/cost.html'], 'cost.html cannot be written'],
    [['explore', 'guests/scenarios/teardown.yaml'], "has no 'small' section"],
    [
      ['explore', 'guests/scenarios/small/exit-lazy.yaml', '--resume', 'no-such-folder/stand'],
      'stand cannot be written',
    ],
    [['explore', 'guests/scenarios/small/exit-lazy.yaml', '--resume', 'guests'], 'it is a folder'],
  ])('%j', async (args, message) => {
    const r = await cli(...args);
    expect(r.code).toBe(2);
    expect(r.err).toContain(message);
    expect(r.out).toBe('');
  });

  test('a log file that cannot be written', async () => {
    const r = await cli('run', 'x.yaml', '--log-file', join(folder, 'no', 'such', 'folder.log'));
    expect(r).toMatchObject({ code: 2, out: '' });
    expect(r.err).toContain('hint: name a file in an existing folder');
  });
});

describe('help', () => {
  test('shows the default of a list as it would be typed', async () => {
    const { out } = await cli('bench', 'teardown', '--help');
    expect(out.replace(/\s+/g, ' ')).toContain('(default: 0,1,10%,50%,100%)');
    expect(out).toContain('(default: 256,4096)');
  });

  test('goes to stdout with examples, exit 0', async () => {
    for (const args of [['--help'], ['run', '--help'], ['validate', '--help'], ['soak', '--help'], ['help', 'run']]) {
      const r = await cli(...args);
      expect(r.code).toBe(0);
      expect(r.out).toContain('$ xenolith ');
      expect(r.err).toBe('');
    }
  });

  test('--version is the package version', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect(await cli('--version')).toEqual({ code: 0, out: `${version}\n`, err: '' });
  });
});

describe('validate', () => {
  test('tells every problem of a file with its place, exit 2', async () => {
    const path = file('bad.yaml', 'name: bad\nmemry: 1MiB\nseed: x\n');
    const r = await cli('validate', path);
    expect(r.code).toBe(2);
    expect(r.err).toContain(`${path}:2:1: unknown key 'memry'\n  hint: did you mean 'memory'?`);
    expect(r.err).toContain(`${path}:3:7: seed: expected a number, found 'x'`);
  });

  test('looks at every file, and the worst decides', async () => {
    const r = await cli('validate', 'no-such-file.yaml', file('empty.yaml', ''));
    expect(r.code).toBe(2);
    expect(r.err).toContain('no-such-file.yaml: no such file');
    expect(r.err).toContain('empty.yaml:1:1: the file holds no scenario');
  });

  test('refuses a folder, text that is not UTF-8, and a file without end', async () => {
    expect((await cli('run', folder)).err).toContain('is a directory');
    mkdirSync(join(folder, 'none'));
    expect(await cli('validate', join(folder, 'none'))).toMatchObject({
      code: 2,
      err: expect.stringContaining('no scenario lies in the folder') as string,
    });
    expect((await cli('validate', file('latin.yaml', new Uint8Array([0x6e, 0xe9])))).err).toContain(
      'is not UTF-8 text',
    );
    expect((await cli('validate', file('huge.yaml', '#'.repeat((1 << 20) + 1)))).err).toContain(
      'larger than a scenario can be',
    );
  });
});

test('an error of ours is exit 3 with its stack, a mistake of the user exit 2', () => {
  const ours = explain(new TypeError('oops'));
  expect(ours.code).toBe(3);
  expect(ours.text).toMatch(/^internal error: TypeError: oops\n +at /);
});

test('schema prints a JSON Schema of draft 7 that knows the top-level keys', async () => {
  const r = await cli('schema');
  const schema = JSON.parse(r.out) as { $schema: string; properties: object; additionalProperties: unknown };
  expect(r.code).toBe(0);
  expect(schema.$schema).toContain('draft-07');
  expect(Object.keys(schema.properties)).toContain('domains');
  expect(schema.additionalProperties).toBe(false);
});

describe('fuzz', () => {
  test('reports both builds, for people and as JSON', async () => {
    const text = await cli('fuzz', '--calls', '500', '--seed', '3');
    expect(text).toMatchObject({ code: 0, err: '' });
    for (const build of ['controlled', 'parallel']) {
      expect(text.out).toMatch(new RegExp(`^${build}: [\\d,]+ hypercalls in \\d+ episodes \\(seeds 3 to \\d+\\)`, 'm'));
    }
    const json = await cli(
      'fuzz',
      '--calls',
      '500',
      '--seed',
      '3',
      '--build',
      'controlled',
      '--noise',
      '255',
      '--json',
    );
    expect(json.code).toBe(0);
    expect(JSON.parse(json.out)).toMatchObject([{ build: 'controlled', seed: 3, complete: true, forgotten: 0 }]);
  }, 60_000);
});
