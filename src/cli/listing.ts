/**
 * An execution as a listing: one column per side of the race, a line per thing that happened, a rule at every switch.
 *
 * Invariant: lines stand in the order in which things happened; the number before a line is the step it happened in.
 * Pure.
 */
import type { Happening, Recording } from '../lab/explore/record.js';
import { wrap } from './table.js';

const MIN_COLUMN = 20;
const MAX_COLUMN = 60;
const MARGIN = 7;
/** Lines of one run between two switches that are shown before the rest is counted. */
const SHOWN = 14;

interface Line {
  readonly step: string;
  readonly side: number;
  readonly text: string;
}

/** The listing, without what was wrong. */
export function listing(r: Recording, columns: number): string[] {
  const lines = r.runs.flatMap((run, i) => runLines(r, i));
  const room = Number.isFinite(columns) ? Math.floor((columns - MARGIN) / r.sides.length) - 3 : MAX_COLUMN;
  const longest = Math.max(...lines.map((l) => l.text.length), ...r.sides.map((s) => s.length));
  const width = Math.max(MIN_COLUMN, Math.min(room, longest, MAX_COLUMN));
  const rule = `${'-'.repeat(MARGIN)}${r.sides.map(() => `+-${'-'.repeat(width)}-`).join('')}`;
  const row = (step: string, cells: readonly string[]): string =>
    `${step.padStart(MARGIN - 1)} ${cells.map((c) => `| ${c.padEnd(width)} `).join('')}`.trimEnd();
  const out = [row('step', r.sides), rule];
  let last = -1;
  for (const line of lines) {
    if (last >= 0 && last !== line.side) out.push(rule);
    last = line.side;
    wrap(line.text, width, '').forEach((text, i) => {
      out.push(row(i === 0 ? line.step : '', r.sides.map((_, s) => (s === line.side ? text : '')))); // prettier-ignore
    });
  }
  return out;
}

function runLines(r: Recording, index: number): Line[] {
  const run = r.runs[index];
  if (run === undefined) return [];
  const end = run.from + run.steps;
  // What a side does before its first point is noted in step 0, before anybody was picked.
  const first = r.runs.findIndex((o) => o.side === run.side) === index ? 0 : run.from;
  const mine = r.happenings.filter((h) => h.side === run.side && h.step >= first && h.step <= end);
  const own = mine.filter((h) => h.step < end || isEnd(h, r, index));
  const shown = own.length > SHOWN ? [...own.slice(0, SHOWN - 5), undefined, ...own.slice(-4)] : own;
  const lines = shown.map((h): Line => {
    if (h === undefined) return { step: '', side: run.side, text: `… ${String(own.length - SHOWN + 1)} more lines` };
    return { step: String(h.step), side: run.side, text: MARKS[h.kind] + h.text };
  });
  const text = `(${String(run.steps)} steps)`;
  return [...lines, { step: '', side: run.side, text }];
}

/** What is noted in the step of the switch belongs to the run that ends there. */
const isEnd = (h: Happening, r: Recording, index: number): boolean =>
  h.kind === 'access' || index === r.runs.length - 1 || h.side !== r.runs[index + 1]?.side;

const MARKS: Readonly<Record<Happening['kind'], string>> = {
  step: '> ',
  event: '  ',
  fault: '! ',
  access: '~ ',
  choice: '! ',
};
