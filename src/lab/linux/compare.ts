/**
 * Holds what our kernel did against a recording: totals, totals by phase, the order of steps.
 *
 * Rules: continuations are not compared. A total that differs between the recorded runs may be anything from the least
 * to the most of them, and by phase as far from the first run's. Lazy-MMU sections and sub-calls of mmuext_op inside
 * multicalls have a tolerance of one. With one CPU every step is compared; with two, what
 * does not vary and the order of the phases of exit_mmap.
 * Source: ../linux-teardown FORMAT.md (totals, by_phase, varies).
 */
import { orderOf } from './order.js';
import type { Counts, Recorded } from './recorder.js';
import { stepsOf, type Recording, type Step } from './recording.js';

export interface Mismatch {
  /** `total`, a phase, `order` or `result`. */
  readonly phase: string;
  readonly field: string;
  readonly expected: unknown;
  readonly actual: unknown;
  /** Of the first step that differs: its index, and what is around it. */
  readonly index?: number;
  readonly around?: { readonly expected: readonly string[]; readonly actual: readonly string[] };
}

const TOLERATED: ReadonlySet<string> = new Set(['leave_lazy_mmu', 'x:sub:mmuext_op']);
const BY_PHASE = /^(batch_entries|batches|set_\w+|x:(?!gnt_).*)$/;
const isCompared = (field: string): boolean => !field.endsWith('(continuation)');

/** How far below and above the first run's figure one may be. */
interface Slack {
  readonly below: number;
  readonly above: number;
}

function slackOf(r: Recording, field: string): Slack {
  const runs = r.varies.totals[field];
  const least = (TOLERATED.has(field) ? 1 : 0) + (field === 'leave_lazy_mmu' ? cutZaps(r) : 0);
  if (runs === undefined) return { below: least, above: least };
  const first = r.totals[field] ?? 0;
  return { below: Math.max(least, first - Math.min(...runs)), above: Math.max(least, Math.max(...runs) - first) };
}

/** Context switches inside unmap_vmas: a zap leaves its lazy-MMU section to let others run, and enters a new one. */
function cutZaps(r: Recording): number {
  let inside = false;
  let n = 0;
  for (const s of stepsOf(r)) {
    if (s.kind === 'unmap_vmas') inside = true;
    else if (s.kind === 'unmap_vmas_ret') inside = false;
    else if (s.kind === 'switch_cr3' && inside) n++;
  }
  return n;
}

const within = (expected: number, actual: number, s: Slack): boolean =>
  actual >= expected - s.below && actual <= expected + s.above;

/** Calls that idle processors made for a task switch, by phase: FORMAT.md says which those are. */
function idleSwitches(steps: readonly Step[]): Counts {
  const out: Counts = {};
  steps.forEach((s, i) => {
    if (s.kind !== 'hc' || s.by !== 'idle') return;
    const before = steps[i - 1];
    if (before?.by === 'idle' && before.kind === 'leave_mm') return;
    const phase = String(s.fields['in']);
    out[phase] = (out[phase] ?? 0) + 1;
  });
  return out;
}

const SWITCH_CALL = 'x:mmuext_op';

/** The counts without `n` switches; a field that comes to nothing is gone. */
function without(counts: Counts, n: number): Counts {
  const left = (counts[SWITCH_CALL] ?? 0) - n;
  const { [SWITCH_CALL]: _all, ...others } = counts;
  return left > 0 ? { ...others, [SWITCH_CALL]: left } : others;
}

function compareCounts(r: Recording, phase: string, expected: Counts, actual: Counts, fields: string[]): Mismatch[] {
  return fields.flatMap((field) => {
    const e = expected[field] ?? 0;
    const a = actual[field] ?? 0;
    return within(e, a, slackOf(r, field)) ? [] : [{ phase, field, expected: e, actual: a }];
  });
}

const fieldsOf = (a: Counts, b: Counts): string[] =>
  [...new Set([...Object.keys(a), ...Object.keys(b)])].filter(isCompared).sort();

/** Every difference; the order's is the first one only. */
export function compareRecorded(r: Recording, ours: Recorded): Mismatch[] {
  return r.vcpus === 1 ? compareOne(r, ours) : compareStable(r, ours);
}

function compareOne(r: Recording, ours: Recorded): Mismatch[] {
  const steps = stepsOf(r);
  const switches = idleSwitches(steps);
  const totals = without(r.totals, sum(switches));
  const phases = [...new Set([...Object.keys(r.by_phase), ...Object.keys(ours.byPhase)])].sort();
  return [
    ...compareStatus(r, ours),
    ...compareCounts(r, 'total', totals, ours.totals, fieldsOf(totals, ours.totals)),
    ...phases.flatMap((phase) => {
      const expected = without(r.by_phase[phase] ?? {}, switches[phase] ?? 0);
      const actual = ours.byPhase[phase] ?? {};
      const fields = fieldsOf(expected, actual).filter((f) => BY_PHASE.test(f));
      return compareCounts(r, phase, expected, actual, fields);
    }),
    ...compareOrder(steadyLines(r, orderOf(steps)), steadyLines(r, ours.steps)),
  ];
}

const sum = (counts: Counts): number => Object.values(counts).reduce((a, b) => a + b, 0);

/** Without the lines of calls of which the recorded runs made different numbers. */
function steadyLines(r: Recording, lines: readonly string[]): string[] {
  return lines.filter((text) => {
    const call = /^hc (\w+) /.exec(text)?.[1];
    return call === undefined || !(`x:${call}` in r.varies.totals);
  });
}

/** Attributed by processor and time, the faults of a second thread are not in the recordings: a SIGSEGV has none. */
const NOT_ATTRIBUTED: ReadonlySet<string> = new Set(['x:page_fault']);

/** Two processors: totals and figures of the end's phases that all runs agreed on, and the order of those phases. */
function compareStable(r: Recording, ours: Recorded): Mismatch[] {
  const steps = stepsOf(r);
  const totals = without(r.totals, sum(idleSwitches(steps)));
  const stable = (a: Counts, b: Counts): string[] =>
    fieldsOf(a, b).filter((f) => !(f in r.varies.totals) && !NOT_ATTRIBUTED.has(f));
  return [
    ...compareStatus(r, ours),
    ...compareCounts(r, 'total', totals, ours.totals, stable(totals, ours.totals)),
    ...END_PHASES.flatMap((phase) => {
      const expected = r.by_phase[phase] ?? {};
      const actual = ours.byPhase[phase] ?? {};
      return compareCounts(
        r,
        phase,
        expected,
        actual,
        stable(expected, actual).filter((f) => BY_PHASE.test(f)),
      );
    }),
    ...compareOrder(phaseLines(orderOf(steps)), phaseLines(ours.steps)),
  ];
}

/** Phases that belong to one thread wherever it runs. */
const END_PHASES = ['release', 'arch_exit', 'unpin', 'pin', 'unmap_vmas', 'free_pgtables', 'tlb_finish'];
const PHASE_LINES = /^(exit_mmap|notifier_release|xen_exit_mmap|pgd_unpin|unmap_vmas|free_pgtables|tlb_finish)/;

/** The functions of exit_mmap, entered and left, in their order. */
function phaseLines(lines: readonly string[]): string[] {
  const end = lines.slice(lines.indexOf('exit_mmap'), lines.indexOf('exit_mmap_ret') + 1);
  return end.filter((text) => PHASE_LINES.test(text));
}

function compareStatus(r: Recording, ours: Recorded): Mismatch[] {
  const expected = r.results['status'];
  if (typeof expected !== 'number' || expected === ours.status) return [];
  return [{ phase: 'result', field: 'status', expected, actual: ours.status }];
}

const AROUND = 4;

function compareOrder(expected: readonly string[], actual: readonly string[]): Mismatch[] {
  const n = Math.max(expected.length, actual.length);
  for (let i = 0; i < n; i++) {
    if (expected[i] === actual[i]) continue;
    const part = (lines: readonly string[]): string[] => lines.slice(Math.max(0, i - AROUND), i + AROUND + 1);
    const around = { expected: part(expected), actual: part(actual) };
    return [{ phase: 'order', field: `step ${String(i)}`, expected: expected[i], actual: actual[i], index: i, around }];
  }
  return [];
}
