/**
 * A sweep: fail the first, the second, the third … occurrence of each site until a run meets none; or, when faults are to
 * last, that occurrence and all after it.
 *
 * Invariant: the walk is the same every time; a site ends with the first occurrence that was not met. A run that ended
 * badly under several faults is repeated with each of them left out: what it ends well without was necessary.
 * Lock: none.
 */
import { ABOUT, atGuestAccess } from '../../fault/about.js';
import type { SiteName } from '../../fault/sites.js';
import type { FaultSpec } from '../../scenario/scenario.js';
import type { Execution, InjectMachine } from './machine.js';
import { isGood, OUTCOMES, type OutcomeName } from './outcome.js';
import { formatFault } from './spec.js';

export interface SweepOptions {
  readonly sites: readonly SiteName[];
  /** Every pair of occurrences of the sites, besides. */
  readonly pairs: boolean;
  /** Every answer of a site, not only its first. */
  readonly answers: boolean;
  /** From the n-th occurrence on all fail. */
  readonly persistent: boolean;
  /** Occurrences of a site at most; spread over all of them when there are more. */
  readonly most: number;
  readonly stopped: () => boolean;
  readonly progress: (injected: number) => void;
}

export interface Cell {
  readonly site: SiteName;
  /** From 1; of the first fault of a pair. 0: without faults. */
  readonly occurrence: number;
  /** Of all its faults. */
  readonly sites: readonly SiteName[];
  /** A pair, or another answer than the site's first. */
  readonly beyond: boolean;
  readonly outcome: OutcomeName;
  /** What the machine itself failed with: expected of no design at any site. */
  readonly bug: string;
  /** The faults, as `--fault` takes them, joined by a space. */
  readonly token: string;
  readonly leaked: readonly string[];
  /** Of a bad run under several faults: those without which it would have ended well. */
  readonly necessary: readonly string[];
}

export interface SweepResult {
  readonly cells: readonly Cell[];
  readonly injected: number;
  readonly executions: number;
  /** Occurrences of each site in the run without faults. */
  readonly reached: Readonly<Partial<Record<SiteName, number>>>;
  /** All asked for was done. */
  readonly whole: boolean;
}

export function sweep(m: InjectMachine, o: SweepOptions): SweepResult {
  return new Sweep(m, o).run();
}

/** An occurrence that no execution has. */
const NEVER = 0xffffffff;

const nthOf = (f: FaultSpec): number => f.nth ?? (f.after ?? 0) + 1;

class Sweep {
  readonly #m: InjectMachine;
  readonly #o: SweepOptions;
  readonly #cells: Cell[] = [];
  #injected = 0;
  #executions = 0;

  constructor(m: InjectMachine, o: SweepOptions) {
    this.#m = m;
    this.#o = o;
  }

  run(): SweepResult {
    const normal = this.#m.normal();
    this.#note(this.#o.sites[0] ?? 'gnttab.unmap', 0, [], normal);
    const met = this.#o.sites.flatMap((site) => this.#site(site, normal.reached[site] ?? 0));
    if (this.#o.pairs) this.#pairs(met);
    return {
      cells: this.#cells,
      injected: this.#injected,
      executions: this.#executions,
      reached: normal.reached,
      whole: !this.#o.stopped(),
    };
  }

  /** All occurrences of one site; answers the faults that were met. */
  #site(site: SiteName, expected: number): FaultSpec[] {
    const { kind, answers } = ABOUT[site];
    const named = kind === 'status' || kind === 'errno' ? answers : [undefined];
    const met: FaultSpec[] = [];
    for (const status of this.#o.answers ? named : named.slice(0, 1)) {
      // More occurrences than are wanted are taken at a distance; the faults themselves may bring more of them.
      const stride = Math.max(1, Math.ceil((atGuestAccess(site) ? this.#accesses(site) : expected) / this.#o.most));
      for (let nth = 1; !this.#o.stopped(); nth += stride) {
        const when = this.#o.persistent ? { after: nth - 1 } : { nth };
        const spec = { site, ...when, ...(status === undefined || status === answers[0] ? {} : { status }) };
        const e = this.#execute([spec]);
        if (e.outcome === 'not exercised' && nth > 1) break;
        this.#note(site, nth, [spec], e);
        if (e.faults[0]?.hits === 0) break;
        met.push(spec);
      }
    }
    return met;
  }

  #pairs(met: readonly FaultSpec[]): void {
    for (const [i, a] of met.entries()) {
      for (const b of met.slice(i + 1)) {
        if (this.#o.stopped()) return;
        const e = this.#execute([a, b]);
        if (e.faults.every((f) => f.hits > 0)) this.#note(a.site, nthOf(a), [a, b], e);
      }
    }
  }

  /** Occurrences of a site that is only looked at while a rule concerns it. */
  #accesses(site: SiteName): number {
    return this.#m.execute([{ site, nth: NEVER }]).faults[0]?.seen ?? 0;
  }

  #execute(specs: readonly FaultSpec[]): Execution {
    const e = this.#m.execute(specs);
    this.#executions++;
    this.#injected += e.faults.reduce((n, f) => n + f.hits, 0);
    if (this.#executions % 32 === 0) this.#o.progress(this.#injected);
    return e;
  }

  #note(site: SiteName, occurrence: number, specs: readonly FaultSpec[], e: Execution): void {
    const bad = !isGood(e.outcome);
    const necessary = bad && specs.length > 1 ? this.#necessary(specs, e.outcome).map(formatFault) : [];
    const token = specs.map(formatFault).join(' ');
    this.#cells.push({
      site,
      occurrence,
      sites: specs.map((s) => s.site),
      beyond: specs.length > 1 || specs.some((s) => s.status !== undefined),
      outcome: e.outcome,
      bug: e.bug,
      token,
      leaked: bad || e.outcome === 'degraded' ? e.why : [],
      necessary,
    });
  }

  /** The faults without which the rest does less harm. */
  #necessary(specs: readonly FaultSpec[], outcome: OutcomeName): FaultSpec[] {
    return specs.filter((s) => {
      const without = this.#m.execute(specs.filter((x) => x !== s));
      return OUTCOMES.indexOf(without.outcome) < OUTCOMES.indexOf(outcome);
    });
  }
}
