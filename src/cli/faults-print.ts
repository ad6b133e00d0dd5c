/**
 * How a campaign of faults is told: what was injected where, what each design made of it, and whatever is not as expected.
 * Pure.
 *
 * Invariant: a failure has the command that shows it again; a site that nobody reached has its name here.
 */
import type { FaultsReport, FaultsRow } from '../lab/faults/campaign.js';
import { addTo } from '../lab/faults/thread.js';
import { allSites } from '../lab/inject/spec.js';
import type { SmallBuild } from '../lab/small/job.js';
import { OUTCOMES, type OutcomeName } from '../scenario/schema.js';
import { block, count, table, wrap, type Column } from './table.js';

const SHOWN = 10;
const LOST_FRAME = /pages? of|frames?\b/;
const LOST_GRANT = /handle|grant entry/;

export function humanFaults(r: FaultsReport, seconds: number, width: number): string {
  const out = [...siteLines(r, width), '', ...designLines(r, width), ''];
  if (r.unreached.length > 0) out.push(...wrap(`never injected: ${r.unreached.join(', ')}`, width, ''), '');
  for (const x of r.rows) out.push(...failures(x, width));
  out.push(...wrap(summary(r, seconds), width, ''));
  return `${out.join('\n')}\n`;
}

function laid(columns: readonly Column[], rows: string[][], width: number): string[] {
  return table(columns, rows, width) ?? rows.flatMap((row) => [...block(columns, row, width), '']);
}

function siteLines(r: FaultsReport, width: number): string[] {
  const columns = [{ title: 'site' }, { title: 'controlled', right: true }, { title: 'parallel', right: true }];
  const of = (b: SmallBuild, site: (typeof r.unreached)[number]): string => count(r.sites[b][site] ?? 0);
  const rows = allSites()
    .filter((s) => !r.unreached.includes(s))
    .map((s) => [s, of('controlled', s), of('parallel', s)]);
  return laid(columns, rows, width);
}

function designLines(r: FaultsReport, width: number): string[] {
  const designs = [...new Set(r.rows.map((x) => x.design))];
  const columns = [
    { title: 'design' },
    { title: 'faults', right: true },
    ...OUTCOMES.map((o) => ({ title: o, right: true })),
    { title: 'unexpected', right: true },
  ];
  const rows = designs.map((design) => {
    const mine = r.rows.filter((x) => x.design === design);
    const sum = (f: (x: FaultsRow) => number): string => count(mine.reduce((n, x) => n + f(x), 0));
    const outcomes = mine.reduce<Partial<Record<OutcomeName, number>>>((a, x) => addTo(a, x.outcomes), {});
    return [design, sum((x) => x.injected), ...OUTCOMES.map((o) => count(outcomes[o] ?? 0)), sum((x) => x.unexpected)];
  });
  return laid(columns, rows, width);
}

function failures(x: FaultsRow, width: number): string[] {
  const name = `${x.scenario} under ${x.design}, ${x.build}`;
  if (x.lost !== '') return wrap(`${name}, seeds from ${String(x.seed)}: NO VERDICT: ${x.lost}`, width, '');
  if (x.refused !== '') return wrap(`${name} refuses: ${x.refused}`, width, '');
  const out = x.failures.flatMap((f) => [
    ...wrap(`! ${name}, seed ${String(f.seed)}: ${f.outcome}`, width, ''),
    ...f.wrong.slice(0, SHOWN).flatMap((w) => wrap(w, width, '    ')),
    ...wrap(`faults: ${f.faults.join(' ')}`, width, '    '),
    ...(x.long ? [] : wrap(again(x, f.seed), width, '    ')),
  ]);
  const more = x.unexpected - x.failures.length;
  return more > 0 ? [...out, `  ${name}: and ${count(more)} more`] : out;
}

const again = (x: FaultsRow, seed: number): string =>
  `again${x.build === 'parallel' ? ', as far as threads repeat themselves' : ''}: xenolith faults guests/scenarios/faults/${x.scenario}.yaml -d ${x.design} --build ${x.build} --seed ${String(seed)} --executions 1`;

function summary(r: FaultsReport, seconds: number): string {
  const all = r.rows.flatMap((x) => x.failures);
  const has = (p: RegExp): string => count(all.filter((f) => f.wrong.some((w) => p.test(w))).length);
  const hung = count(all.filter((f) => f.outcome === 'hung').length);
  const bad =
    r.unexpected === 0
      ? 'no lost frame, no lost grant, no hang, no broken invariant that was not expected'
      : `not as expected: ${count(r.unexpected)} executions; of those shown ${has(LOST_FRAME)} with lost frames, ${has(LOST_GRANT)} with lost grants, ${hung} hung`;
  const part = r.complete ? '' : `; asked for ${count(r.asked)}`;
  return `${count(r.injected)} faults in ${count(r.executions)} executions, ${count(r.takenDown)} taken down to the last frame, ${count(seconds)} s: ${bad}${part}`;
}
