/**
 * What a scenario says a sweep's cells end as, and which cells are better or worse than that. Pure.
 *
 * Invariant: a cell is a scenario, a design and a site; its occurrences may end only as the scenario says, and each of
 * these outcomes must come at least once: what is not said is clean. A design's own words stand before those of
 * `default`, and a site's before those of a design's `default`.
 */
import type { SiteName } from '../../fault/sites.js';
import type { Scenario, SweepExpectations } from '../../scenario/scenario.js';
import { isGood, OUTCOMES, type OutcomeName } from './outcome.js';
import type { Cell } from './sweep.js';

export interface Asked {
  readonly scenario: Scenario;
  readonly design: string;
  /** Faults that last, instead of single ones. */
  readonly persistent: boolean;
}

const cellsOf = (a: Asked): SweepExpectations => a.scenario.sweep[a.persistent ? 'persistent' : 'expect'];

/** What is said of the cell besides clean; nothing: it is clean. */
export function expectedOutcomes(a: Asked, site: SiteName | 'none'): readonly OutcomeName[] {
  // The run without faults is the same, whatever the others are.
  const e = site === 'none' ? a.scenario.sweep.expect : cellsOf(a);
  const own = e[a.design];
  const common = e['default'];
  return own?.[site] ?? own?.default ?? common?.[site] ?? common?.default ?? [];
}

/** The worst that the cell is said to end as. */
export const expectedWorst = (a: Asked, site: SiteName | 'none'): OutcomeName =>
  expectedOutcomes(a, site).reduce((w, o) => (OUTCOMES.indexOf(o) > OUTCOMES.indexOf(w) ? o : w), 'clean');

/**
 * Whether an occurrence may end so. Beyond the first answer of a site, and in pairs, a named holder needs no words. A bug of
 * the machine's own may never be, whatever is said of the cell.
 */
export function isExpected(a: Asked, c: Cell): boolean {
  if (c.bug !== '') return false;
  if (c.occurrence === 0) return c.outcome === expectedWorst(a, 'none');
  if (c.outcome === 'clean' || c.outcome === 'not exercised') return true;
  if (c.beyond && isGood(c.outcome)) return true;
  return c.sites.some((site) => expectedOutcomes(a, site).includes(c.outcome));
}

/** Outcomes that are said of the cells and that no occurrence had: those cells are better than expected. */
export function missedBy(a: Asked, sites: readonly SiteName[], cells: readonly Cell[]): string[] {
  const own = cellsOf(a)[a.design];
  return sites.flatMap((site) => {
    const mine = cells.filter((c) => c.site === site && c.occurrence > 0 && !c.beyond);
    const met = mine.some((c) => c.outcome !== 'not exercised');
    // What is said of every site is not said of those that the scenario does not reach.
    if (!met && own?.[site] === undefined) return [];
    return expectedOutcomes(a, site)
      .filter((o) => o !== 'clean' && !mine.some((c) => c.outcome === o))
      .map((o) => `${a.scenario.name} under ${a.design}: no ${site} ended ${o}`);
  });
}
