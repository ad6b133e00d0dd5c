import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { words } from '../../src/ops/memory.js';
import { actor, cpuAt, HELD_MAX } from '../../src/sync/actor.js';
import { decodeTrace, formatEntry } from '../../src/trace/decode.js';
import { EVENT, eventShape } from '../../src/trace/events.js';
import { trace, traceRegionWords, traceStart, traceStop, TRACE_RING } from '../../src/trace/ring.js';

const BASE = 4096;
const CPUS = [cpuAt(1), cpuAt(2), cpuAt(3)] as const;
const [first, second] = CPUS;

beforeEach(() => words.fill(0));

describe('trace', () => {
  it('reads back all events of all actors in the order in which they happened', () => {
    traceStart(BASE, CPUS, 64);
    trace(second, EVENT.grantMap, 8, 3);
    trace(first, EVENT.gateEnter, 20, 0);
    trace(second, EVENT.grantUnmap, 3, -1);
    const { entries, lost } = decodeTrace(CPUS);
    expect(entries).toEqual([
      { stamp: 0, actor: 1, event: EVENT.grantMap, a: 8, b: 3 },
      { stamp: 1, actor: 0, event: EVENT.gateEnter, a: 20, b: 0 },
      { stamp: 2, actor: 1, event: EVENT.grantUnmap, a: 3, b: -1 },
    ]);
    expect(lost).toEqual([0, 0, 0]);
    expect(entries.map(formatEntry)).toEqual([
      '0 #1 grantMap gref=8 handle=3',
      '1 #0 gateEnter nr=20 arg=0',
      '2 #1 grantUnmap gref=3 handle=-1',
    ]);
  });

  it('keeps the newest events of each ring and says how many it lost', () => {
    const events = fc.array(fc.nat({ max: 2 }), { maxLength: 80 });
    fc.assert(
      fc.property(events, (actors) => {
        traceStart(BASE, CPUS, 8);
        actors.forEach((i, stamp) => {
          trace(CPUS[i] as number, EVENT.mark, i, stamp);
        });
        const all = actors.map((a, stamp) => ({ stamp, actor: a, event: EVENT.mark, a, b: stamp }));
        const kept = [0, 1, 2].map((i) => all.filter((e) => e.actor === i).slice(-8));
        const { entries, lost } = decodeTrace(CPUS);
        expect(entries).toEqual(kept.flat().sort((x, y) => x.stamp - y.stamp));
        expect(lost).toEqual([0, 1, 2].map((i) => Math.max(0, actors.filter((a) => a === i).length - 8)));
      }),
    );
  });

  it('writes inside its region only, and nothing when it is off', () => {
    trace(first, EVENT.mark, 1, 2);
    expect(words.every((w) => w === 0)).toBe(true);
    const end = BASE + traceRegionWords(CPUS.length, 4);
    words.fill(7, end, end + 64);
    words.fill(7, BASE - 64, BASE);
    traceStart(BASE, CPUS, 4);
    for (let i = 0; i < 100; i++) trace(CPUS[i % 3] as number, EVENT.mark, -1, -1);
    expect(words.subarray(end, end + 64).every((w) => w === 7)).toBe(true);
    expect(words.subarray(BASE - 64, BASE).every((w) => w === 7)).toBe(true);
    traceStop(CPUS);
    const before = words.slice(BASE, end);
    trace(first, EVENT.mark, 5, 5);
    expect(words.slice(BASE, end)).toEqual(before);
    expect(decodeTrace(CPUS).entries).toEqual([]);
  });

  it('takes a word of the actor record that no lock list uses', () => {
    const cpu = cpuAt(1);
    expect(cpu + TRACE_RING).toBeGreaterThan(actor.heldRank(cpu, HELD_MAX - 1));
    expect(TRACE_RING).toBeLessThan(64);
  });

  it('refuses rings that are no power of two', () => {
    expect(() => {
      traceStart(BASE, CPUS, 6);
    }).toThrow(RangeError);
  });

  it('has one shape per id, and shows an unknown id as it is', () => {
    const ids = Object.values(EVENT);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [name, id] of Object.entries(EVENT)) expect(eventShape(id)?.name).toBe(name);
    expect(formatEntry({ stamp: 1, actor: 0, event: 999, a: 0x12345, b: -2 })).toBe('1 #0 event 999 0x12345 -2');
  });
});
