/**
 * What a replay of many recordings came to, as data and as text.
 *
 * Source: tapes FORMAT.md; DESIGN decision 10.
 */
import type { SourcePosition } from '../../abi/errors.js';
import { same } from './compare.js';
import type { FrameState } from './frames-around.js';
import type { TapeDifference } from './replay.js';

export interface FamilyCount {
  tapes: number;
  operations: number;
  equal: number;
}

/** The outcome over all files. */
export interface ConformReport {
  /** One build or several; a tape is equal if it is in each. */
  readonly build: string;
  /** False: stopped from outside before the last tape. */
  readonly complete: boolean;
  readonly tapes: number;
  readonly equal: number;
  readonly different: number;
  /** Of the tapes; those behind a tape's first difference are neither equal nor different, but not compared. */
  readonly operations: number;
  readonly operationsEqual: number;
  readonly operationsDifferent: number;
  /** Of all kernels and builds, set-up and probes included. */
  readonly hypercalls: number;
  /** How often a hypercall was preempted and continued. */
  readonly continuations: number;
  readonly families: Readonly<Record<string, FamilyCount>>;
  readonly firstDifferences: readonly PlacedDifference[];
}

/** The first difference of a tape, and in which builds it is so. */
export interface PlacedDifference extends TapeDifference {
  readonly build: string;
  readonly position: SourcePosition;
}

export const sameDifference = (a: TapeDifference, b: TapeDifference): boolean =>
  a.tape === b.tape && a.index === b.index && same(a.differences, b.differences);

/** The documented fields and no others; `complete` only where it is false. */
export function jsonText(r: ConformReport): string {
  const { build, tapes, equal, different, operations, firstDifferences } = r;
  const partial = r.complete ? {} : { complete: false };
  return `${JSON.stringify({ build, tapes, equal, different, operations, firstDifferences, ...partial }, null, 2)}\n`;
}

const count = (n: number): string => n.toLocaleString('en-US');

/** One line per family, tapes and operations in all. */
export function summaryText(r: ConformReport): string {
  const lines = Object.entries(r.families).map(
    ([name, f]) =>
      `${name.padEnd(12)} ${count(f.equal).padStart(7)} of ${count(f.tapes).padStart(7)} equal  ${count(f.operations).padStart(10)} operations`,
  );
  const after = r.operations - r.operationsEqual - r.operationsDifferent;
  const calls = `${count(r.hypercalls)} hypercalls${r.continuations === 0 ? '' : `, ${count(r.continuations)} continued`}`;
  lines.push(
    `tapes: ${count(r.tapes)} replayed, ${count(r.equal)} equal, ${count(r.different)} different`,
    `operations: ${count(r.operations)}, ${count(r.operationsEqual)} equal, ${count(r.operationsDifferent)} different` +
      (after === 0 ? '' : `, ${count(after)} behind a difference not compared`),
    `build: ${r.build}; ${calls}`,
  );
  return [...lines, ...(r.complete ? [] : ['stopped before the last tape'])].join('\n');
}

/** The first difference of a tape: where, the operation, each field, the frames that it is about. */
export function differenceText(d: PlacedDifference): string {
  const { file, line } = d.position;
  const lines = [`${d.tape}: ${d.where}  (${file}:${String(line)}, ${d.build})`];
  if (d.op !== undefined) lines.push(`  ${JSON.stringify(d.op)}`);
  for (const f of d.differences) {
    lines.push(`  ${f.field.padEnd(14)} expected ${text(f.expected)}`, `  ${''.padEnd(14)} actual   ${text(f.actual)}`);
  }
  lines.push(...d.frames.flatMap(frameText));
  return lines.join('\n');
}

const text = (v: unknown): string => (v === undefined ? '(none)' : JSON.stringify(v));

function frameText(f: FrameState): string[] {
  const head = `    ${f.name.padEnd(7)} mfn 0x${f.mfn.toString(16)}`;
  const indent = ' '.repeat(head.length);
  const record =
    f.before === f.after ? [`${head} ${f.after}`] : [`${head} ${f.before ?? '(no frame)'}`, `${indent} -> ${f.after}`];
  return [...record, ...f.holders.map((h) => `${indent} held by ${h}`)];
}
