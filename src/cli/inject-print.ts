/**
 * How fault injection is told: the list of sites, the matrix of a sweep, the story of one run. Pure.
 *
 * Invariant: a cell of the matrix shows the worst that any occurrence ended as; nothing bad is without its sentence.
 */
import type { DesignExecution, InjectReport, MatrixCell } from '../lab/inject/inject.js';
import { isGood, OUTCOMES, worse, type OutcomeName } from '../lab/inject/outcome.js';
import { allSites, answers, siteAbout } from '../lab/inject/spec.js';
import { block, count, table, wrap, type Column } from './table.js';

export function jsonSites(): string {
  const sites = allSites().map((site) => ({ site, ...siteAbout(site) }));
  return `${JSON.stringify({ sites }, null, 2)}\n`;
}

export function siteList(width: number): string {
  const columns = [{ title: 'site' }, { title: 'can return' }, { title: 'where' }];
  const rows = allSites().map((site) => [site, answers(site), siteAbout(site).about]);
  const lines = table(columns, rows, width) ?? rows.flatMap((r) => [...block(columns, r, width), '']);
  return `${lines.join('\n')}\n`;
}

/** The documented JSON of an injection. */
export function jsonInject(r: InjectReport): string {
  const matrix = r.matrix.map((c) => {
    const { scenario, design, buggy, expected, site, occurrence, outcome, token, leaked, necessary } = c;
    const where = { scenario, design, buggy, expected, site: occurrence === 0 ? null : site, occurrence };
    return { ...where, outcome, token, leaked, necessary };
  });
  const { scenarios, sites, persistent, injected, executions, unreached, missed, refused, runs, whole } = r;
  const head = { scenarios, sites, persistent, injected, executions };
  return `${JSON.stringify({ ...head, matrix, unreached, missed, refused, runs, complete: whole }, null, 2)}\n`;
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
const LEGEND = [
  'c clean',
  'd degraded (a named holder will release it)',
  'L leaked',
  'H hung',
  'P domain crashed',
  'X corrupted',
  '. not met',
  '* a known-wrong design is caught',
  '! unexpected',
];

export function humanInject(r: InjectReport, width: number): string {
  const out: string[] = [];
  out.push(...r.runs.flatMap((e) => story(e, r.scenarios.length > 1, width)));
  if (r.matrix.length > 0) out.push(...matrixLines(r, width), '', ...badCells(r.matrix, width));
  for (const { design, scenario, why } of r.refused) {
    out.push(...wrap(`${design} refused${r.scenarios.length > 1 ? ` ${scenario}` : ''}: ${why}`, width, ''));
  }
  if (r.unreached.length > 0) out.push(...wrap(`never reached: ${r.unreached.join(', ')}`, width, ''));
  for (const m of r.missed) out.push(...wrap(`! better than expected: ${m}`, width, ''));
  const unexpected = [...r.matrix, ...r.runs].filter((c) => !c.expected).length + r.missed.length;
  const line = `${count(r.injected)} faults injected in ${count(r.executions)} executions, ${count(unexpected)} not as expected${r.whole ? '' : '; interrupted'}`;
  out.push(...wrap(line, width, ''));
  return `${out.join('\n')}\n`;
}

/** Designs down, sites across, by number; as many tables as the width needs. */
function matrixLines(r: InjectReport, width: number): string[] {
  const sites = r.sites.filter((s) => !r.unreached.includes(s));
  const designs = [...new Set(r.matrix.map((c) => c.design))];
  const columns = ['0', ...sites.map((_, i) => String(i + 1))].map((title): Column => ({ title }));
  const rows = designs.map((design) => {
    const mine = r.matrix.filter((c) => c.design === design);
    const bare = mine.filter((c) => c.occurrence === 0);
    const at = (site: MatrixCell['site']): string =>
      letters(mine.filter((c) => isAt(c, site)), worse(worst(bare), usualOfRight(r.matrix, site))); // prettier-ignore
    return [letters(bare, 'degraded'), ...sites.map(at)];
  });
  const room = width - Math.max(...designs.map((d) => d.length));
  const fit = Math.max(1, Math.min(columns.length, Math.floor(room / CELL)));
  const lines: string[] = [];
  for (let from = 0; from < columns.length; from += fit) {
    const some = rows.map((row, i) => [designs[i] ?? '', ...row.slice(from, from + fit)]);
    const titles = [{ title: 'design' }, ...columns.slice(from, from + fit)];
    lines.push(...(from > 0 ? [''] : []), ...(table(titles, some, Infinity, 1) ?? []));
  }
  const names = ['no fault', ...sites].map((s, i) => `${String(i)} ${s}`);
  return [...lines, '', ...wrapItems(names, ', ', width), ...wrapItems(LEGEND, ', ', width)];
}

/** A cell, its mark, and the gap before it. */
const CELL = 3;

/** What most right designs come to at the site. */
function usualOfRight(matrix: readonly MatrixCell[], site: MatrixCell['site']): OutcomeName {
  const right = [...new Set(matrix.filter((c) => !c.buggy).map((c) => c.design))];
  const each = right.map((d) => worst(matrix.filter((c) => c.design === d && isAt(c, site))));
  const met = each.filter((o) => o !== 'not exercised');
  const times = (o: OutcomeName): number => met.filter((x) => x === o).length;
  return met.reduce((w, o) => (times(o) > times(w) ? o : w), met[0] ?? 'clean');
}

/** Text is no wider, so that it can be read. */
const TEXT = 120;
const BLANK = '\u00a0';
/** Items in lines, none broken in two that fits one. */
const wrapItems = (items: readonly string[], between: string, width: number): string[] =>
  wrap(
    items.map((i) => (i.length < width ? i.replaceAll(' ', BLANK) : i)).join(between),
    Math.min(width, TEXT),
    '',
  ).map((line) => line.replaceAll(BLANK, ' '));
const isAt = (c: MatrixCell, site: MatrixCell['site']): boolean => c.site === site && c.occurrence > 0;
const worst = (cells: readonly MatrixCell[]): OutcomeName =>
  cells.reduce<OutcomeName>((w, c) => worse(w, c.outcome), 'not exercised');
const isWorse = (a: OutcomeName, b: OutcomeName): boolean => OUTCOMES.indexOf(a) > OUTCOMES.indexOf(b);

/** The worst outcome; a mark when any cell is not expected, another when a known-wrong design shows itself only here. */
function letters(cells: readonly MatrixCell[], elsewhere: OutcomeName): string {
  const w = worst(cells);
  const caught = cells[0]?.buggy === true && isWorse(w, 'degraded') && isWorse(w, elsewhere);
  return LETTER[w] + (cells.some((c) => !c.expected) ? '!' : caught ? '*' : '');
}

/** What is told together: everything unexpected by itself, the rest by site and outcome. */
function keyOf(c: MatrixCell, alone: ReadonlySet<string>): string {
  const where = c.occurrence === 0 ? 'no fault' : c.site;
  if (!c.expected) return `! ${where} ${c.outcome}: ${c.design} in ${c.scenario}`;
  return alone.has(c.design) ? `no fault ${c.outcome}` : `${where} ${c.outcome}`;
}

/**
 * Of each site and outcome that is not clean: the designs, and the first such run. A design that breaks without a fault is
 * told there and nowhere else.
 */
function badCells(matrix: readonly MatrixCell[], width: number): string[] {
  const alone = new Set(matrix.filter((c) => c.occurrence === 0 && !isGood(c.outcome)).map((c) => c.design));
  const groups = new Map<string, MatrixCell[]>();
  for (const c of matrix) {
    if (isGood(c.outcome) && c.outcome !== 'degraded' && c.expected) continue;
    if (c.expected && alone.has(c.design) && c.occurrence > 0) continue;
    const key = keyOf(c, alone);
    groups.set(key, [...(groups.get(key) ?? []), c]);
  }
  const out = [...groups].flatMap(([key, cells]) => group(key, cells, Math.min(width, TEXT)));
  return out.length === 0 ? [] : [...out, ''];
}

function group(key: string, cells: readonly MatrixCell[], width: number): string[] {
  const [first] = cells;
  if (first === undefined) return [];
  const designs = [...new Set(cells.map((c) => c.design))].join(', ');
  const needed = first.necessary.length > 0 ? `; necessary: ${first.necessary.join(' ')}` : '';
  const token = first.token === '' ? '' : ` ${first.token}`;
  const why = [first.leaked.find((text) => text.startsWith(first.outcome)) ?? first.leaked[0] ?? ''].filter(Boolean);
  return [
    ...wrap(first.expected ? `${key}: ${designs}` : key, width, ''),
    ...wrap(`${first.scenario}, ${first.design}${token}${needed}`, width, '    '),
    ...why.flatMap((text) => wrap(text, width, '    ')),
  ];
}

function story(e: DesignExecution, several: boolean, width: number): string[] {
  const met = e.faults.map((f) => `${String(f.hits)} of ${String(f.seen)}`).join(', ');
  const deaths = e.deaths.length === 0 ? '' : `; destroyed: ${[...new Set(e.deaths)].join(', ')}`;
  const head = `${e.design}${several ? ` in ${e.scenario}` : ''}: ${e.outcome}${e.expected ? '' : ', not expected'}`;
  const lines = e.why.flatMap((w) => wrap(w, width, '    '));
  return [...wrap(`${head} (injected ${met}${deaths})`, width, ''), ...lines];
}
