/**
 * What a replay of many tapes came to, as data and as text.
 *
 * Source: tapes FORMAT.md; DESIGN decision 10.
 */
import type { SourcePosition } from '../../abi/errors.js';
import type { FrameText } from './frame-words.js';
import type { TapeDifference } from './replay.js';
import { same } from './compare.js';

export interface FamilyCount {
  tapes: number;
  equal: number;
}

/** The outcome over all files. */
export interface ConformReport {
  readonly build: string;
  /** False: stopped from outside before the last tape. */
  readonly complete: boolean;
  readonly tapes: number;
  readonly operations: number;
  readonly hypercalls: number;
  /** How often a hypercall was preempted and continued. */
  readonly continuations: number;
  readonly equal: number;
  readonly different: number;
  readonly families: Readonly<Record<string, FamilyCount>>;
  readonly firstDifferences: readonly PlacedDifference[];
}

export interface PlacedDifference extends TapeDifference {
  readonly position: SourcePosition;
}

/** One line per family and one in all. */
export function summaryText(r: ConformReport): string {
  const lines = Object.entries(r.families).map(
    ([name, f]) => `${name.padEnd(12)} ${String(f.equal).padStart(5)} of ${String(f.tapes).padStart(5)} equal`,
  );
  const total = `${String(r.tapes)} tapes, ${String(r.operations)} operations, ${String(r.hypercalls)} hypercalls${r.continuations === 0 ? '' : `, ${String(r.continuations)} continued`}: ${String(r.equal)} equal, ${String(r.different)} different (${r.build} build)`;
  return [...lines, total, ...(r.complete ? [] : ['stopped before the last tape'])].join('\n');
}

/** The first difference of a tape: where, the operation, each field, the frames that it is about. */
export function differenceText(d: PlacedDifference): string {
  const { file, line } = d.position;
  const what =
    d.op === undefined
      ? 'initial state'
      : `op ${String(d.index)} ${d.op.op}${d.op.by === undefined ? '' : ` by ${d.op.by}`}`;
  const lines = [`${d.tape}: ${what}  (${file}:${String(line)})`];
  if (d.op !== undefined) lines.push(`  ${inputText(d)}`);
  for (const f of d.differences) {
    lines.push(`  ${f.field.padEnd(14)} expected ${text(f.expected)}`, `  ${''.padEnd(14)} actual   ${text(f.actual)}`);
  }
  lines.push(...framesText(d));
  return lines.join('\n');
}

const text = (v: unknown): string => (v === undefined ? '(none)' : JSON.stringify(v));

/** The operation without its expectation. */
function inputText(d: PlacedDifference): string {
  const input = Object.entries(d.op ?? {}).filter(([key]) => key !== 'expect');
  return JSON.stringify(Object.fromEntries(input));
}

/** Frames that the operation or a differing field names, and those whose record changed. */
function framesText(d: PlacedDifference): string[] {
  const mentioned = JSON.stringify([d.op, d.differences]);
  const before = new Map(d.before.map((f) => [f.name, f.text]));
  const wanted = (f: FrameText): boolean =>
    mentioned.includes(`"${f.name}"`) || mentioned.includes(`.${f.name}"`) || !same(before.get(f.name), f.text);
  return d.after.filter(wanted).flatMap((f) => {
    const was = before.get(f.name);
    const head = `    ${f.name.padEnd(7)} mfn ${String(f.mfn).padEnd(5)}`;
    if (was === f.text) return [`${head} ${f.text}`];
    return [`${head} ${was ?? '(no frame)'}`, `${' '.repeat(head.length)} -> ${f.text}`];
  });
}
