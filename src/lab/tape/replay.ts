/**
 * Replays one tape: set-up, then each operation, its answer and the probes compared with what Xen answered.
 *
 * Invariant: a tape is equal only if every field of every operation and of every probe is; replay ends at the first
 * difference, with what was expected, what came, and the frames around it.
 * Source: tapes FORMAT.md (a tape, probes).
 */
import { HypervisorBug } from '../../abi/errors.js';
import { vcpu } from '../../machine/cpu-record.js';
import { BUILD, peek, run } from '../../sync/primitives.js';
import { VcpuStopped } from '../../vcpu/stopped.js';
import {
  applyProbes,
  compareAnswer,
  compareProbes,
  type Answer,
  type FieldDifference,
  type MutableProbeState,
} from './compare.js';
import { snapshot, type FrameSnapshot } from './frame-words.js';
import { framesAround, type FrameState } from './frames-around.js';
import type { TapeGuest } from './guest.js';
import { execute } from './operations.js';
import { probe } from './probes.js';
import type { Op, Tape } from './schema.js';
import { crashSiteOf, setUp } from './set-up.js';
import type { TapeMachine } from './tape-machine.js';

/** Where a tape went another way. */
export interface TapeDifference {
  readonly tape: string;
  readonly family: string;
  /** Index of the operation; -1: the state before the first one. */
  readonly index: number;
  /** The operation, or what is told in its place. */
  readonly where: string;
  /** Its inputs. */
  readonly op: Readonly<Record<string, unknown>> | undefined;
  readonly differences: readonly FieldDifference[];
  /** The frames that it is about: those named by the operation or a differing field, and those whose record changed. */
  readonly frames: readonly FrameState[];
}

export interface TapeResult {
  readonly tape: string;
  readonly family: string;
  readonly ops: number;
  /** Hypercalls of all kernels, set-up and probes included, and how often one was preempted and continued. */
  readonly hypercalls: number;
  readonly continuations: number;
  readonly difference: TapeDifference | undefined;
}

export type AfterOperation = (m: TapeMachine, index: number, op: Op | undefined) => void;

export const REPLAY_BUILD: string = BUILD;

/**
 * Replays `tape` on a machine of its own. With a quantum, long hypercalls are preempted at each `quantum`th check and
 * continued, which must change no answer. `after` is shown the still machine after set-up (index -1) and after each
 * operation.
 */
export function replayTape(tape: Tape, quantum = 0, after?: AfterOperation): TapeResult {
  const m = setUp(tape, quantum);
  const r = new Replay(m, after);
  const difference = r.difference();
  const { hypercalls, continuations } = countCalls(m);
  return { tape: tape.id, family: tape.family, ops: tape.ops.length, hypercalls, continuations, difference };
}

/** The vCPU runs from here to the end of the operation; between two operations nobody waits for it. */
function onCpu(by: TapeGuest, m: TapeMachine, op: Op): Answer {
  return run(function* () {
    yield* by.g.start();
    const answer = yield* execute(m, by, op);
    yield* by.g.park();
    return answer;
  });
}

function look(d0: TapeGuest, m: TapeMachine, state: MutableProbeState): void {
  run(function* () {
    yield* d0.g.start();
    yield* probe(m, state);
    yield* d0.g.park();
  });
}

function countCalls(m: TapeMachine): { hypercalls: number; continuations: number } {
  let hypercalls = 0;
  let continuations = 0;
  for (const { g } of m.guests.values()) {
    hypercalls += peek(vcpu.nHypercalls(g.cpu));
    continuations += peek(vcpu.nContinuations(g.cpu));
  }
  return { hypercalls, continuations };
}

const emptyState = (): MutableProbeState => ({ types: new Map(), doms: new Map(), grants: new Map() });
const UPPER = /:L[234]/;

function withoutExpectation(op: Op): Record<string, unknown> {
  return Object.fromEntries(Object.entries(op).filter(([key]) => key !== 'expect'));
}

class Replay {
  readonly #m: TapeMachine;
  readonly #expected = emptyState();
  readonly #actual = emptyState();
  /** Frames that were tables above level 1. */
  readonly #upper = new Set<string>();
  #before: FrameSnapshot = { names: [], words: new Int32Array(0) };

  readonly #after: AfterOperation | undefined;

  constructor(m: TapeMachine, after: AfterOperation | undefined) {
    this.#m = m;
    this.#after = after;
  }

  /** The first difference, if there is one. */
  difference(): TapeDifference | undefined {
    const { tape } = this.#m;
    const first = this.#guarded(-1, undefined, () => this.#begin());
    if (first !== undefined) return first;
    this.#after?.(this.#m, -1, undefined);
    for (const [i, op] of tape.ops.entries()) {
      if (this.#m.stopped.has('d0'))
        return this.#report(i, op, [{ field: 'op', expected: op.op, actual: 'd0 is dead' }]);
      const found = this.#guarded(i, op, () => this.#step(op));
      if (found !== undefined) return found;
      this.#after?.(this.#m, i, op);
    }
    return undefined;
  }

  /**
   * A broken invariant of the hypervisor, or d0's death under the probes, is told like a difference: the other tapes
   * can still be replayed.
   */
  #guarded(index: number, op: Op | undefined, body: () => FieldDifference[]): TapeDifference | undefined {
    try {
      return this.#report(index, op, body());
    } catch (e) {
      if (!(e instanceof HypervisorBug || e instanceof VcpuStopped)) throw e;
      const actual = (e.stack ?? e.message).split('\n').slice(0, 8);
      return this.#report(index, op, [{ field: 'bug', expected: undefined, actual }]);
    }
  }

  #begin(): FieldDifference[] {
    const { tape } = this.#m;
    for (const d of this.#m.domains()) {
      for (let r = 0; r < tape.watch; r++)
        this.#expected.grants.set(`${d}.${String(r)}`, { flags: 0, dom: 'd0', f: 0 });
    }
    applyProbes(this.#expected, tape.init);
    this.#look();
    return compareProbes(this.#expected, this.#actual);
  }

  #step(op: Op): FieldDifference[] {
    this.#before = snapshot(this.#m);
    const answer = this.#answer(op);
    const differences = compareAnswer(op, answer, this.#upper);
    if (answer.outcome === 'domain_crash') differences.push(...this.#crashSite());
    applyProbes(this.#expected, op.expect);
    if (answer.outcome !== 'domain_crash') {
      this.#look();
      differences.push(...compareProbes(this.#expected, this.#actual));
    }
    return differences;
  }

  /** What the operation answered; the caller's death is an answer. */
  #answer(op: Op): Answer {
    const by = this.#caller(op);
    if (by === undefined) return { outcome: 'caller_dead' };
    try {
      return onCpu(by, this.#m, op);
    } catch (e) {
      if (!(e instanceof VcpuStopped)) throw e;
      this.#m.stopped.add(by.name);
      return { outcome: by.name === 'd0' ? 'domain_crash' : 'caller_crash' };
    }
  }

  /** The kernel that performs the operation; undefined: it is dead. */
  #caller(op: Op): TapeGuest | undefined {
    if (op.op === 'gnt_write') return this.#m.running(op.dom) ?? this.#m.d0;
    return this.#m.running(op.by ?? 'd0');
  }

  /** Runs the probes, and notes what they say about who is dead and which frames are tables. */
  #look(): void {
    const { d0 } = this.#m;
    look(d0, this.#m, this.#actual);
    for (const [name, s] of this.#actual.doms) if (s === null || s.dying + s.shutdown > 0) this.#m.stopped.add(name);
    for (const [name, type] of this.#actual.types) if (type !== null && UPPER.test(type)) this.#upper.add(name);
  }

  #crashSite(): FieldDifference[] {
    const expected = this.#m.tape.crash_at;
    const actual = crashSiteOf(this.#m.d0.domid);
    return expected === undefined || expected === actual ? [] : [{ field: 'crash_at', expected, actual }];
  }

  #report(index: number, op: Op | undefined, differences: readonly FieldDifference[]): TapeDifference | undefined {
    if (differences.length === 0) return undefined;
    const { id, family } = this.#m.tape;
    const by = op?.by === undefined ? '' : ` by ${op.by}`;
    const where = op === undefined ? 'initial state' : `op ${String(index)} ${op.op}${by}`;
    const input = op === undefined ? undefined : withoutExpectation(op);
    const frames = framesAround(this.#m, this.#before, JSON.stringify([input, differences]));
    return { tape: id, family, index, where, op: input, differences, frames };
  }
}
