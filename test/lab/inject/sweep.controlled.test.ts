/** The sweep itself, in its threads: which cells, in which order, the same every time. */
import { describe, expect, it } from 'vitest';
import { loadCatalog } from '../../../src/lab/catalog.js';
import { isExpected } from '../../../src/lab/inject/expected.js';
import { inject, type InjectReport } from '../../../src/lab/inject/inject.js';
import { parseFault } from '../../../src/lab/inject/spec.js';
import type { InjectJob } from '../../../src/lab/inject/thread.js';
import { readScenario } from '../../../src/lab/scenario-file.js';

const catalog = loadCatalog();
const scenario = readScenario('guests/scenarios/faults/busy.yaml', catalog);

const run = (
  designs: string[],
  sweep: InjectJob['sweep'],
  faults: string[] = [],
  of = scenario,
): Promise<InjectReport> =>
  inject([{ ...of, designs }], {
    catalog,
    faults: faults.map(parseFault),
    sweep,
    workers: 1,
    stop: new AbortController().signal,
    onProgress: () => undefined,
  });
const over = (sites: NonNullable<InjectJob['sweep']>['sites'], pairs = false): InjectJob['sweep'] => ({
  sites,
  pairs,
  answers: false,
  persistent: false,
  most: 50,
});

describe('a sweep', () => {
  it('goes from the first occurrence to the last, the same way every time; merged code leaks, the split design does not', async () => {
    const r = await run(['notifier', 'notifier-split'], over(['gnttab.unmap', 'gnttab.copy']));
    const cells = (d: string): [number, string][] =>
      r.matrix
        .filter((c) => c.design === d && c.site === 'gnttab.unmap' && c.occurrence > 0)
        .map((c) => [c.occurrence, c.outcome]);
    expect(cells('notifier').map(([n]) => n)).toEqual([1, 2, 3, 4]);
    expect(cells('notifier').every(([, o]) => o === 'leaked')).toBe(true);
    expect(cells('notifier-split').length).toBeGreaterThan(3);
    expect(new Set(cells('notifier-split').map(([, o]) => o))).toEqual(new Set(['clean']));
    expect(r.matrix.every((c) => c.expected)).toBe(true);
    expect(r.unreached).toEqual(['gnttab.copy']);
    expect(await run(['notifier', 'notifier-split'], over(['gnttab.unmap', 'gnttab.copy']))).toEqual(r);
  });

  it('with pairs says which of two faults was necessary', async () => {
    const r = await run(['notifier-split-free-buggy'], over(['gnttab.unmap'], true));
    const bad = r.matrix.filter((c) => c.outcome === 'corrupted' && c.token.includes(' '));
    expect(bad.length).toBeGreaterThan(0);
    for (const c of bad) for (const n of c.necessary) expect(c.token.split(' ')).toContain(n);
  });

  it('has everything of a domain that dies reclaimed, wherever it dies', async () => {
    const r = await run(['notifier-split', 'private-page'], over(['vcpu.dead', 'domain.destroy']));
    const outcomes = r.matrix.filter((c) => c.occurrence > 0).map((c) => c.outcome);
    expect(outcomes.length).toBeGreaterThan(100);
    expect(new Set(outcomes)).toEqual(new Set(['clean']));
  });
});

it.each<[string, NonNullable<InjectJob['sweep']>['sites']]>([
  ['balloon', ['memory_op', 'page.alloc', 'memory.late']],
  ['replace', ['gnttab.unmap_and_replace']],
  ['transfer', ['gnttab.transfer']],
  ['flush', ['flush.late']],
  ['backend', ['gnttab.copy', 'event.lost', 'event.duplicated', 'event.late']],
])('%s.yaml reaches %j, and nothing is lost there', async (name, sites) => {
  const of = readScenario(`guests/scenarios/faults/${name}.yaml`, catalog);
  const r = await run(['private-page', 'notifier-split'], over(sites), [], of);
  expect(r.unreached).toEqual([]);
  expect(r.injected).toBeGreaterThan(sites.length);
  expect(new Set(r.matrix.map((c) => c.outcome))).toEqual(new Set(['clean']));
});

it('one execution with one fault is told by itself', async () => {
  const r = await run(['notifier'], undefined, ['gnttab.unmap:nth=1']);
  expect(r.runs).toMatchObject([{ design: 'notifier', outcome: 'leaked', faults: [{ hits: 1 }] }]);
  expect(r.runs[0]?.why[0]).toMatch(
    /no driver knows the handle any more; since event of the setup \d+ of dom0\.0: grantMap gref=\d+ handle=\d+, in grant_table_op/,
  );
});

it('what is refused for good is degraded where a named holder keeps it, and leaked as merged', async () => {
  const lasting = { ...over(['gnttab.unmap'])!, persistent: true };
  const r = await run(['notifier', 'notifier-split'], lasting);
  const of = (d: string): readonly string[] => [
    ...new Set(r.matrix.filter((c) => c.design === d && c.occurrence > 0).map((c) => c.outcome)),
  ];
  expect(of('notifier')).toContain('leaked');
  expect(of('notifier-split').filter((o) => o !== 'not exercised')).toEqual(['degraded']);
  const held = r.matrix.find((c) => c.design === 'notifier-split' && c.outcome === 'degraded')?.leaked.join('\n');
  expect(held).toMatch(/handle \d+: gntdev, given up .* when another map goes; since event/);
  expect(r.matrix.every((c) => c.expected)).toBe(true);
});

it('a cell that is better than expected is reported, as one that is worse is', async () => {
  const rosy = { ...scenario, sweep: { expect: { notifier: { 'gnttab.unmap': ['hung' as const] } }, persistent: {} } };
  const r = await run(['notifier'], over(['gnttab.unmap']), [], rosy);
  expect(r.matrix.filter((c) => !c.expected).map((c) => c.outcome)).toContain('leaked');
  expect(r.missed).toEqual(['busy under notifier: no gnttab.unmap ended hung']);
});

it('notifier-split lets a table go whose last entry the deferred unmap got rid of', async () => {
  const r = await run(['notifier-split'], undefined, ['gnttab.unmap:interval=1,after=1,times=3']);
  expect(r.runs).toMatchObject([{ outcome: 'clean', faults: [{ hits: 3 }] }]);
});

it('a bug of the machine is expected of no design, whatever is said of the cell', async () => {
  const r = await run(['notifier'], over(['gnttab.unmap']));
  const asked = { scenario, design: 'notifier', persistent: false };
  const cell = r.matrix.find((c) => c.outcome === 'leaked');
  if (cell === undefined) throw new Error('no cell leaked');
  expect(isExpected(asked, cell)).toBe(true);
  expect(isExpected(asked, { ...cell, bug: 'a lock was not held' })).toBe(false);
});
