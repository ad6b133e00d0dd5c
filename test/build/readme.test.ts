/** What the README shows of the tool is what the tool prints; `npm run readme` writes it anew. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as readme from '../../build/readme.mjs';

const text = readFileSync('README.md', 'utf8');
const catalog = JSON.parse(readFileSync('guests/catalog.json', 'utf8')) as { designs: { name: string }[] };

interface Report {
  readonly missed: readonly string[];
  readonly matrix: readonly { design: string; site: string | null; outcome: string; expected: boolean }[];
}
const WORST = ['not exercised', 'clean', 'degraded', 'leaked', 'hung', 'crashed', 'corrupted'];
const LETTERS = '.cdLHPX';

/** The cells of these designs at these sites, as a sweep finds them. */
async function swept(args: readonly string[], designs: readonly string[]): Promise<Map<string, Map<string, string>>> {
  const r = JSON.parse(await readme.xenolith([...args, ...designs.flatMap((d) => ['-d', d]), '--json'])) as Report;
  expect(r.matrix.filter((c) => !c.expected)).toEqual([]);
  expect(r.missed).toEqual([]);
  const out = new Map<string, Map<string, string>>();
  for (const { design, site, outcome } of r.matrix) {
    const row = out.get(design) ?? new Map<string, string>();
    const before = LETTERS.indexOf(row.get(site ?? 'none') ?? '.');
    out.set(design, row.set(site ?? 'none', LETTERS.charAt(Math.max(before, WORST.indexOf(outcome)))));
  }
  return out;
}

/** Without what names a version of the code: hashes, and where in memory a record lies. */
const comparable = (line: string): string =>
  line.replace(/trace [0-9a-f]{8}/, 'trace').replace(/x1\.[0-9a-f]{8}/, 'x1').replace(/arena\+0x[0-9a-f]+ \(chunk \d+\) */, 'arena'); // prettier-ignore

describe('the README', () => {
  it('shows the counterexample that is found, shrunk and replayed today', async () => {
    const shown = readme.blockOf(text, readme.COMMANDS.counterexample).lines.map(comparable);
    expect(shown).toEqual((await readme.counterexample()).map(comparable));
  });

  it.each([
    ['sweep', readme.SWEEP, ['early-unpin', 'notifier', 'zap-pte-cleared-buggy']],
    ['lasting', readme.LASTING, ['notifier', 'notifier-split-free-buggy']],
  ] as const)('shows the matrix of a %s', async (name, args, designs) => {
    const shown = readme.rowsOf(readme.blockOf(text, readme.COMMANDS[name]).lines);
    const all = catalog.designs.map((d) => d.name).filter((d) => d !== 'private-union');
    expect([...shown.keys()]).toEqual(expect.arrayContaining(all));
    expect(shown.size).toBe(all.length);
    const found = await swept(args, designs);
    for (const d of designs) {
      const cells = [...(shown.get(d) ?? [])];
      expect(cells.length).toBeGreaterThan(20);
      expect([d, cells.map(([site, c]) => [site, c])]).toEqual([
        d,
        cells.map(([site]) => [site, found.get(d)?.get(site)]),
      ]);
    }
  });
});
