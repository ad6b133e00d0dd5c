/**
 * The cost model: what each counted event would cost on a real machine, where it is a world switch and not a call.
 *
 * Invariant: every weight names its source; a file may replace any of them. Modelled time is the sum of counts times
 * weights and nothing else: it leaves out what all designs pay alike (freeing pages, the scheduler, caches).
 */
import { readFileSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { LabError } from '../../abi/errors.js';
import { ScenarioError, type Problem } from '../../scenario/error.js';
import { problemsOf } from '../../scenario/issues.js';
import { positionsOf } from '../../scenario/positions.js';
import type { Counted } from './messages.js';
import { EVENT_NAMES, type EventName } from './tally.js';

export interface Weight {
  readonly ns: number;
  readonly source: string;
}
export type CostModel = Readonly<Record<EventName, Weight>>;

const ISCA =
  'Dall et al., "ARM Virtualization: Performance and Architectural Implications", ISCA 2016, table 2, Xen on x86';
const OWN = "this project's C twin of the operation (npm run bench:native, column native)";

export const DEFAULT_MODEL: CostModel = {
  hypercalls: { ns: 585, source: `${ISCA}: 1,228 cycles at 2.1 GHz (an HVM guest's; a PV guest's SYSCALL is cheaper)` },
  subcalls: { ns: 10, source: 'assumed: a copy of one entry and a table jump, no switch' },
  grantUnmaps: { ns: 120, source: `${OWN}: half of "grant, direct"` },
  emulations: {
    ns: 868,
    source:
      'Xen commit 3e1b9525de43: 0.868 us for a system call through the #GP handler (decoding of the store not included)',
  },
  pteWrites: { ns: 43, source: `${OWN}: "update, direct"` },
  flushes: { ns: 250, source: 'assumed: a write of cr3 and some refills' },
  ipis: { ns: 2650, source: `${ISCA}: 5,562 cycles at 2.1 GHz for a virtual IPI` },
  zaps: { ns: 1.2, source: `${OWN}: "teardown, plain store"` },
};

/** Nanoseconds that the model gives to `counted`. */
export const modelled = (model: CostModel, counted: Counted): number =>
  EVENT_NAMES.reduce((sum, name) => sum + (counted[name] ?? 0) * model[name].ns, 0);

const ns = z.number().min(0).max(1e9);
const weight = z.union([ns, z.strictObject({ ns, source: z.string().min(1) })]);
const schema = z.strictObject({
  weights: z.strictObject(Object.fromEntries(EVENT_NAMES.map((n) => [n, weight.optional()]))),
});

/** DEFAULT_MODEL with what `text`, from `file`, says otherwise; a ScenarioError names the place of every mistake. */
export function parseModel(file: string, text: string): CostModel {
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const positions = positionsOf(file, doc, lines);
  refuse(doc.errors.map((e) => ({ position: positions.at(e.pos[0]), message: e.message.split('\n')[0] ?? e.code })));
  const value: unknown = doc.toJS({ maxAliasCount: 0 });
  const checked = schema.safeParse(value);
  if (!checked.success) refuse(problemsOf(checked.error.issues, z.toJSONSchema(schema), value, positions));
  const given = checked.data?.weights as Readonly<Record<string, number | Weight | undefined>> | undefined;
  const entry = (name: EventName): Weight => {
    const w = given?.[name];
    return w === undefined ? DEFAULT_MODEL[name] : typeof w === 'number' ? { ns: w, source: file } : w;
  };
  return Object.fromEntries(EVENT_NAMES.map((n) => [n, entry(n)])) as unknown as CostModel;
}

function refuse(problems: readonly Problem[]): void {
  const [first, ...rest] = problems;
  if (first !== undefined) throw new ScenarioError([first, ...rest]);
}

export function readModel(file: string): CostModel {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (e) {
    const why = e instanceof Error ? e.message : String(e);
    throw new LabError('NO_FILE', `the cost model cannot be read: ${why}`, { hint: 'look at --model' });
  }
  return parseModel(file, text);
}
