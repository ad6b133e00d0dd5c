/**
 * Scenario files from the disk: read within bounds, checked against what the guests offer.
 *
 * Invariant: whatever is wrong with the file becomes a LabError that names it.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { LabError } from '../abi/errors.js';
import type { Catalog } from '../abi/catalog.js';
import { parseScenario } from '../scenario/load.js';
import type { Scenario } from '../scenario/scenario.js';

const MAX_BYTES = 1 << 20;

/** Reads and checks `file`; throws a LabError (a ScenarioError with every problem when the text is at fault). */
export function readScenario(file: string, catalog: Catalog): Scenario {
  return parseScenario(file, textOf(file), catalog);
}

function textOf(file: string): string {
  try {
    const stat = statSync(file);
    if (stat.isDirectory())
      throw new LabError('SCENARIO_UNREADABLE', `${file}: is a directory`, { hint: 'name a file' });
    if (stat.size > MAX_BYTES) {
      throw new LabError('SCENARIO_UNREADABLE', `${file}: is larger than a scenario can be`, { hint: 'at most 1 MiB' });
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (e) {
    if (e instanceof LabError) throw e;
    throw unreadable(file, e);
  }
}

/** The files, those of a folder in the order of their names. What cannot be looked at is left to whoever reads it. */
export function scenarioFiles(named: readonly string[]): string[] {
  return named.flatMap((path) => {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return [path];
    const inside = readdirSync(path)
      .filter((f) => /\.ya?ml$/.test(f))
      .sort();
    if (inside.length === 0) {
      throw new LabError('NO_FILE', `no scenario lies in the folder '${path}'`, { hint: 'they end in .yaml' });
    }
    return inside.map((f) => join(path, f));
  });
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  ENOTDIR: 'no such file',
  ERR_ENCODING_INVALID_ENCODED_DATA: 'is not UTF-8 text',
};

function unreadable(file: string, e: unknown): LabError {
  const code = e instanceof Error && 'code' in e ? String(e.code) : '';
  const reason = REASONS[code] ?? (e instanceof Error ? e.message : String(e));
  const hint = code === 'ENOENT' ? 'shipped scenarios are in guests/scenarios' : undefined;
  return new LabError('SCENARIO_UNREADABLE', `${file}: ${reason}`, hint === undefined ? {} : { hint });
}
