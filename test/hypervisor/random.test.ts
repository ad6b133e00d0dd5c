/** Random programs: after every hypercall all counts equal their holders, and preemption changes no result. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { destroyDomain } from '../../src/hypervisor/domctl.js';
import { globals } from '../../src/hypervisor/globals.js';
import { reapDomains } from '../../src/hypervisor/reap.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { actor, CONTROL, MODE_OFF } from '../../src/sync/actor.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import { ERESTART } from '../../src/abi/errno.js';
import { machine, single, type Dom } from './machine.js';
import { perform, Pool, program, type Program } from './program.js';
import { recount, totals } from './recount.js';

interface Run {
  readonly results: number[];
  readonly picture: string[];
  readonly continuations: number;
  readonly lost: boolean;
}

/** Xen has forgotten a table of this domain's: counts are off from here on. */
const lost = (dom: Dom): boolean => peek(vcpu.nLostTables(dom.cpu)) !== 0;

/** Runs a program on a fresh machine, recounting after every call. */
function runAll(steps: Program, quantum: number): Run {
  const d0 = single({ quantum });
  const pool = new Pool(d0);
  const results: number[] = [];
  for (const s of steps) {
    results.push(perform(pool, s));
    if (lost(d0)) break; // recorded: Xen leaks there, see pin.test.ts
    expect(recount()).toEqual([]);
  }
  expect(totals()).toEqual([]);
  return { results, picture: pool.picture(), continuations: peek(vcpu.nContinuations(d0.cpu)), lost: lost(d0) };
}

describe('random programs of one domain', () => {
  it('leave every count equal to its holders after every call', { timeout: 60_000 }, () => {
    const seen = new Map<number, number>();
    fc.assert(
      fc.property(program(60), (steps) => {
        for (const rc of runAll(steps, 0).results) seen.set(rc, (seen.get(rc) ?? 0) + 1);
      }),
      { numRuns: 25, seed: 4242 },
    );
    // Not vacuous: many calls succeed, and each kind of refusal occurs.
    expect(seen.get(0)).toBeGreaterThan(150);
    for (const rc of [-22, -16]) expect(seen.get(rc) ?? 0).toBeGreaterThan(5);
  });

  it('answer the same and end the same however often they are preempted', { timeout: 60_000 }, () => {
    let continuations = 0;
    fc.assert(
      fc.property(program(50), fc.integer({ min: 1, max: 4 }), (steps, quantum) => {
        const plain = runAll(steps, 0);
        const preempted = runAll(steps, quantum);
        fc.pre(!plain.lost && !preempted.lost);
        expect(preempted.results).toEqual(plain.results);
        expect(preempted.picture).toEqual(plain.picture);
        continuations += preempted.continuations - plain.continuations;
      }),
      { numRuns: 15, seed: 77 },
    );
    expect(continuations).toBeGreaterThan(50);
  });
});

/** Destroys the domain as the control plane does, recounting at each stop. */
function destroy(d: Dom): number {
  poke(actor.mode(d.cpu), MODE_OFF);
  for (let rounds = 1; ; rounds++) {
    poke(vcpu.quantumLeft(CONTROL), peek(globals.quantum));
    const rc = run(() => destroyDomain(CONTROL, d.d));
    expect(recount(false)).toEqual([]);
    if (rc === 0) return rounds;
    expect(rc).toBe(-ERESTART);
  }
}

describe('destruction after a random program', () => {
  it('gives every frame back, in one go or in many', { timeout: 60_000 }, () => {
    let rounds = 0;
    fc.assert(
      fc.property(program(40), fc.integer({ min: 0, max: 3 }), (steps, quantum) => {
        const [, d1] = machine({ quantum }, [{ domid: 1 }]) as [Dom, Dom];
        const before = peek(globals.freeFrames);
        const held = 6;
        const pool = new Pool(d1);
        for (const s of steps) {
          perform(pool, s);
          if (lost(d1)) return;
        }
        rounds += destroy(d1);
        run(() => reapDomains(CONTROL));
        // Grant frame, shared info: Xen's own two frames of the domain come back too.
        expect(peek(globals.freeFrames)).toBe(before + held + 2);
        expect(recount()).toEqual([]);
        expect(totals()).toEqual([]);
      }),
      { numRuns: 20, seed: 5 },
    );
    expect(rounds).toBeGreaterThan(80);
  });
});
