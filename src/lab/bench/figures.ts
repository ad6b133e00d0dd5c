/**
 * What is told of a report: derived figures, lines to plot, crossovers. Pure.
 *
 * Invariant: measured and modelled figures come from separate lines; none is made of both.
 */
import type { Point } from './plan.js';
import { modelled, type CostModel } from './model.js';
import type { DesignPoint, PointReport, TeardownReport } from './teardown.js';

/** A cost of one design at one point, in ns; NaN: none. */
export type Metric = (p: Point, d: DesignPoint) => number;

export const measuredNs: Metric = (_p, d) => d.time?.medianNs ?? NaN;
export const modelledNs =
  (model: CostModel): Metric =>
  (_p, d) =>
    d.refused === '' && d.failed === '' ? modelled(model, d.counted) : NaN;

const same = (a: Point, b: Point, but: 'pages' | 'grants'): boolean =>
  a.vcpus === b.vcpus &&
  a.threads === b.threads &&
  a.lazy === b.lazy &&
  (but === 'pages' ? a.share === b.share : a.pages === b.pages);

const designAt = (r: PointReport, design: string): DesignPoint | undefined =>
  r.designs.find((d) => d.design === design);

/** What a page costs, and what a granted page costs more than an ordinary one would: against the same point without. */
export function perPage(p: Point, d: DesignPoint, metric: Metric): number {
  return metric(p, d) / p.pages;
}
export function perGrant(report: TeardownReport, p: Point, d: DesignPoint, metric: Metric): number {
  const base = report.points.find((q) => q.point.grants === 0 && same(q.point, p, 'grants'));
  const without = base === undefined ? undefined : designAt(base, d.design);
  if (p.grants === 0 || base === undefined || without === undefined) return NaN;
  return (metric(p, d) - metric(base.point, without)) / p.grants;
}

export interface Line {
  readonly design: string;
  /** By ascending x; both positive and finite. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** By how much each y is uncertain, as a share of it. */
  readonly margins: readonly number[];
}

export interface Plot {
  readonly title: string;
  readonly x: 'pages' | 'grants';
  readonly xLabel: string;
  readonly yLabel: string;
  readonly lines: readonly Line[];
  readonly crossovers: readonly Crossover[];
}

/** Below `at` `cheaper` costs less, above it `dearer` does. */
export interface Crossover {
  readonly cheaper: string;
  readonly dearer: string;
  readonly at: number;
}

/** Where two lines change order: between neighbours, in proportion on a logarithmic scale of the cost. */
export function crossovers(lines: readonly Line[]): Crossover[] {
  const out: Crossover[] = [];
  lines.forEach((a, i) => {
    for (const b of lines.slice(i + 1)) out.push(...crossings(a, b));
  });
  return out;
}

/** Nearer together than this, or than they are certain, two costs are equal: no order to change. */
const EQUAL = 0.03;

function crossings(a: Line, b: Line): Crossover[] {
  const out: Crossover[] = [];
  let before: { x: number; d: number } | undefined;
  for (const [i, [x, ya]] of a.points.entries()) {
    const k = b.points.findIndex((q) => q[0] === x);
    const yb = b.points[k]?.[1];
    if (yb === undefined) continue;
    const d = Math.log(ya / yb);
    if (Math.abs(d) < Math.max(EQUAL, (a.margins[i] ?? 0) + (b.margins[k] ?? 0))) continue;
    if (before !== undefined && Math.sign(before.d) !== Math.sign(d)) {
      const at = before.x + ((x - before.x) * before.d) / (before.d - d);
      out.push(
        before.d < 0 ? { cheaper: a.design, dearer: b.design, at } : { cheaper: b.design, dearer: a.design, at },
      );
    }
    before = { x, d };
  }
  return out;
}

/** One plot per series of points that differ in pages alone (equal share), and in grants alone. */
export function plotsOf(report: TeardownReport, metric: Metric, yLabel: string): Plot[] {
  const plots: Plot[] = [];
  for (const x of ['pages', 'grants'] as const) {
    const left = [...report.points];
    while (left.length > 0) {
      const [first] = left.splice(0, 1);
      if (first === undefined) break;
      const series = [first, ...left.filter((q) => same(q.point, first.point, x))];
      for (const q of series.slice(1)) left.splice(left.indexOf(q), 1);
      const xs = new Set(series.map((q) => q.point[x]));
      if (xs.size > 1) plots.push(plotOf(series, x, metric, yLabel));
    }
  }
  return plots.filter((p) => p.lines.length > 0);
}

function plotOf(series: readonly PointReport[], x: 'pages' | 'grants', metric: Metric, yLabel: string): Plot {
  const names = [...new Set(series.flatMap((q) => q.designs.map((d) => d.design)))];
  const lines = names.map((design) => lineOf(series, design, x, metric)).filter((l) => l.points.length > 1);
  const p = series[0]?.point;
  const others =
    p === undefined || p.vcpus === 1
      ? ''
      : `, ${String(p.vcpus)} vCPUs, ${String(p.threads)} threads, ${String(p.lazy)} lazy`;
  const what =
    x === 'pages'
      ? `${yLabel} against pages, ${p?.share ?? '0'} granted${others}`
      : `${yLabel} against the share of granted pages, ${String(p?.pages ?? 0)} pages${others}`;
  const xLabel = x === 'pages' ? 'pages' : 'granted pages, %';
  return { title: what, x, xLabel, yLabel, lines, crossovers: crossovers(lines) };
}

function lineOf(series: readonly PointReport[], design: string, x: 'pages' | 'grants', metric: Metric): Line {
  const found = series
    .flatMap((q) => {
      const d = designAt(q, design);
      const y = d === undefined ? NaN : metric(q.point, d);
      const at = x === 'pages' ? q.point.pages : (100 * q.point.grants) / q.point.pages;
      const margin = metric === measuredNs ? (d?.time?.spread ?? 0) : 0;
      return Number.isFinite(y) && y > 0 ? [{ at, y, margin }] : [];
    })
    .sort((a, b) => a.at - b.at);
  return { design, points: found.map((f) => [f.at, f.y]), margins: found.map((f) => f.margin) };
}
