/**
 * How fault injection is told: the list of sites, the matrix of a sweep, the story of one run. Pure.
 *
 * Invariant: a cell of the matrix shows the worst that any occurrence ended as; nothing bad is without its sentence.
 */
import type { DesignExecution, InjectReport, MatrixCell } from '../lab/inject/inject.js';
import { isGood, worse, type OutcomeName } from '../lab/inject/outcome.js';
import { allSites, answers, siteAbout } from '../lab/inject/spec.js';
import { block, count, table, wrap, type Column } from './table.js';

export function jsonSites(): string {
  const sites = allSites().map((site) => ({ site, ...siteAbout(site) }));
  return `${JSON.stringify({ sites }, null, 2)}\n`;
}

export function siteList(width: number): string {
  const columns = [{ title: 'site' }, { title: 'can return' }, { title: 'where' }];
  const rows = allSites().map((site) => [site, answers(site), siteAbout(site).about]);
  const lines = table(columns, rows, width) ?? rows.flatMap((r) => [...block(columns, r), '']);
  return `${lines.join('\n')}\n`;
}

/** The documented JSON of an injection. */
export function jsonInject(r: InjectReport): string {
  const matrix = r.matrix.map(({ design, buggy, expected, site, occurrence, outcome, token, leaked, necessary }) => ({
    design,
    buggy,
    expected,
    site: occurrence === 0 ? null : site,
    occurrence,
    outcome,
    token,
    leaked,
    necessary,
  }));
  const { scenario, sites, injected, executions, unreached, missed, refused, runs, whole } = r;
  const report = { scenario, sites, injected, executions, matrix, unreached, missed, refused, runs, complete: whole };
  return `${JSON.stringify(report, null, 2)}\n`;
}

const LETTER: Readonly<Record<OutcomeName, string>> = {
  'not exercised': '.',
  clean: 'c',
  degraded: 'd',
  leaked: 'L',
  hung: 'H',
  crashed: 'P',
  corrupted: 'X',
};
const LEGEND =
  'c clean, d degraded (a named holder will release it), L leaked, H hung, P domain crashed, X corrupted, . not met; ! unexpected';

export function humanInject(r: InjectReport, width: number): string {
  const out: string[] = [];
  if (r.runs.length > 0) out.push(...r.runs.flatMap((e) => story(e, width)));
  if (r.matrix.length > 0) out.push(...matrixLines(r, width), '', ...badCells(r.matrix, width));
  for (const { design, why } of r.refused) out.push(...wrap(`${design} refused: ${why}`, width, ''));
  if (r.unreached.length > 0) out.push(...wrap(`never reached: ${r.unreached.join(', ')}`, width, ''));
  for (const m of r.missed) out.push(`expected and not found: ${m}`);
  const unexpected = [...r.matrix, ...r.runs].filter((c) => !c.expected).length;
  out.push(
    `${count(r.injected)} faults injected in ${count(r.executions)} executions, ${count(unexpected)} cells not as expected${r.whole ? '' : '; interrupted'}`,
  );
  return `${out.join('\n')}\n`;
}

/** Designs down, sites across, by number. */
function matrixLines(r: InjectReport, width: number): string[] {
  const sites = r.sites.filter((s) => !r.unreached.includes(s));
  const columns: Column[] = [
    { title: 'design' },
    { title: 'none' },
    ...sites.map((_, i) => ({ title: String(i + 1), right: true })),
  ];
  const designs = [...new Set(r.matrix.map((c) => c.design))];
  const rows = designs.map((design) => {
    const mine = r.matrix.filter((c) => c.design === design);
    return [
      design,
      letters(mine.filter((c) => c.occurrence === 0)),
      ...sites.map((site) => letters(mine.filter((c) => c.site === site && c.occurrence > 0))),
    ];
  });
  const lines = table(columns, rows, width) ?? rows.flatMap((row) => [...block(columns, row), '']);
  const names = sites.map((s, i) => `${String(i + 1)} ${s}`).join(', ');
  return [...lines, '', ...wrap(names, width, ''), ...wrap(LEGEND, width, '')];
}

/** The worst outcome, and a mark when any cell is not expected. */
function letters(cells: readonly MatrixCell[]): string {
  const worst = cells.reduce<OutcomeName>((w, c) => worse(w, c.outcome), 'not exercised');
  return LETTER[worst] + (cells.some((c) => !c.expected) ? '!' : '');
}

/** Of each design and site that ended badly: the first such run, and how many more. */
function badCells(matrix: readonly MatrixCell[], width: number): string[] {
  const out: string[] = [];
  const groups = new Map<string, MatrixCell[]>();
  for (const c of matrix) {
    if (isGood(c.outcome)) continue;
    const key = `${c.design} ${c.occurrence === 0 ? 'no fault' : c.site} ${c.outcome}`;
    groups.set(key, [...(groups.get(key) ?? []), c]);
  }
  for (const [key, cells] of groups) {
    const [first] = cells;
    if (first === undefined) continue;
    const more = cells.length > 1 ? ` (and ${String(cells.length - 1)} more)` : '';
    const needed = first.necessary.length > 0 ? `; necessary: ${first.necessary.join(' ')}` : '';
    out.push(...wrap(`${first.expected ? '' : '! '}${key}: ${first.token}${more}${needed}`, width, ''));
    out.push(...first.leaked.slice(0, 1).flatMap((why) => wrap(why, width, '    ')));
  }
  return out.length === 0 ? [] : [...out, ''];
}

function story(e: DesignExecution, width: number): string[] {
  const met = e.faults.map((f) => `${String(f.hits)} of ${String(f.seen)}`).join(', ');
  const deaths = e.deaths.length === 0 ? '' : `; destroyed: ${[...new Set(e.deaths)].join(', ')}`;
  return [`${e.design}: ${e.outcome} (injected ${met}${deaths})`, ...e.why.flatMap((w) => wrap(w, width, '    '))];
}
