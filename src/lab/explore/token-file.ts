/**
 * From what the user names, a token or a file with one, to a replay: finds the scenario, checks both hashes.
 *
 * Invariant: nothing is replayed over another scenario or other code than the token was made of, unless the user says so.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Catalog } from '../../abi/catalog.js';
import { LabError } from '../../abi/errors.js';
import { encodeSchedule } from '../../explore/schedule.js';
import type { Scenario } from '../../scenario/scenario.js';
import { readScenario } from '../scenario-file.js';
import { codeHash } from './code-hash.js';
import { planOf } from './explore.js';
import type { Recording } from './record.js';
import { runJob } from './thread.js';
import { twinByName } from '../override.js';
import { decodeToken, scenarioHash, type Counterexample } from './token.js';

const TOKEN = /x1\.[0-9a-f]{8}\.[\w.-]+/g;
const MAX_BYTES = 1 << 24;
/** The shipped small scenarios, beside the sources and in the build. */
const SHIPPED = new URL('../../../guests/scenarios/small/', import.meta.url);

/** The token that `named` is, or the first (or the `nth`) one in the file of that name. */
export function findToken(named: string, nth: number): Counterexample {
  if (!existsSync(named)) {
    if (named.startsWith('x1.')) return decodeToken(named);
    throw new LabError('NO_TOKEN', `'${named}' is neither a token nor a file`, {
      hint: 'a token begins with x1. and is printed by xenolith explore',
    });
  }
  if (!statSync(named).isFile() || statSync(named).size > MAX_BYTES) {
    throw new LabError('NO_TOKEN', `${named} is no file of tokens`, { hint: 'explore --json writes one' });
  }
  const all = readFileSync(named, 'utf8').match(TOKEN) ?? [];
  const token = all[nth - 1];
  if (token === undefined) {
    throw new LabError('NO_TOKEN', `${named} holds ${String(all.length)} tokens`, {
      hint: 'explore --json writes files with tokens; --nth says which one',
    });
  }
  return decodeToken(token);
}

/** The scenario that the token was made of: `file`, or a shipped one. */
export function scenarioOf(c: Counterexample, file: string | undefined, catalog: Catalog): Scenario {
  const candidates = file === undefined ? shipped() : [file];
  const read = candidates.map((f) => readScenario(f, catalog));
  const found = read.find((s) => scenarioHash(s) === c.scenarioHash);
  if (found !== undefined) return { ...found, hypervisor: { ...found.hypervisor, twin: twinByName(c.twin) } };
  if (file !== undefined) {
    throw new LabError('OTHER_SCENARIO', `${file} is not the scenario of this token (${c.scenarioHash})`, {
      hint: 'it has been changed since; explore it again for a new token',
    });
  }
  throw new LabError('OTHER_SCENARIO', `no shipped scenario is the one of this token (${c.scenarioHash})`, {
    hint: 'name its file with --scenario; if that was changed since, explore it again',
  });
}

function shipped(): string[] {
  const folder = fileURLToPath(SHIPPED);
  return readdirSync(folder).filter((f) => f.endsWith('.yaml')).map((f) => folder + f); // prettier-ignore
}

export interface Replayed {
  readonly scenario: Scenario;
  readonly recording: Recording;
  /** The execution took the steps that the token was made of. */
  readonly same: boolean;
}

/** Refuses a token of other code. */
export function checkCode(c: Counterexample): void {
  const code = codeHash();
  if (code === c.codeHash) return;
  throw new LabError('OTHER_CODE', `this token was made by other code (${c.codeHash}, this is ${code})`, {
    hint: 'build the version that made it, or explore again; replay --any-code takes it all the same, as far as it goes',
  });
}

/** Replays the counterexample; `anyCode` lets other code than the token's run, where the trace then tells. */
export async function replayToken(c: Counterexample, scenario: Scenario, anyCode: boolean): Promise<Replayed> {
  if (!anyCode) checkCode(c);
  const plan = planOf(scenario, c.design, c.stepChecks, c.faults);
  const schedule = encodeSchedule(c.schedule);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const job = { kind: 'replay', plan, leftOut: [...c.leftOut], schedule } as const;
  const answer = await runJob(job, scenario.memoryMib, stop, () => undefined);
  if (answer.kind !== 'replayed') throw new LabError('REFUSED', `design ${c.design} refuses to run here`);
  const { recording } = answer;
  return { scenario, recording, same: recording.trace === c.trace && !recording.diverged };
}
