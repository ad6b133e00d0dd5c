/** docs/teardown.md says what the benchmark says: its tables are counted again, its commands are ones that exist. */
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { main } from '../../../src/cli/program.js';
import type { Terminal } from '../../../src/cli/terminal.js';
import { BenchMachine } from '../../../src/lab/bench/machine.js';
import { DEFAULT_MODEL, modelled } from '../../../src/lab/bench/model.js';

const text = readFileSync(new URL('../../../docs/teardown.md', import.meta.url), 'utf8');
/** Larger ones take longer than a test should. */
const MOST_PAGES = 4096;

interface Row {
  readonly design: string;
  readonly pages: number;
  readonly grants: number;
  readonly hypercalls: number;
  readonly traps: number;
  readonly unmaps: number;
  readonly bytes: number | undefined;
  readonly us: number;
}

/** Rows of the tables whose first columns are design, pages, grants. */
function rows(): Row[] {
  return text.split('\n').flatMap((line) => {
    const cells = line.split('|').map((c) => c.trim());
    const [design, ...n] = [cells[1] ?? '', ...cells.slice(2, -1).map(Number)];
    const [pages = NaN, grants = NaN, hypercalls = NaN, traps = NaN, unmaps = NaN] = n;
    if (!/^[a-z]/.test(design) || Number.isNaN(unmaps)) return [];
    return [
      {
        design,
        pages,
        grants,
        hypercalls,
        traps,
        unmaps,
        bytes: n.length === 7 ? n[5] : undefined,
        us: n.at(-1) ?? NaN,
      },
    ];
  });
}

const machine = new BenchMachine(160, 'controlled');
afterAll(async () => {
  await machine.end();
});

describe('docs/teardown.md', () => {
  const counted = rows().filter((r) => r.pages <= MOST_PAGES);

  test('has tables that this test reads', () => {
    expect(counted.length).toBeGreaterThan(20);
  });

  test.each(counted)('$design, $pages pages, $grants granted', async (row) => {
    const { design, pages, grants } = row;
    const point = { pages, grants, share: '', vcpus: 1, threads: 1, lazy: 0 };
    const r = await machine.count({ design, restore: 'balloon', bystander: false, point });
    if (r.kind !== 'counted') throw new Error(JSON.stringify(r));
    const { hypercalls, emulations, grantUnmaps } = r.counted;
    expect({ hypercalls, traps: emulations, unmaps: grantUnmaps }).toEqual({
      hypercalls: row.hypercalls,
      traps: row.traps,
      unmaps: row.unmaps,
    });
    if (row.bytes !== undefined) expect(r.shape.stateBytes).toBe(row.bytes);
    expect(Number((modelled(DEFAULT_MODEL, r.counted) / 1000).toPrecision(3))).toBe(row.us);
  });

  test('names flags and designs that exist', async () => {
    const commands = [...text.matchAll(/npx xenolith (bench teardown (?:[^\n\\]|\\\n)*)/g)].map((m) => m[1] ?? '');
    expect(commands.length).toBeGreaterThan(5);
    for (const command of commands) {
      const args = command.replaceAll('\\\n', ' ').trim().split(/\s+/);
      let err = '';
      const t: Terminal = {
        out: () => undefined,
        err: (line) => (err += line),
        status: () => undefined,
        columns: Infinity,
        colour: false,
        live: false,
      };
      // A model that is not there: everything else is looked at first.
      expect([command, await main([...args, '--model', 'no-such-file.yaml'], t)]).toEqual([command, 2]);
      expect(err).toContain('the cost model cannot be read');
    }
  });
});
