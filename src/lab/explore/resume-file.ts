/**
 * Where an exploration stands, in a file: what `--resume` reads, and writes again when it ends.
 *
 * Invariant: a stand is gone on with only over the same scenario, code and strategy; a design that was done is searched again
 * from its beginning, which is short when it broke and is refused to be skipped when it did not.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { LabError } from '../../abi/errors.js';
import { formatFault } from '../inject/spec.js';
import type { Scenario } from '../../scenario/scenario.js';
import { codeHash } from './code-hash.js';
import type { ExploreReport } from './explore.js';
import type { StrategySpec } from './strategy-names.js';
import { scenarioHash } from './token.js';

const shape = z.strictObject({
  xenolith: z.literal('explore-1'),
  key: z.string(),
  designs: z.record(z.string(), z.unknown()),
});

const keyOf = (s: Scenario, o: StrategySpec): string =>
  [
    scenarioHash(s),
    s.hypervisor.twin,
    codeHash(),
    o.strategy,
    String(o.preemptions ?? 'all'),
    String(o.seed),
    String(o.depth),
    ...(s.faults.length === 0 ? [] : [String(o.faults ?? 'all'), ...s.faults.map(formatFault)]),
  ].join(' ');

/** Where each design stands by that file; nothing when there is no such file yet. */
export function readStand(file: string, s: Scenario, o: StrategySpec): Readonly<Record<string, unknown>> {
  if (!existsSync(file)) return {};
  const parsed = shape.safeParse(jsonOf(file));
  if (!parsed.success) throw new LabError('BAD_RESUME', `${file} is no stand of an exploration`);
  if (parsed.data.key !== keyOf(s, o)) {
    throw new LabError('BAD_RESUME', `${file} is of another scenario, strategy, bound or code`, {
      hint: 'resume with the flags it was made with, or name a new file',
    });
  }
  return parsed.data.designs;
}

function jsonOf(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Writes where the designs of `report` stand; the old file is replaced at once. */
export function writeStand(file: string, s: Scenario, o: StrategySpec, report: ExploreReport): void {
  const designs = Object.fromEntries(
    report.designs.filter((d) => d.saved !== undefined).map((d) => [d.design, d.saved] as const),
  );
  const text = JSON.stringify({ xenolith: 'explore-1', key: keyOf(s, o), designs });
  try {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  } catch (e) {
    throw new LabError('BAD_RESUME', `${file} cannot be written: ${e instanceof Error ? e.message : String(e)}`);
  }
}
