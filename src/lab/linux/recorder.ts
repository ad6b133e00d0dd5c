/**
 * The recorder of our side: from the trace rings to what a recording says: totals, totals by phase, the steps in order.
 *
 * Hypercalls, multicall entries, emulated stores and faults are the hypervisor's events; the rest are the kernel's marks.
 * Events of a context switch are left out, as in the recordings. Recording goes from the script's `begin` to its `end`, or to where all have exited.
 * Invariant: totals are the sums over phases of those fields that have phases.
 * Source: ../linux-teardown FORMAT.md (totals, by_phase, steps).
 */
import { GNTTABOP_map_grant_ref } from '../../abi/grant.js';
import {
  HYPERVISOR_grant_table_op,
  HYPERVISOR_memory_op,
  HYPERVISOR_mmu_update,
  HYPERVISOR_mmuext_op,
  HYPERVISOR_multicall,
  HYPERVISOR_update_va_mapping,
} from '../../abi/hypercall.js';
import { MARK, markDetail, markOf, type MarkName } from '../../abi/marks.js';
import { EVENT } from '../../trace/events.js';
import type { TraceEntry } from '../../trace/decode.js';
import { Phase } from './phases.js';
import { StepWriter } from './step-writer.js';

export type Counts = Record<string, number>;
/** What happened in one run, in the words of the recordings. */
export interface Recorded {
  readonly totals: Counts;
  readonly byPhase: Record<string, Counts>;
  /** Of one processor after the other. */
  readonly steps: readonly string[];
  /** Signal that ended the first process to exit, 0 none. */
  readonly status: number | undefined;
}

const CALLS: ReadonlyMap<number, string> = new Map([
  [HYPERVISOR_mmu_update, 'mmu_update'],
  [HYPERVISOR_update_va_mapping, 'update_va_mapping'],
  [HYPERVISOR_multicall, 'multicall'],
  [HYPERVISOR_mmuext_op, 'mmuext_op'],
  [HYPERVISOR_grant_table_op, 'grant_table_op'],
  [HYPERVISOR_memory_op, 'memory_op'],
]);
const callName = (nr: number): string => CALLS.get(nr) ?? `hypercall ${String(nr)}`;
const MARK_NAMES: ReadonlyMap<number, MarkName> = new Map(
  (Object.keys(MARK) as MarkName[]).map((name) => [MARK[name], name]),
);

/** State of one processor. */
interface Processor {
  readonly phase: Phase;
  readonly steps: StepWriter;
  switching: boolean;
  /** Serving another processor: its buffers are nobody's in the recordings, its hypercalls are counted. */
  serving: boolean;
  /** Number and first argument of the call being entered. */
  call: readonly [number, number];
}

export class Recorder {
  readonly totals: Counts = {};
  readonly byPhase: Record<string, Counts> = {};
  readonly #names: readonly string[];
  readonly #processors = new Map<number, Processor>();
  #started = false;
  #ended = false;
  #status: number | undefined;

  constructor(names: readonly string[]) {
    this.#names = names;
  }

  /** Takes the next event of all processors. */
  take(e: TraceEntry): void {
    const p = this.#processor(e.actor);
    if (e.event === EVENT.mark) this.#mark(p, MARK_NAMES.get(markOf(e.a)), markDetail(e.a), e.b);
    else if (this.#started && !this.#ended && !p.switching) this.#hypervisorEvent(p, e);
  }

  result(): Recorded {
    return {
      totals: this.totals,
      byPhase: this.byPhase,
      steps: [...this.#processors.values()].flatMap((p) => p.steps.lines),
      status: this.#status,
    };
  }

  #processor(actor: number): Processor {
    const known = this.#processors.get(actor);
    if (known !== undefined) return known;
    const steps = new StepWriter((field, n) => {
      this.#total(field, n);
    });
    const p: Processor = { phase: new Phase(), steps, switching: false, serving: false, call: [0, 0] };
    this.#processors.set(actor, p);
    return p;
  }

  #total(field: string, n = 1): void {
    this.totals[field] = (this.totals[field] ?? 0) + n;
  }

  /** A field that is counted by phase too. */
  #count(p: Processor, field: string, n = 1): void {
    this.#total(field, n);
    const counts = (this.byPhase[p.phase.now] ??= {});
    counts[field] = (counts[field] ?? 0) + n;
  }

  #mark(p: Processor, name: MarkName | undefined, detail: number, word: number): void {
    if (name === 'context_switch') p.switching = true;
    else if (name === 'context_switch_ret') p.switching = false;
    else if (name === 'cross_call' || name === 'cross_call_ret') p.serving = name === 'cross_call';
    else if (name === 'begin') this.#started = true;
    else if (name === 'end') this.#ended = true;
    else if (name === 'do_exit' && this.#started) this.#exited(p, detail);
    else if (name === 'user') this.#userMark(p, detail);
    else if (name !== undefined && this.#started && !this.#ended && !p.switching) this.#point(p, name, detail, word);
  }

  #userMark(p: Processor, index: number): void {
    if (!this.#started || this.#ended) return;
    const name = this.#names[index] ?? '?';
    p.phase.userMark(name);
    p.steps.line(`mark ${name}`);
  }

  /** A task exits; the first one's signal is the result, also when it exits as another program after the end. */
  #exited(p: Processor, signal: number): void {
    this.#status ??= signal;
    if (!this.#ended) this.#point(p, 'do_exit', 0, 0);
  }

  #point(p: Processor, name: MarkName, detail: number, word: number): void {
    p.phase.enter(name);
    if (name === 'set_pte') this.#count(p, 'set_pte');
    else if (name === 'set_upper') this.#count(p, p.steps.setUpper(detail, word));
    else if (name === 'flush') {
      if (p.serving) return;
      this.#count(p, 'batches');
      this.#count(p, 'batch_entries', detail);
      p.steps.flush(detail, word);
    } else p.steps.point(name, detail, word);
  }

  #hypervisorEvent(p: Processor, e: TraceEntry): void {
    if (e.event === EVENT.gateEnter) p.call = [e.a, e.b];
    else if (e.event === EVENT.gateArgs) this.#hypercall(p, e.a, e.b);
    else if (e.event === EVENT.subcall) this.#count(p, `x:sub:${callName(e.a)}`);
    else if (e.event === EVENT.ptwrEmulate) this.#count(p, 'x:ptwr_emulation');
    else if (e.event === EVENT.pageFault) {
      this.#count(p, 'x:page_fault');
      p.steps.line('pagefault');
    }
  }

  #hypercall(p: Processor, arg1: number, arg2: number): void {
    const [nr, arg0] = p.call;
    const name = callName(nr);
    this.#count(p, `x:${name}`);
    let n = arg1;
    if (nr === HYPERVISOR_grant_table_op) {
      n = arg2;
      this.#total(arg0 === GNTTABOP_map_grant_ref ? 'x:gnt_map_ops' : 'x:gnt_unmap_ops', n);
    } else if (nr === HYPERVISOR_update_va_mapping) n = 1;
    p.steps.hypercall(name, n);
  }
}
