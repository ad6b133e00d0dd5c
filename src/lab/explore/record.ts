/**
 * One execution as it is replayed: its trace hash, and what happened between its switches.
 *
 * Invariant: recording changes nothing that the execution reads; the hash covers every step's actor, address, kind and
 * size, and every choice, so that two executions with one hash took the same steps.
 */
import { CHOICE, choiceName } from '../../sync/choices.js';
import { POINT_LOCK, POINT_UNLOCK, POINT_WRITE } from '../../sync/schedule.js';
import { FAULT } from './event-text.js';
import type { Finding, Names } from '../../explore/program.js';
import type { Picker, Strategy, View } from '../../explore/strategy.js';

/** One line of a column: what the side did, in which step of the execution. */
export interface Happening {
  readonly step: number;
  readonly side: number;
  readonly text: string;
  /** How it is shown: a step of the scenario, a hypercall or event, a fault, an access at a switch, a choice. */
  readonly kind: 'step' | 'event' | 'fault' | 'access' | 'choice';
}

export interface Recording {
  readonly sides: readonly string[];
  readonly happenings: readonly Happening[];
  /** Steps of each run between two switches, in order. */
  readonly runs: readonly { readonly side: number; readonly from: number; readonly steps: number }[];
  readonly steps: number;
  readonly preemptions: number;
  readonly ending: string;
  readonly findings: readonly Finding[];
  readonly trace: string;
  /** A step of the schedule could not be taken as it says. */
  readonly diverged: boolean;
}

/** Hashes an execution while another strategy decides it. */
export class TraceHash implements Strategy {
  readonly #inner: Picker;
  #h = 0x811c9dc5;

  constructor(inner: Picker) {
    this.#inner = inner;
  }

  /** Of the execution that ran last. */
  get hash(): string {
    return (this.#h >>> 0).toString(16).padStart(8, '0');
  }

  begin(view: View): void {
    this.#h = 0x811c9dc5;
    this.#inner.begin(view);
  }

  pick(view: View, running: number): number {
    const next = this.#inner.pick(view, running);
    if (next >= 0) {
      this.#add(next);
      this.#add(view.address[next] ?? 0);
      this.#add((view.kind[next] ?? 0) ^ ((view.words[next] ?? 0) << 16));
    }
    return next;
  }

  choose(view: View, actor: number, what: number, n: number): number {
    const value = this.#inner.choose?.(view, actor, what, n) ?? 0;
    this.#add((what << 8) ^ value ^ (actor << 24));
    return value;
  }

  next(): boolean {
    return false;
  }

  #add(v: number): void {
    let h = Math.imul(this.#h ^ v, 0x01000193);
    h ^= h >>> 15;
    this.#h = Math.imul(h, 0x2c1b3c6d);
  }
}

/** Notes who stood where at every switch; the texts are made afterwards, from the memory as it is then. */
export class Notes implements Picker {
  readonly #inner: Picker;
  readonly #names: Names;
  readonly #events: (side: number) => readonly string[];
  readonly happenings: Happening[] = [];
  readonly runs: { side: number; from: number; steps: number }[] = [];

  constructor(inner: Picker, names: Names, events: (side: number) => readonly string[]) {
    this.#inner = inner;
    this.#names = names;
    this.#events = events;
  }

  begin(view: View): void {
    this.#inner.begin(view);
  }

  pick(view: View, running: number): number {
    const next = this.#inner.pick(view, running);
    if (next < 0) return next;
    const last = this.runs.at(-1);
    if (last !== undefined) this.#look(view.steps, last.side);
    if (last?.side === next) last.steps++;
    else {
      if (last !== undefined) this.#left(view, last.side);
      this.runs.push({ side: next, from: view.steps, steps: 1 });
    }
    return next;
  }

  choose(view: View, actor: number, what: number, n: number): number {
    const value = this.#inner.choose?.(view, actor, what, n) ?? 0;
    // A fault has an event of its own, which says what it was.
    if (value !== 0 && what !== CHOICE.fault)
      this.note(view.steps, actor, `${choiceName(what)}: ${String(value)} of ${String(n)}`, 'choice');
    return value;
  }

  note(step: number, side: number, text: string, kind: Happening['kind']): void {
    this.happenings.push({ step, side, text, kind });
  }

  /** After the last step. */
  finish(view: View): void {
    const last = this.runs.at(-1);
    if (last !== undefined) this.#look(view.steps, last.side);
  }

  #look(step: number, side: number): void {
    for (const text of this.#events(side)) {
      this.note(step, side, text, text.startsWith(FAULT) ? 'fault' : 'event');
    }
  }

  /** What the side that is left stands before. */
  #left(view: View, side: number): void {
    const state = view.state[side];
    if (state === 2) return this.note(view.steps, side, 'done', 'access');
    const name = this.#names.address(view.address[side] ?? 0);
    const verb = state === 1 ? 'waits for' : `before ${verbOf(view.kind[side] ?? 0)}`;
    this.note(view.steps, side, `${verb} ${name}`, 'access');
  }
}

function verbOf(kind: number): string {
  if ((kind & POINT_LOCK) !== 0) return 'taking';
  if ((kind & POINT_UNLOCK) !== 0) return 'releasing';
  return (kind & POINT_WRITE) !== 0 ? 'changing' : 'reading';
}
