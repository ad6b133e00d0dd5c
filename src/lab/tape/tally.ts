/**
 * Counts what the builds answered, tape by tape in the order of the files.
 *
 * Invariant: a tape is counted when every build has replayed it, and is equal only if it is in every build.
 * Source: tapes FORMAT.md.
 */
import type { BatchResult, PlacedResult } from './batch.js';
import type { Build } from './pool.js';
import { asLabError } from './refused.js';
import { sameDifference, type ConformReport, type FamilyCount, type PlacedDifference } from './report.js';

export interface TallyOptions {
  readonly stopFirst?: boolean | undefined;
  /** Whether the report shall hold the differences; they may be many. Default: yes. */
  readonly keep?: boolean | undefined;
  readonly onDifferent?: ((d: PlacedDifference) => void) | undefined;
}

export class Tally {
  /** No further tape is wanted. */
  ended = false;
  tapes = 0;
  different = 0;
  readonly #builds: readonly Build[];
  readonly #options: TallyOptions;
  readonly #families: Record<string, FamilyCount> = {};
  readonly #differences: PlacedDifference[] = [];
  readonly #operations = { all: 0, equal: 0, different: 0 };
  #complete = true;
  #hypercalls = 0;
  #continuations = 0;

  constructor(builds: readonly Build[], options: TallyOptions) {
    this.#builds = builds;
    this.#options = options;
  }

  /** The same share of lines, as each build answered it. Throws LabError for a line that cannot be used. */
  take(shares: readonly BatchResult[]): void {
    if (this.ended) return;
    const n = Math.min(...shares.map((s) => s.results.length));
    for (let i = 0; i < n; i++) {
      this.#count(shares.flatMap((s) => s.results[i] ?? []));
      if (this.#options.stopFirst === true && this.different > 0) {
        this.ended = true;
        return;
      }
    }
    const refused = shares.find((s) => s.results.length === n && s.refused !== undefined)?.refused;
    if (refused !== undefined) throw asLabError(refused);
    if (shares.some((s) => s.stopped)) this.stop();
  }

  /** The user wants no more. */
  stop(): void {
    if (!this.ended) this.#complete = false;
    this.ended = true;
  }

  /** One tape's results, one a build. */
  #count(results: readonly PlacedResult[]): void {
    const [first] = results;
    if (first === undefined) return;
    this.tapes++;
    for (const r of results) {
      this.#hypercalls += r.hypercalls;
      this.#continuations += r.continuations;
    }
    const found = this.#differencesOf(results);
    const family = (this.#families[first.family] ??= { tapes: 0, operations: 0, equal: 0 });
    family.tapes++;
    family.operations += first.ops;
    this.#operations.all += first.ops;
    if (found.length === 0) {
      family.equal++;
      this.#operations.equal += first.ops;
      return;
    }
    this.different++;
    const at = Math.min(...found.map((d) => d.index));
    this.#operations.equal += Math.max(at, 0);
    this.#operations.different += at < 0 ? 0 : 1;
    for (const d of found) {
      if (this.#options.keep !== false) this.#differences.push(d);
      this.#options.onDifferent?.(d);
    }
  }

  /** How the builds differ from the tape; once where they differ alike. */
  #differencesOf(results: readonly PlacedResult[]): PlacedDifference[] {
    const out: PlacedDifference[] = [];
    for (const [i, { difference, position }] of results.entries()) {
      if (difference === undefined) continue;
      const build = this.#builds[i] ?? '';
      const alike = out.findIndex((d) => sameDifference(d, difference));
      const before = out[alike];
      if (before === undefined) out.push({ build, ...difference, position });
      else out[alike] = { ...before, build: `${before.build}, ${build}` };
    }
    return out;
  }

  report(): ConformReport {
    return {
      build: this.#builds.join(', '),
      complete: this.#complete,
      tapes: this.tapes,
      equal: this.tapes - this.different,
      different: this.different,
      operations: this.#operations.all,
      operationsEqual: this.#operations.equal,
      operationsDifferent: this.#operations.different,
      hypercalls: this.#hypercalls,
      continuations: this.#continuations,
      families: this.#families,
      firstDifferences: this.#differences,
    };
  }
}
