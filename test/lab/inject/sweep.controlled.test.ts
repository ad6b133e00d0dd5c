/** The sweep itself, in its threads: which cells, in which order, the same every time. */
import { describe, expect, it } from 'vitest';
import { loadCatalog } from '../../../src/lab/catalog.js';
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
  expect(r.runs[0]?.why[0]).toMatch(/no driver knows the handle/);
});

it('notifier-split lets a table go whose last entry the deferred unmap got rid of', async () => {
  const r = await run(['notifier-split'], undefined, ['gnttab.unmap:interval=1,after=1,times=3']);
  expect(r.runs).toMatchObject([{ outcome: 'clean', faults: [{ hits: 3 }] }]);
});
