/**
 * Trace rings: one per actor in the shared memory, overwritten in a circle, so the last events survive any death.
 *
 * Invariant: a ring is written by its own actor only; the region's clock, taken by one atomic add, orders the events
 * of all rings (an event that happened before another has the smaller stamp).
 * Lock: none. Recording is no schedule point and changes nothing that a run reads.
 *
 * Layout: a region is its clock, on a line of its own, then one ring per actor; a ring is a header line (entries - 1,
 * events so far, address of the clock), then entries of four words: stamp, event, a, b.
 * The actor record holds the ring's address; 0: tracing is off, and costs one load and a branch.
 */
import { add } from '../ops/atomics.js';
import { words } from '../ops/memory.js';
import type { Event } from './events.js';

/** The word of the actor record that belongs to this room (src/sync/actor.ts lists it). */
export const TRACE_RING = 57;

export const LINE = 16;
export const ENTRY_WORDS = 4;
/** In a ring's header. */
export const MASK = 0;
export const COUNT = 1;
const CLOCK = 2;

const ringWords = (entries: number): number => LINE + entries * ENTRY_WORDS;

/** Words of a region for `actors` rings of `entries` entries each. */
export const traceRegionWords = (actors: number, entries: number): number => LINE + actors * ringWords(entries);

/** Starts tracing these actors into the region at `base`, all rings empty; `entries` is a power of two. */
export function traceStart(base: number, cpus: readonly number[], entries: number): void {
  if (entries < 1 || (entries & (entries - 1)) !== 0) throw new RangeError('trace: entries must be a power of two');
  words.fill(0, base, base + traceRegionWords(cpus.length, entries));
  cpus.forEach((cpu, i) => {
    const ring = base + LINE + i * ringWords(entries);
    words[ring + MASK] = entries - 1;
    words[ring + CLOCK] = base;
    words[cpu + TRACE_RING] = ring;
  });
}

/** Stops tracing these actors. Their rings stay as they are, but `decodeTrace` no longer finds them. */
export function traceStop(cpus: readonly number[]): void {
  for (const cpu of cpus) words[cpu + TRACE_RING] = 0;
}

/** Records an event of the running actor; nothing when tracing is off. */
export function trace(cpu: number, event: Event, a: number, b: number): void {
  const ring = words[cpu + TRACE_RING] as number;
  if (ring !== 0) append(ring, event, a, b);
}

function append(ring: number, event: Event, a: number, b: number): void {
  const n = words[ring + COUNT] as number;
  const at = ring + LINE + (n & (words[ring + MASK] as number)) * ENTRY_WORDS;
  words[at] = add(words[ring + CLOCK] as number, 1);
  words[at + 1] = event;
  words[at + 2] = a;
  words[at + 3] = b;
  words[ring + COUNT] = n + 1;
}
