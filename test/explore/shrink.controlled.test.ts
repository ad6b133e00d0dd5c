/** Shrinking: what comes out fails the same way, is smallest where the smallest is known, and is the same every time. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exhaustive } from '../../src/explore/exhaustive.js';
import { randomWalk } from '../../src/explore/random-walk.js';
import { Replay } from '../../src/explore/replay.js';
import { runsOf } from '../../src/explore/schedule.js';
import { search } from '../../src/explore/search.js';
import { shrink } from '../../src/explore/shrink.js';
import { programOf, smallPrograms, type Observed, type Op } from './programs.js';

const noise = (w: number, n: number): Op[] => Array.from({ length: n }, () => ({ op: 'add', w }));
const increment: Op[] = [
  { op: 'ldOnce', w: 0 },
  { op: 'ifSet', w: 3, v: 1 },
  { op: 'stOnce', w: 0, v: 1 },
];
/** A window: actor 1 must come between two neighbouring steps of actor 0. */
const window: Op[][] = [
  [...noise(1, 9), { op: 'stOnce', w: 0, v: 1 }, { op: 'stOnce', w: 0, v: 0 }, ...noise(1, 9)],
  [...noise(2, 9), { op: 'ifSet', w: 0, v: 5 }, ...noise(2, 9)],
];
const sawWindow = (actors: readonly (readonly Op[])[]): Observed =>
  programOf(actors, (line) => (/\| 0 (5|6|7|8|9|1\d) /.test(line) ? 'seen through the window' : undefined));

const marked = window.map((ops) => ops.map((o): Op => (o.op === 'add' ? { op: 'ldOnce', w: o.w } : o)));

/** The program without one operation, for each; actors stay. */
const withoutOne = (actors: readonly (readonly Op[])[]): Op[][][] =>
  actors.flatMap((ops, i) =>
    [...ops.keys()].map((at) => actors.map((o, k) => o.filter((_, n) => k !== i || n !== at))),
  );

describe('shrink', () => {
  it('leaves one preemption of a failure that a random walk found with many', () => {
    const p = sawWindow(marked);
    const r = search(p, randomWalk(3), { executions: 100_000 });
    expect(r.failures).toBe(1);
    expect(r.found[0]!.outcome.preemptions).toBeGreaterThan(4);
    const s = shrink(p, r.found[0]!.schedule)!;
    expect(s.preemptions).toBe(1);
    // Up to the window, then the other to its end, then the rest.
    expect(runsOf(s.schedule.picks)).toEqual([
      [0, 10],
      [1, 20],
      [0, 10],
    ]);
    expect(shrink(p, r.found[0]!.schedule)).toEqual(s);
    const replay = new Replay(s.schedule);
    expect(search(p, replay).found[0]?.findings).toEqual(s.findings);
    expect(replay.diverged).toBe(false);
  });

  it('drops operations as the caller offers to, until none can go', () => {
    let offered = 0;
    const make = (actors: readonly (readonly Op[])[]): Observed & { ops: typeof actors } => ({
      ...sawWindow(actors),
      ops: actors,
    });
    const p = make(marked);
    const r = search(p, randomWalk(3), { executions: 100_000 });
    const s = shrink(p, r.found[0]!.schedule, {
      executions: 100,
      simpler: (from) => {
        const fewer = withoutOne(from.ops);
        offered += fewer.length;
        return fewer.map(make);
      },
    })!;
    expect(s.program.ops).toEqual([
      [
        { op: 'stOnce', w: 0, v: 1 },
        { op: 'stOnce', w: 0, v: 0 },
      ],
      [{ op: 'ifSet', w: 0, v: 5 }],
    ]);
    expect(s.preemptions).toBe(1);
    expect(s.outcome.steps).toBe(4);
    expect(offered).toBeGreaterThan(30);
  });

  it('takes choices back to 0 except those that matter', () => {
    const p = programOf([[0, 1, 2, 3].map((w): Op => ({ op: 'choose', w })), noise(4, 1)], (line) =>
      /^done {2}\| \d \d 2 /.test(line) ? 'third is 2' : undefined,
    );
    const r = search(p, randomWalk(1), { executions: 1000 });
    const s = shrink(p, r.found[0]!.schedule)!;
    expect(s.schedule.choices).toEqual([{ actor: 0, nth: 2, what: 2, value: 1 }]);
  });

  it('keeps what it has when it is told to stop', () => {
    const p = sawWindow(marked);
    const r = search(p, randomWalk(3), { executions: 100_000 });
    const s = shrink(p, r.found[0]!.schedule, { stop: () => true })!;
    expect(s.attempts).toBeLessThan(4);
    expect(s.findings).toEqual(r.found[0]!.findings);
  });

  it('has no answer for a schedule that does not fail', () => {
    const p = programOf([increment, increment]);
    expect(shrink(p, { picks: Uint8Array.of(0, 1), choices: [] })).toBeUndefined();
  });

  it('reaches the fewest preemptions that there are, over random programs', () => {
    let shrunk = 0;
    fc.assert(
      fc.property(smallPrograms, fc.nat(50), (ops, seed) => {
        // Any outcome that no schedule without preemptions has is a failure.
        const plain = programOf(ops);
        search(plain, exhaustive(0), { failures: Infinity });
        const p = programOf(ops, (line) => (plain.outcomes.has(line) || line.startsWith('dead') ? undefined : line));
        const r = search(p, randomWalk(seed), { executions: 30, failures: Infinity });
        const bad = r.found.find((f) => f.findings.some((x) => x.rule === 'bad'));
        if (bad === undefined) return;
        shrunk++;
        const s = shrink(p, bad.schedule)!;
        const least = [1, 2, 3, 4].find((k) =>
          search(p, exhaustive(k), { failures: Infinity }).found.some((f) => f.findings.some((x) => x.rule === 'bad')),
        );
        expect(s.preemptions).toBe(least);
      }),
      { numRuns: 60, seed: 2 },
    );
    expect(shrunk).toBeGreaterThan(10);
  });
});
