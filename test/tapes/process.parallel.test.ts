/** The conform command as a process: memory, signals, pipes. In one project only: the process runs both builds. */
import { createWriteStream, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConformReport } from '../../src/lab/tape/report.js';
import { start, startWith } from '../support/command.js';
import { FAMILIES, tapeFile } from './data.js';

const MIB = 1024 * 1024;
const folder = mkdtempSync(join(tmpdir(), 'conform-process-'));
const large = join(folder, 'large.jsonl');

const WANTED = 'directed-pin-empty-l2';

/** All tapes over and over, more than a hundred megabytes, some spoiled; answers how many are the wanted one. */
async function writeLarge(): Promise<number> {
  const lines = FAMILIES.flatMap((f) => gunzipSync(readFileSync(tapeFile(f))).toString().trim().split('\n')); // prettier-ignore
  const out = createWriteStream(large);
  let wanted = 0;
  for (let n = 0, written = 0; written < 105 * MIB; n++) {
    const text = `${(lines[n % lines.length] ?? '').replace('"rc":-16', '"rc":-15')}\n`;
    written += text.length;
    if (text.includes(`"id":"${WANTED}"`)) wanted++;
    if (!out.write(text)) await once(out, 'drain');
  }
  out.end();
  await once(out, 'close');
  return wanted;
}

let wanted = 0;
beforeAll(async () => {
  wanted = await writeLarge();
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('a file of more than a hundred megabytes', () => {
  test('is read with little memory, to its last line', async () => {
    expect(statSync(large).size).toBeGreaterThan(100 * MIB);
    const rss = `process.on('exit', () => console.error('rss', process.resourceUsage().maxRSS));`;
    const node = ['--max-old-space-size=64', '--import', `data:text/javascript,${encodeURIComponent(rss)}`];
    const args = ['--tape', WANTED, '-q', '--json', '--build', 'parallel', '--threads', '1'];
    const r = await startWith(node, ['conform', large, ...args]).ended;
    const report = JSON.parse(r.out) as ConformReport;
    expect(wanted).toBeGreaterThan(10);
    expect([r.code, report.tapes, report.different]).toEqual([1, wanted, wanted]);
    const kib = Number(/^rss (\d+)$/m.exec(r.err)?.[1]);
    expect(kib * 1024).toBeGreaterThan(32 * MIB);
    expect(kib * 1024).toBeLessThan(256 * MIB);
  });

  test('is left at Ctrl-C, with the report of what was replayed', async () => {
    const p = start('conform', large, '--json');
    await p.says('tapes, ');
    p.child.kill('SIGINT');
    const r = await p.ended;
    expect([r.code, r.signal]).toEqual([1, null]);
    expect(r.err).toContain('stopping; the report of what ran follows');
    const report = JSON.parse(r.out) as ConformReport & { complete: boolean };
    expect(report.complete).toBe(false);
    expect(report.tapes).toBeGreaterThan(0);
    expect(report.firstDifferences).toHaveLength(report.different);
  });

  test('is left without a word when the reader of the results has gone', async () => {
    const p = start('conform', large, '-q');
    p.child.stdout?.once('data', () => p.child.stdout?.destroy());
    const r = await p.ended;
    expect([r.code, r.signal, r.err]).toEqual([1, null, '']);
    expect(r.out).toContain('expected -15');
  });
});
