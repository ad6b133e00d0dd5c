/**
 * A schedule as a value: who takes each step, and the choices that are not what the machine does by itself.
 *
 * Invariant: `decodeSchedule(encodeSchedule(s))` equals `s`; text that is no schedule decodes to undefined, never throws.
 * A choice is named by its actor and by how many that actor was asked before, so that it stays the same choice when
 * switches elsewhere are taken away.
 * Format: base64url of LEB128 numbers: version 1; number of runs, each (actor, steps); number of choices, each
 * (actor, nth, what, value).
 */
import type { Chosen } from './loop.js';

export interface Choice {
  readonly actor: number;
  /** Choices that this actor was asked before. */
  readonly nth: number;
  readonly what: number;
  readonly value: number;
}

export interface Schedule {
  /** The actor of each step. */
  readonly picks: Uint8Array;
  readonly choices: readonly Choice[];
}

/** Actor and number of steps taken in a row. */
export type Run = readonly [actor: number, steps: number];

const VERSION = 1;
/** Longest schedule accepted from a text. */
const MOST_STEPS = 1 << 26;

/** The schedule of the execution that a loop ran last. */
export function scheduleOf(last: { picks: Uint8Array; steps: number; chosen: readonly Chosen[] }): Schedule {
  const asked = new Map<number, number>();
  const choices: Choice[] = [];
  for (const { actor, what, value } of last.chosen) {
    const nth = asked.get(actor) ?? 0;
    asked.set(actor, nth + 1);
    if (value !== 0) choices.push({ actor, nth, what, value });
  }
  return { picks: last.picks.slice(0, last.steps), choices };
}

export function runsOf(picks: Uint8Array): Run[] {
  const runs: [number, number][] = [];
  for (const actor of picks) {
    const last = runs.at(-1);
    if (last?.[0] === actor) last[1]++;
    else runs.push([actor, 1]);
  }
  return runs;
}

export function picksOf(runs: readonly Run[]): Uint8Array {
  const picks = new Uint8Array(runs.reduce((sum, [, steps]) => sum + steps, 0));
  let at = 0;
  for (const [actor, steps] of runs) picks.fill(actor, at, (at += steps));
  return picks;
}

export function encodeSchedule(s: Schedule): string {
  const runs = runsOf(s.picks);
  const numbers = [VERSION, runs.length, ...runs.flat(), s.choices.length];
  for (const c of s.choices) numbers.push(c.actor, c.nth, c.what, c.value);
  const bytes: number[] = [];
  for (let n of numbers) {
    for (; n > 127; n >>>= 7) bytes.push((n & 127) | 128);
    bytes.push(n);
  }
  return Buffer.from(bytes).toString('base64url');
}

/** The schedule that `text` says, or undefined. */
export function decodeSchedule(text: string): Schedule | undefined {
  if (!/^[\w-]+$/.test(text)) return undefined;
  const numbers = decodeNumbers(Buffer.from(text, 'base64url'));
  if (numbers === undefined) return undefined;
  let at = 0;
  const next = (): number => numbers[at++] ?? NaN;
  if (next() !== VERSION) return undefined;
  const runs: Run[] = [];
  let steps = 0;
  for (let left = next(); left > 0; left--) {
    const run: Run = [next(), next()];
    if (!(run[0] < 256 && run[1] > 0 && (steps += run[1]) <= MOST_STEPS)) return undefined;
    runs.push(run);
  }
  const choices: Choice[] = [];
  for (let left = next(); left > 0; left--) {
    const choice = { actor: next(), nth: next(), what: next(), value: next() };
    if (Number.isNaN(choice.value)) return undefined;
    choices.push(choice);
  }
  return at === numbers.length ? { picks: picksOf(runs), choices } : undefined;
}

/** LEB128 numbers below 2^31, or undefined when the last one is cut off or one is larger. */
function decodeNumbers(bytes: Uint8Array): number[] | undefined {
  const numbers: number[] = [];
  let value = 0;
  let shift = 0;
  for (const b of bytes) {
    if (shift > 21 && b > 7) return undefined;
    value |= (b & 127) << shift;
    shift += 7;
    if (b > 127) continue;
    numbers.push(value);
    value = shift = 0;
  }
  return shift === 0 ? numbers : undefined;
}
