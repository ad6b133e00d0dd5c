/**
 * Since which operation something is held: the event of the trace rings that began it, the hypercall it was part of, and
 * what its kernel was doing.
 *
 * Invariant: reads only, over a still machine; an event that the ring has lost, or that came before it was traced, is not
 * guessed at. Lock: none.
 * Source: DESIGN decision 8.
 */
import type { Held, Violation } from '../abi/guest.js';
import { MARK, markOf } from '../abi/marks.js';
import { currentDomain, domidOf } from '../hypervisor/domain.js';
import type { Cpu } from '../sync/actor.js';
import { decodeTrace, type Trace, type TraceEntry } from '../trace/decode.js';
import { EVENT } from '../trace/events.js';
import { eventText } from './explore/event-text.js';

const MARKS = new Map<number, string>(Object.entries(MARK).map(([name, id]) => [id, name]));

/** The rings of these vCPUs, as they stand. */
export class Since {
  readonly #cpus: readonly Cpu[];
  readonly #nameOf: (cpu: Cpu) => string;
  readonly #setup: Trace;
  #trace: Trace | undefined;

  /** `setup`: what these vCPUs did before the rings began. */
  constructor(cpus: readonly Cpu[], nameOf: (cpu: Cpu) => string, setup: Trace = { entries: [], lost: [] }) {
    this.#cpus = cpus;
    this.#nameOf = nameOf;
    this.#setup = setup;
  }

  /** `since event 57 of dom0.0: grantMap gref=8 handle=2, in grant_table_op, gntdev_map_grant_pages`. */
  of(held: Held): string {
    // Read once, and only when something is held.
    this.#trace ??= decodeTrace(this.#cpus);
    return (
      this.#in(this.#trace, held, 'event') ??
      this.#in(this.#setup, held, 'event of the setup') ??
      `since before ${[...this.#trace.lost, ...this.#setup.lost].some((n) => n > 0) ? 'the oldest kept event' : 'anything was traced'}`
    );
  }

  #in({ entries }: Trace, held: Held, what: string): string | undefined {
    const at = entries.findLastIndex((x) => this.#begins(x, held));
    const e = entries[at];
    if (e === undefined) return undefined;
    const before = entries.slice(0, at).filter((x) => x.actor === e.actor);
    const call = before.findLast((x) => x.event === EVENT.gateEnter);
    const mark = before.findLast((x) => x.event === EVENT.mark);
    const cpu = this.#cpus[e.actor];
    const who = cpu === undefined ? '' : ` of ${this.#nameOf(cpu)}`;
    const doing = [
      call === undefined ? '' : eventText(call.event, call.a, call.b).replace('hypercall ', 'in '),
      mark === undefined ? '' : `at ${MARKS.get(markOf(mark.a)) ?? 'a mark'}`,
    ];
    const text = `since ${what} ${String(e.stamp)}${who}: ${eventText(e.event, e.a, e.b)}`;
    return [text, ...doing.filter(Boolean)].join(', ');
  }

  /** The violation with a word about when what it names began to be held. */
  told<V extends Violation>(v: V): V {
    return v.held === undefined ? v : { ...v, since: this.of(v.held) };
  }

  #begins(e: TraceEntry, held: Held): boolean {
    if (held.kind === 'frame') {
      return (e.event === EVENT.pin || (e.event === EVENT.typeValidate && e.b > 0)) && e.a === held.mfn;
    }
    const cpu = this.#cpus[e.actor];
    const d = cpu === undefined ? 0 : currentDomain(cpu);
    return e.event === EVENT.grantMap && e.b === held.handle && d !== 0 && domidOf(d) === held.domid;
  }
}
