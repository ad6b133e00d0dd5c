/**
 * How the report of an exploration looks: a table and a counterexample per violation, or the JSON of `--json`.
 *
 * Invariant: the JSON holds exactly the documented keys; the printed command replays what stands above it.
 */
import type { DesignExplored, ExploreReport, FoundViolation } from '../lab/explore/explore.js';
import { formatFault } from '../lab/inject/spec.js';
import type { StrategySpec } from '../lab/explore/strategy-names.js';
import type { Scenario } from '../scenario/scenario.js';
import { block, count, table, wrap, type Column } from './table.js';
import type { Terminal } from './terminal.js';

const COLUMNS: readonly Column[] = [
  { title: 'design' },
  { title: 'verdict' },
  { title: 'expected' },
  { title: 'breaks' },
  { title: 'executions', right: true },
  { title: 'states', right: true },
  { title: 'classes', right: true },
  { title: 'a second', right: true },
  { title: 'points/s', right: true },
  { title: 'searched' },
];
const GREEN = 32;
const RED = 31;

const rate = (n: number, d: DesignExplored): number => (d.ms > 0 ? Math.round((n * 1000) / d.ms) : 0);

/** The documented JSON of an exploration. */
export function exploreJson(r: ExploreReport, spec: StrategySpec): string {
  const designs = r.designs.map((d) => ({
    design: d.design,
    buggy: d.buggy,
    expected: d.expected,
    executions: d.counts.executions,
    exhausted: d.exhausted,
    bound: spec.preemptions ?? null,
    ratePerSecond: rate(d.counts.executions, d),
    violations: d.violations.map((v) => ({
      invariant: v.rule,
      since: v.findings.find((f) => f.rule === v.rule && f.since !== undefined)?.since ?? null,
      token: v.token,
      steps: v.steps,
      preemptions: v.preemptions,
      vcpus: v.vcpus,
      faults: v.faults,
    })),
  }));
  return `${JSON.stringify({ scenario: r.scenario, designs }, null, 2)}\n`;
}

export function exploreHeading(s: Scenario, spec: StrategySpec): string {
  const sides = s.small?.race.map((l) => (l.domain === '' ? 'control' : `${l.domain}.${String(l.vcpu)}`)) ?? [];
  const bound = spec.preemptions === undefined ? '' : `, at most ${String(spec.preemptions)} preemptions`;
  return `${s.name}: ${sides.join(' against ')}, ${spec.strategy}${bound}${faultsOf(s, spec)}`;
}

function faultsOf(s: Scenario, spec: StrategySpec): string {
  if (s.faults.length === 0) return '';
  const rules = s.faults.map(formatFault).join(', ');
  return spec.faults === undefined ? `, with ${rules}` : `, at most ${String(spec.faults)} faults of ${rules}`;
}

/** The whole report for people. */
export function exploreReport(
  s: Scenario,
  file: string,
  spec: StrategySpec,
  r: ExploreReport,
  t: Pick<Terminal, 'columns' | 'colour'>,
): string {
  const columns = COLUMNS.filter((c) => c.title !== 'classes' || r.designs.some((d) => d.counts.classes !== undefined));
  const rows = r.designs.map((d) => columns.map((c) => cell(c.title, d)));
  const lines = table(columns, rows, t.columns);
  const out: string[] = [exploreHeading(s, spec), ''];
  if (lines !== undefined) out.push(lines[0] ?? '');
  r.designs.forEach((d, i) => {
    const own = lines === undefined ? [...block(columns, rows[i] ?? [], t.columns), ''] : [lines[i + 1] ?? ''];
    out.push(...own.map((line) => paint(line, d, t.colour)));
    if (d.note !== '') out.push(...wrap(d.note, t.columns, '    '));
    for (const v of d.violations) out.push(...violation(v, file, t.columns));
  });
  out.push('', summary(s, r));
  return `${out.join('\n')}\n`;
}

function cell(title: string, d: DesignExplored): string {
  const { counts } = d;
  switch (title) {
    case 'design':
      return d.design;
    case 'verdict':
      return d.verdict;
    case 'expected':
      return d.expected ? 'yes' : 'NO';
    case 'breaks':
      return d.violations.map((v) => v.rule).join(' ');
    case 'executions':
      return count(counts.executions);
    case 'states':
      return count(counts.states);
    case 'classes':
      return counts.classes === undefined ? '' : count(counts.classes);
    case 'a second':
      return count(rate(counts.executions, d));
    case 'points/s':
      return count(rate(counts.points, d));
    default:
      return searched(d);
  }
}

/** What the search covered, or why it ended. */
function searched(d: DesignExplored): string {
  if (d.verdict === 'refused') return '';
  if (d.exhausted) return `exhausted: ${d.covers}`;
  if (d.violations.length > 0) return 'until it broke';
  const cut = d.counts.cut > 0 ? `, ${count(d.counts.cut)} cut at the step bound` : '';
  const left = d.counts.remaining === undefined ? '' : `, about ${d.counts.remaining.toExponential(1)} left`;
  return `not exhausted (${d.ended})${left}${cut}`;
}

function violation(v: FoundViolation, file: string, width: number): string[] {
  const faults = v.faults.length === 0 ? '' : ` ${count(v.faults.length)} faults,`;
  const shape = `${count(v.steps)} steps, ${count(v.preemptions)} preemptions,${faults} ${count(v.vcpus)} vCPUs`;
  const own = v.findings.filter((f) => f.rule === v.rule).slice(0, 3);
  return [
    ...own.flatMap((f) =>
      wrap(
        `${f.rule} ${f.detail}${f.holders.length === 0 ? '' : `; held by ${f.holders.join(', ')}`}${f.since === undefined ? '' : `, ${f.since}`}`,
        width,
        '    ',
      ),
    ),
    ...v.faults.flatMap((f) => wrap(f, width, '    ')),
    `    shrunk to ${shape}; replay it:`,
    `    xenolith replay ${v.token} --scenario ${file}`,
  ];
}

function paint(line: string, d: DesignExplored, colour: boolean): string {
  if (!colour || line === '') return line;
  return `\u001b[${String(d.expected ? GREEN : RED)}m${line}\u001b[0m`;
}

function summary(s: Scenario, r: ExploreReport): string {
  const odd = r.designs.filter((d) => !d.expected).map((d) => d.design);
  const ran = `${String(r.designs.length)} of ${String(s.designs.length)} designs`;
  if (odd.length > 0) return `${ran}, not as expected: ${odd.join(', ')}`;
  const missing = s.designs.length - r.designs.length;
  return `${ran}, all as expected${missing > 0 ? ', the others were not searched' : ''}`;
}
