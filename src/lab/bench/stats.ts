/** Quantiles and spread of repeated measurements. Pure. */

/** The value below which a share `q` of `values` lies, between neighbours in proportion; NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)];
  const high = sorted[Math.ceil(at)];
  if (low === undefined || high === undefined) return NaN;
  return low + (high - low) * (at - Math.floor(at));
}

export interface Timing {
  readonly rounds: number;
  readonly medianNs: number;
  /** null: too few rounds for it. */
  readonly p95Ns: number | null;
  readonly p99Ns: number | null;
  /** Distance of the quartiles as a share of the median. */
  readonly spread: number;
  /** The spread is wider than WIDE: the median says little. */
  readonly wide: boolean;
}

/** A wider spread than this is said beside the point. */
export const WIDE = 0.25;
const LEAST_P95 = 20;
const LEAST_P99 = 100;

export function timing(ns: readonly number[]): Timing {
  const medianNs = quantile(ns, 0.5);
  const spread = (quantile(ns, 0.75) - quantile(ns, 0.25)) / medianNs;
  return {
    rounds: ns.length,
    medianNs,
    p95Ns: ns.length < LEAST_P95 ? null : quantile(ns, 0.95),
    p99Ns: ns.length < LEAST_P99 ? null : quantile(ns, 0.99),
    spread,
    wide: !(spread <= WIDE),
  };
}
