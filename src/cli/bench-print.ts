/**
 * How a teardown benchmark is told: counted events, measured times and modelled times, each in a table of its own.
 *
 * Invariant: no column mixes the three; a spread too wide to trust is marked. Pure.
 */
import { measuredNs, modelledNs, perGrant, perPage, plotsOf, type Metric } from '../lab/bench/figures.js';
import { EVENT_NAMES, EVENTS } from '../lab/bench/tally.js';
import { modelled, type CostModel } from '../lab/bench/model.js';
import { WIDE } from '../lab/bench/stats.js';
import { label, type DesignPoint, type PointReport, type TeardownReport } from '../lab/bench/teardown.js';
import { block, count, table, wrap, type Column } from './table.js';

const right = (title: string): Column => ({ title, right: true });
const num = (x: number, digits = 3): string =>
  Number.isFinite(x) ? Number(x.toPrecision(digits)).toLocaleString('en-US') : '-';
const us = (ns: number | null): string => (ns === null ? '-' : num(ns / 1000));

const COUNTED: readonly Column[] = [
  { title: 'design' },
  ...['hypercalls', 'multicall entries', 'grant unmaps', 'traps', 'PTE writes', 'flushes', 'IPIs', 'zaps'].map(right),
  right('state bytes'),
  right('leaked'),
];
const MEASURED: readonly Column[] = [
  { title: 'design' },
  ...['median us', 'p95', 'p99', 'spread', 'ns/page', 'ns/grant more', 'contended', 'bystander ns', 'beside exit'].map(
    right,
  ),
];
const MODELLED: readonly Column[] = [{ title: 'design' }, ...['us', 'ns/page', 'ns/grant more'].map(right)];

const measured = (d: DesignPoint): boolean => d.refused === '' && d.failed === '';

function countedRow(d: DesignPoint): string[] {
  const events = EVENT_NAMES.map((n) => count(d.counted[n] ?? 0));
  return [d.design, ...events, count(d.shape.stateBytes), d.leaked === 0 ? '' : count(d.leaked)];
}

function measuredRow(r: TeardownReport, p: PointReport, d: DesignPoint): string[] {
  const t = d.time;
  const sight = d.bystander;
  if (t === null) return [d.design, '-'];
  return [
    d.design,
    us(t.medianNs),
    us(t.p95Ns),
    us(t.p99Ns),
    `${String(Math.round(100 * t.spread))}%${t.wide ? ' wide' : ''}`,
    num(perPage(p.point, d, measuredNs)),
    num(perGrant(r, p.point, d, measuredNs)),
    num(d.contended),
    sight === null ? '-' : num(sight.quietNs),
    sight === null ? '-' : num(sight.busyNs),
  ];
}

function modelledRow(r: TeardownReport, p: PointReport, d: DesignPoint, metric: Metric): string[] {
  const { point } = p;
  return [d.design, us(metric(point, d)), num(perPage(point, d, metric)), num(perGrant(r, point, d, metric))];
}

function laid(columns: readonly Column[], rows: readonly (readonly string[])[], width: number): string[] {
  return table(columns, rows, width) ?? rows.flatMap((row) => [...block(columns, row, width), '']);
}

/** The tables of all points. */
export function tables(report: TeardownReport, model: CostModel, width: number): string {
  const lines: string[] = [];
  for (const p of report.points) {
    const able = p.designs.filter(measured);
    const { nL1, nL2, nL3 } = able[0]?.shape ?? { nL1: 0, nL2: 0, nL3: 0 };
    const rounds = able[0]?.time?.rounds ?? 0;
    lines.push(
      `== ${label(p.point)} (${String(nL1)} L1, ${String(nL2)} L2, ${String(nL3)} L3; ${String(rounds)} rounds)`,
      '',
    );
    lines.push('counted (controlled build, exact)', ...laid(COUNTED, able.map(countedRow), width), '');
    lines.push(
      'measured (this emulator)',
      ...laid(
        MEASURED,
        able.map((d) => measuredRow(report, p, d)),
        width,
      ),
      '',
    );
    const metric = modelledNs(model);
    lines.push(
      'modelled (counts times weights)',
      ...laid(
        MODELLED,
        able.map((d) => modelledRow(report, p, d, metric)),
        width,
      ),
      '',
    );
    for (const d of p.designs) {
      if (d.refused !== '') lines.push(`${d.design}: refused: ${d.refused}`);
      if (d.failed !== '') lines.push(`${d.design}: broke: ${d.failed}`);
      if (d.leaked !== 0)
        lines.push(`${d.design}: leaves ${count(d.leaked)} grant mappings behind: cheap because wrong`);
      if (d.time?.wide === true)
        lines.push(`${d.design}: quartiles more than ${String(100 * WIDE)}% apart: do not trust this median`);
    }
    lines.push('');
  }
  lines.push(...legend(report, model, width));
  if (!report.complete) lines.push('interrupted: points are missing');
  return `${lines.join('\n')}\n`;
}

function legend(report: TeardownReport, model: CostModel, width: number): string[] {
  const w = Math.min(width, 110);
  const weights = EVENT_NAMES.flatMap((n) =>
    wrap(`${String(model[n].ns)} ns for ${EVENTS[n]}: ${model[n].source}`, w, '  '),
  );
  return [`kernel pages behind grants: ${report.restore}`, 'weights of the model', ...weights];
}

const row = (report: TeardownReport, model: CostModel, p: PointReport, d: DesignPoint): Record<string, unknown> => {
  const metric = modelledNs(model);
  return {
    ...p.point,
    ...d,
    perPageNs: finite(perPage(p.point, d, measuredNs)),
    perGrantNs: finite(perGrant(report, p.point, d, measuredNs)),
    modelledNs: measured(d) ? modelled(model, d.counted) : null,
    modelledPerPageNs: finite(perPage(p.point, d, metric)),
    modelledPerGrantNs: finite(perGrant(report, p.point, d, metric)),
  };
};
const finite = (x: number): number | null => (Number.isFinite(x) ? x : null);

export function jsonReport(report: TeardownReport, model: CostModel): string {
  const rows = report.points.flatMap((p) => p.designs.map((d) => row(report, model, p, d)));
  const plots = (metric: Metric, name: string): unknown =>
    plotsOf(report, metric, name).map(({ title, x, crossovers }) => ({ title, x, crossovers }));
  const crossovers = { measured: plots(measuredNs, 'measured'), modelled: plots(modelledNs(model), 'modelled') };
  return `${JSON.stringify({ complete: report.complete, restore: report.restore, model, rows, crossovers }, null, 2)}\n`;
}

/** A line per point and design; columns keep their names. */
export function csvReport(report: TeardownReport, model: CostModel): string {
  const metric = modelledNs(model);
  const head = [
    ...['design', 'pages', 'grants', 'vcpus', 'threads', 'lazy', 'refused', 'failed'],
    ...EVENT_NAMES,
    ...['stateBytes', 'leaked', 'rounds', 'medianNs', 'p95Ns', 'p99Ns', 'spread', 'contended'],
    ...['bystanderQuietNs', 'bystanderBusyNs', 'modelledNs'],
  ];
  const lines = report.points.flatMap(({ point: p, designs }) =>
    designs.map((d) => [
      ...[d.design, p.pages, p.grants, p.vcpus, p.threads, p.lazy, d.refused, d.failed.split('\n')[0]],
      ...EVENT_NAMES.map((n) => d.counted[n]),
      ...[d.shape.stateBytes, d.leaked, d.time?.rounds, d.time?.medianNs, d.time?.p95Ns, d.time?.p99Ns, d.time?.spread],
      ...[d.contended, d.bystander?.quietNs, d.bystander?.busyNs, finite(metric(p, d))],
    ]),
  );
  return `${[head, ...lines].map((cells) => cells.map(cell).join(',')).join('\n')}\n`;
}

function cell(v: unknown): string {
  const text = typeof v === 'number' ? (Number.isFinite(v) ? String(v) : '') : typeof v === 'string' ? v : '';
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
