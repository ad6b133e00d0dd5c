/**
 * The trace's reader: all rings of a still machine as one list in the order in which things happened.
 *
 * Lock: none; actors stand still, or are dead. A ring that went round has lost its oldest events, and says how many.
 */
import { words } from '../ops/memory.js';
import { eventShape } from './events.js';
import { COUNT, ENTRY_WORDS, LINE, MASK, TRACE_RING } from './ring.js';

export interface TraceEntry {
  /** Place in the order of all events. */
  readonly stamp: number;
  /** Index into the list of actors given. */
  readonly actor: number;
  readonly event: number;
  readonly a: number;
  readonly b: number;
}

export interface Trace {
  readonly entries: readonly TraceEntry[];
  /** Events overwritten, per actor. */
  readonly lost: readonly number[];
}

const word = (a: number): number => words[a] as number;

function readRing(ring: number, actor: number, out: TraceEntry[]): number {
  const count = word(ring + COUNT);
  const mask = word(ring + MASK);
  const lost = Math.max(0, count - mask - 1);
  for (let n = lost; n < count; n++) {
    const at = ring + LINE + (n & mask) * ENTRY_WORDS;
    out.push({ stamp: word(at), actor, event: word(at + 1), a: word(at + 2), b: word(at + 3) });
  }
  return lost;
}

/** Reads the rings of these actors; one that is not traced contributes nothing. */
export function decodeTrace(cpus: readonly number[]): Trace {
  const entries: TraceEntry[] = [];
  const lost = cpus.map((cpu, actor) => {
    const ring = word(cpu + TRACE_RING);
    return ring === 0 ? 0 : readRing(ring, actor, entries);
  });
  entries.sort((x, y) => x.stamp - y.stamp);
  return { entries, lost };
}

/** One entry as a line for people: `12 #1 grantMap gref=8 handle=3`. */
export function formatEntry(e: TraceEntry): string {
  const shape = eventShape(e.event);
  const what =
    shape === undefined
      ? `event ${String(e.event)} ${hex(e.a)} ${hex(e.b)}`
      : `${shape.name} ${shape.a}=${hex(e.a)} ${shape.b}=${hex(e.b)}`;
  return `${String(e.stamp)} #${String(e.actor)} ${what}`;
}

/** Small numbers, errnos among them, in decimal, others in hexadecimal. */
const hex = (v: number): string => (Math.abs(v) < 4096 ? String(v) : `0x${(v >>> 0).toString(16)}`);
