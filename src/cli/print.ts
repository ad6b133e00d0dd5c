/**
 * How the reports of a run look: a table for people, or the JSON of `--json`.
 *
 * Invariant: the JSON holds exactly the documented keys; what is left out of the table's width moves into blocks.
 */
import type { Violation } from '../abi/guest.js';
import { hostileSummary, type HostileSummary } from '../lab/hostile/summary.js';
import type { DesignReport, ScenarioReport } from '../lab/run/scenario-run.js';
import type { Scenario } from '../scenario/scenario.js';
import { block, count, table, wrap, type Column } from './table.js';
import type { Terminal } from './terminal.js';

const COLUMNS: readonly Column[] = [
  { title: 'design' },
  { title: 'verdict' },
  { title: 'expected' },
  { title: 'breaks' },
  { title: 'exits', right: true },
  { title: 'torn down', right: true },
  { title: 'hypercalls', right: true },
  { title: 'PTE writes', right: true },
  { title: 'flushes', right: true },
  { title: 'leaked', right: true },
  { title: 'overlap', right: true },
];
/** Violations of one invariant that are shown in full: of a design that did as expected, and of one that did not. */
const SHOWN_EXPECTED = 1;
const SHOWN = 3;
const GREEN = 32;
const RED = 31;

/** The documented JSON of a run. */
export function jsonReport(r: ScenarioReport): string {
  const designs = r.designs.map(({ design, buggy, verdict, expected, violations, counters, overlap, deaths }) => ({
    design,
    buggy,
    verdict,
    expected,
    violations: violations.map(({ invariant, detail, holders, since }) => ({
      invariant,
      detail,
      holders,
      since: since ?? null,
    })),
    counters,
    overlap,
    ...(deaths.length === 0 ? {} : { deaths }),
  }));
  return `${JSON.stringify({ scenario: r.scenario, seed: r.seed, designs }, null, 2)}\n`;
}

/** What is about to run, in one line, and what to know about it. */
export function heading(s: Scenario): string[] {
  const vcpus = s.domains.reduce((n, d) => n + d.vcpus, 0);
  const extent =
    s.extent.kind === 'rounds' ? `${count(s.extent.rounds)} rounds a thread` : `${count(s.extent.seconds)} s`;
  const line = `${s.name}: ${String(s.domains.length)} domains, ${String(vcpus)} vCPUs, ${count(s.memoryMib)} MiB, seed ${String(s.seed)}, ${extent}`;
  return s.hypervisor.build === 'release' ? [line] : [line, 'debug hypervisor: by reference, no recording covers it'];
}

/** The whole report for people. */
export function humanReport(s: Scenario, r: ScenarioReport, t: Pick<Terminal, 'columns' | 'colour'>): string {
  const rows = r.designs.map(cells);
  const lines = table(COLUMNS, rows, t.columns);
  const out: string[] = [...heading(s), ''];
  if (lines !== undefined) out.push(lines[0] ?? '');
  r.designs.forEach((d, i) => {
    const own = lines === undefined ? [...block(COLUMNS, rows[i] ?? [], t.columns), ''] : [lines[i + 1] ?? ''];
    out.push(...own.map((line) => paint(line, d, t.colour)), ...details(d, t.columns));
  });
  out.push('', summary(s, r));
  return `${out.join('\n')}\n`;
}

function cells(d: DesignReport): string[] {
  const c = (name: string): string => count(d.counters[name] ?? 0);
  return [
    d.design,
    d.verdict,
    d.expected ? 'yes' : 'NO',
    [...new Set(d.violations.map((v) => v.invariant))].join(' '),
    c('exitMmaps'),
    c('grantsTornDown'),
    c('hypercalls'),
    c('pteWrites'),
    c('flushes'),
    c('leakedHandles'),
    `${count(d.overlap.hypercalls)}/${count(d.overlap.contendedLocks)}`,
  ];
}

function paint(line: string, d: DesignReport, colour: boolean): string {
  if (!colour || line === '') return line;
  return `\u001b[${String(d.expected ? GREEN : RED)}m${line}\u001b[0m`;
}

function details(d: DesignReport, width: number): string[] {
  const out: string[] = [];
  const shown = d.expected ? SHOWN_EXPECTED : SHOWN;
  for (const invariant of new Set(d.violations.map((v) => v.invariant))) {
    const all = d.violations.filter((v) => v.invariant === invariant);
    for (const v of all.slice(0, shown)) out.push(...wrap(sentence(invariant, v), width, '    '));
    const total = invariant === 'I10' ? (d.counters['leakedHandles'] ?? all.length) : all.length;
    if (total > shown) out.push(`    ${invariant} … and ${count(Math.max(total, all.length) - shown)} more`);
  }
  const hostile = hostileSummary(d.counters);
  if (hostile !== undefined) out.push(...wrap(hostileSentence(hostile), width, '    '));
  for (const death of d.deaths) out.push(...wrap(death, width, '    '));
  if (!d.expected || d.verdict === 'refused') {
    for (const note of d.notes) out.push(...note.split('\n').flatMap((line) => wrap(line, width, '    ')));
  }
  return out;
}

const hostileSentence = (h: HostileSummary): string =>
  `hostile: ${count(h.calls)} calls in ${count(h.lives)} lives of a vCPU, ${count(h.met)} met another domain in the hypervisor; ${count(h.against)} named a normal guest, ${count(h.reached)} effects on one`;

const sentence = (invariant: string, v: Violation): string =>
  `${invariant} ${v.detail}${v.holders.length === 0 ? '' : `; held by ${v.holders.join(', ')}`}${v.since === undefined ? '' : `, ${v.since}`}`;

function summary(s: Scenario, r: ScenarioReport): string {
  const odd = r.designs.filter((d) => !d.expected).map((d) => d.design);
  const missing = s.designs.length - r.designs.length;
  const legend = 'overlap: hypercalls met in the hypervisor / contended locks';
  const ran = `${String(r.designs.length)} of ${String(s.designs.length)} designs`;
  if (odd.length > 0) return `${legend}\n${ran}, not as expected: ${odd.join(', ')}`;
  return `${legend}\n${ran}, all as expected${missing > 0 ? ', the others did not run' : ''}`;
}
