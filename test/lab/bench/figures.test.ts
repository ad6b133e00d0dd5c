import { describe, expect, test } from 'vitest';
import { plotText } from '../../../src/cli/bench-plot.js';
import { csvReport, jsonReport, tables } from '../../../src/cli/bench-print.js';
import { crossovers, measuredNs, modelledNs, perGrant, plotsOf } from '../../../src/lab/bench/figures.js';
import { htmlReport } from '../../../src/lab/bench/html.js';
import { DEFAULT_MODEL, modelled, parseModel } from '../../../src/lab/bench/model.js';
import { machineMib, parseShare, pointsOf, type Share } from '../../../src/lab/bench/plan.js';
import { quantile, timing } from '../../../src/lab/bench/stats.js';
import { EVENT_NAMES } from '../../../src/lab/bench/tally.js';
import type { DesignPoint, TeardownReport } from '../../../src/lab/bench/teardown.js';

const share = (text: string): Share => parseShare(text)!;

describe('points', () => {
  test('a share is a number or a part of the pages', () => {
    expect(['0', '7', '1%', '12.5%', '100%'].map((t) => share(t).of(1000))).toEqual([0, 7, 10, 125, 1000]);
    expect(['', '-1', '1.5', '101%', 'x', '5 %%'].map(parseShare)).toEqual(Array(6).fill(undefined));
  });

  test('what does not fit is left out, what is the same comes once, and nothing at all is an error', () => {
    const grid = {
      pages: [8, 4],
      grants: [share('0'), share('0%'), share('6')],
      vcpus: [1, 2],
      threads: [1, 2],
      lazy: 0,
    };
    expect(pointsOf(grid).map((p) => [p.pages, p.grants, p.vcpus, p.threads])).toEqual([
      ...[4, 8].flatMap((pages) => [
        [pages, 0, 1, 1],
        ...(pages === 8 ? [[8, 6, 1, 1]] : []),
        [pages, 0, 2, 1],
        ...(pages === 8 ? [[8, 6, 2, 1]] : []),
        [pages, 0, 2, 2],
        ...(pages === 8 ? [[8, 6, 2, 2]] : []),
      ]),
    ]);
    expect(() => pointsOf({ ...grid, lazy: 2 })).toThrow('no combination');
  });

  test('a machine grows with its point and stays within what there is', () => {
    const at = (pages: number, grants: number): number =>
      machineMib({ pages, grants, share: '', vcpus: 1, threads: 1, lazy: 0 }, 'balloon', false);
    expect(at(65536, 65536)).toBeGreaterThan(at(65536, 0));
    expect(at(65536, 0)).toBeGreaterThan(at(256, 0));
    expect(at(200_000, 120_000)).toBeLessThanOrEqual(4096);
  });
});

describe('statistics', () => {
  test('quantiles lie between neighbours', () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([5], 0.99)).toBe(5);
    expect(quantile([], 0.5)).toBeNaN();
  });

  test('a tail is told only with enough rounds, a wide spread always', () => {
    const rounds = (n: number): number[] => Array.from({ length: n }, (_, i) => 100 + (i % 10));
    expect(timing(rounds(19))).toMatchObject({ p95Ns: null, p99Ns: null, wide: false });
    expect(timing(rounds(20)).p95Ns).toBeGreaterThan(100);
    expect(timing(rounds(100)).p99Ns).toBeGreaterThan(100);
    expect(timing([100, 200, 300, 400])).toMatchObject({ wide: true });
  });
});

const counted = (hypercalls: number, emulations: number): DesignPoint['counted'] => ({
  ...Object.fromEntries(EVENT_NAMES.map((n) => [n, 0])),
  hypercalls,
  emulations,
});
const design = (name: string, ns: number, calls: number, traps: number): DesignPoint => ({
  design: name,
  refused: '',
  failed: '',
  counted: counted(calls, traps),
  shape: { nL1: 4, nL2: 3, nL3: 3, stateBytes: 0 },
  leaked: 0,
  time: timing([ns]),
  contended: 0,
  bystander: null,
});
const point = { vcpus: 1, threads: 1, lazy: 0 };
const report: TeardownReport = {
  restore: 'balloon',
  complete: true,
  points: [
    {
      point: { ...point, pages: 100, grants: 0, share: '0' },
      designs: [design('a', 1000, 1, 0), design('b', 2000, 2, 0)],
    },
    {
      point: { ...point, pages: 100, grants: 50, share: '50%' },
      designs: [design('a', 9000, 1, 90), design('b', 3000, 4, 0)],
    },
    {
      point: { ...point, pages: 400, grants: 0, share: '0' },
      designs: [design('a', 4000, 1, 0), { ...design('b', 0, 0, 0), failed: 'broke, "so"', time: null }],
    },
  ],
};

describe('figures', () => {
  test('a granted page costs what the point costs more than the one without', () => {
    const p = report.points[1]!;
    expect(perGrant(report, p.point, p.designs[0]!, measuredNs)).toBe((9000 - 1000) / 50);
    expect(perGrant(report, report.points[0]!.point, report.points[0]!.designs[0]!, measuredNs)).toBeNaN();
  });

  test('lines cross where their logarithms do; nearly equal costs have no order', () => {
    const line = (design: string, ...ys: number[]) => ({
      design,
      points: ys.map((y, i) => [i, y] as const),
      margins: ys.map(() => 0),
    });
    expect(crossovers([line('a', 1, 4), line('b', 2, 2)])).toEqual([{ cheaper: 'a', dearer: 'b', at: 0.5 }]);
    expect(crossovers([line('a', 4, 1), line('b', 2, 2)])).toEqual([{ cheaper: 'b', dearer: 'a', at: 0.5 }]);
    expect(crossovers([line('a', 100, 101), line('b', 101, 100)])).toEqual([]);
    expect(crossovers([line('a', 1, 2, 3), line('b', 2, 3, 4)])).toEqual([]);
    const vague = { ...line('a', 1, 4), margins: [0, 0.8] };
    expect(crossovers([vague, line('b', 2, 2)])).toEqual([]);
  });

  test('a plot for each way through the points, without what was not measured', () => {
    const plots = plotsOf(report, measuredNs, 'cost');
    expect(plots.map((p) => [p.x, p.lines.map((l) => [l.design, l.points.length])])).toEqual([
      ['pages', [['a', 2]]],
      [
        'grants',
        [
          ['a', 2],
          ['b', 2],
        ],
      ],
    ]);
    expect(plots[1]?.crossovers).toMatchObject([{ cheaper: 'a', dearer: 'b' }]);
    const text = plotText(plots[1]!, 60);
    expect(text).toContain('A a');
    expect(text).toMatch(/below .* a is cheaper, above it b/);
    expect(Math.max(...text.split('\n').map((l) => l.length))).toBeLessThanOrEqual(90);
  });
});

describe('what is printed', () => {
  test('counted, measured and modelled stand apart; what broke is named', () => {
    const text = tables(report, DEFAULT_MODEL, Infinity);
    for (const part of ['counted (', 'measured (', 'modelled (', 'b: broke: broke, "so"', 'ISCA 2016'])
      expect(text).toContain(part);
  });

  test('JSON and CSV hold every point and design', () => {
    const json = JSON.parse(jsonReport(report, DEFAULT_MODEL)) as {
      rows: Record<string, unknown>[];
      complete: boolean;
    };
    expect(json.rows.map((r) => [r['pages'], r['grants'], r['design']])).toHaveLength(6);
    expect(json.rows[2]).toMatchObject({ design: 'a', modelledNs: 585 + 90 * 868, perGrantNs: 160 });
    const lines = csvReport(report, DEFAULT_MODEL).trimEnd().split('\n');
    expect(lines).toHaveLength(7);
    expect(lines.at(-1)).toContain('"broke, ""so"""');
    expect(new Set(lines.slice(0, 6).map((l) => l.split(',').length)).size).toBe(1);
  });

  test('the page needs nothing else, and nothing in it ends its script early', async () => {
    const plots = plotsOf(report, measuredNs, 'cost </script><b>');
    const page = await htmlReport('a <b> title', plots, 'x < y & z');
    expect(page).toContain('uplot');
    expect(page).not.toMatch(/(src|href)\s*=\s*["']?(https?:)?\/\//);
    expect(page).toContain('a &lt;b&gt; title');
    expect(page).toContain('x &lt; y &amp; z');
    expect(page.match(/<script/g)).toHaveLength(2);
    expect(page.match(/<\/script/g)).toHaveLength(2);
    const data = /id="data">(.*)<\/script>/.exec(page)?.[1] ?? '';
    expect(JSON.parse(data)).toEqual(JSON.parse(JSON.stringify(plots)));
  });
});

describe('the cost model', () => {
  test('is the sum of counts times weights', () => {
    expect(modelled(DEFAULT_MODEL, counted(3, 2))).toBe(3 * 585 + 2 * 868);
    expect(modelledNs(DEFAULT_MODEL)(report.points[2]!.point, report.points[2]!.designs[1]!)).toBeNaN();
  });

  test('a file replaces weights and names its source', () => {
    const m = parseModel('m.yaml', 'weights:\n  hypercalls: 150\n  ipis: {ns: 900, source: my box}\n');
    expect(m.hypercalls).toEqual({ ns: 150, source: 'm.yaml' });
    expect(m.ipis).toEqual({ ns: 900, source: 'my box' });
    expect(m.emulations).toBe(DEFAULT_MODEL.emulations);
  });

  test.each([
    ['weights:\n  hypercals: 1\n', 'm.yaml', 2, 3, "unknown key 'hypercals'"],
    ['weights:\n  hypercalls: -1\n', 'm.yaml', 2, 15, 'weights'],
    ['weights:\n  hypercalls: {ns: 1}\n', 'm.yaml', 2, 15, ''],
    ['weights: [1\n', 'm.yaml', 2, 1, ''],
    ['', 'm.yaml', 1, 1, ''],
    ['wieghts: {}\n', 'm.yaml', 1, 1, ''],
  ])('%j is refused at its place', (text, file, line, column, message) => {
    let error: unknown;
    try {
      parseModel('m.yaml', text);
    } catch (e) {
      error = e;
    }
    expect(error).toMatchObject({ name: 'ScenarioError', position: { file, line, column } });
    expect((error as Error).message).toContain(message);
  });
});
