/** Checks after a step: the same answer as a recount of the whole machine, after every step of random programs. */
import { beforeEach, describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { mfnWord, type Mfn } from '../../src/abi/frames.js';
import { HYPERVISOR_mmu_update } from '../../src/abi/hypercall.js';
import { entryLo } from '../../src/abi/pte.js';
import { makeStepChecks, recountStep, type Finding, type StepChecks } from '../../src/audit/step.js';
import { MOST_PARTS } from '../../src/audit/step/progress.js';
import { interleave } from '../../src/explore/loop.js';
import { randomWalk, xorshift } from '../../src/explore/random-walk.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import * as f from '../../src/machine/frame.js';
import { FRAME_TABLE } from '../../src/machine/layout.js';
import { clearDirty } from '../../src/ops/dirty.js';
import { actor, cpuIndex, MODE_GUEST, REQ_FLUSH, type Cpu } from '../../src/sync/actor.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { POINT_ATOMIC, POINT_ONCE, POINT_READ, POINT_WRITE } from '../../src/sync/schedule.js';
import { on, slotVa } from '../hypervisor/grant/lab.js';
import { actorsOf, build, mmuUpdate, vandal, wanderer, type Cast } from './step-program.js';

interface Run {
  readonly delta: Finding | undefined;
  readonly full: Finding | undefined;
  readonly steps: number;
}

/** Runs one program under one schedule until either check finds something. */
function runOnce(seed: number, vandals: number, n: number): Run {
  const cast = build(seed % 5);
  const random = xorshift(seed);
  const bodies = [
    wanderer(cast.granter, 0, random, n),
    wanderer(cast.mapper, 0, random, n),
    wanderer(cast.mapper, 1, random, n),
    ...(vandals > 0 ? [vandal(cast, random, random() % 250)] : []),
  ];
  clearDirty(); // as a snapshot does: what is written from here on is to be noticed as such
  const checks = makeStepChecks();
  const actors = actorsOf(cast).map(cpuIndex);
  let delta: Finding | undefined;
  let full: Finding | undefined;
  const outcome = interleave(bodies, randomWalk(seed), 20_000, (body, a, kind, words) => {
    delta = checks.step(actors[body]!, a, kind, words);
    // What only looks changes nothing but a TLB, which a walk in machine memory fills.
    full = (kind & POINT_WRITE) !== 0 || a < FRAME_TABLE ? recountStep() : undefined;
    return delta ?? full;
  });
  if (outcome.kind === 'threw' && vandals === 0) throw outcome.error;
  if (vandals === 0) expect([seed, outcome.kind]).toEqual([seed, delta === undefined ? 'done' : 'found']);
  return { delta, full, steps: outcome.steps };
}

describe('checks after a step', () => {
  it('find nothing wrong with the hypervisor, as a recount does', { timeout: 120_000 }, () => {
    let steps = 0;
    for (let seed = 1; seed <= 10; seed++) {
      const run = runOnce(seed, 0, 20);
      expect([seed, run.delta, run.full]).toEqual([seed, undefined, undefined]);
      steps += run.steps;
    }
    expect(steps).toBeGreaterThan(10_000);
  });

  it('find what a vandal broke at the very step at which a recount finds it', { timeout: 120_000 }, () => {
    const wanted = ['I1', 'I12', 'I3', 'I4'];
    const rules = new Set<string>();
    // At least 70 seeds, and until each rule was broken.
    for (let seed = 1; seed <= 70 || (seed <= 300 && !wanted.every((r) => rules.has(r))); seed++) {
      const { delta, full } = runOnce(seed, 1, 6);
      // An access, or who unlocks, is no state that a recount could see.
      if (delta?.rule === 'dead-access' || delta?.rule === 'page-lock') continue;
      expect([seed, delta === undefined, full]).toEqual([seed, full === undefined, full]);
      if (delta !== undefined) rules.add(delta.rule);
    }
    expect([...rules]).toEqual(expect.arrayContaining(wanted));
  });
});

const RMW = POINT_READ | POINT_WRITE | POINT_ATOMIC;

describe('a frame that becomes a table', () => {
  let cast: Cast;
  let checks: StepChecks;
  let mfn: Mfn;
  let cpu: Cpu;
  beforeEach(() => {
    cast = build();
    const c = cast.mapper.cpus[0]!;
    cpu = c.g.cpu;
    mfn = cast.mapper.frames[0]!;
    on(c, function* () {
      yield* c.updateVa(slotVa(5), entryLo(mfn, 0x67));
      yield* c.g.store32(slotVa(5), 1);
      yield* mmuUpdate(c, cast.mapper.l1 * 4096 + 8 * 5, 0);
    });
    checks = makeStepChecks();
    poke(f.typeInfo(mfn), f.PGT_l1_page_table | f.PGT_validated | 1);
  });
  const typed = (): Finding | undefined => checks.step(0, f.typeInfo(mfn), RMW, 1);

  it('must be in no TLB that can still write to it', () => {
    expect(typed()).toMatchObject({ rule: 'I2' });
  });

  it('may be in one that flushes first, unless an access is under way there', () => {
    poke(actor.request(cpu), REQ_FLUSH);
    expect(typed()).toBe(undefined);
    poke(actor.mode(cpu), MODE_GUEST);
    expect(checks.step(cpuIndex(cpu), mfnWord(mfn), POINT_WRITE | POINT_ONCE, 1)).toMatchObject({
      rule: 'dead-access',
    });
    // A walk sets A and D of the table's own entries.
    expect(checks.step(cpuIndex(cpu), mfnWord(mfn), RMW, 1)?.rule).toBe('dead-access');
    checks.reset();
    expect(checks.step(cpuIndex(cpu), mfnWord(mfn), RMW, 1)).toBe(undefined);
  });

  it('is noticed when the request is taken back and nothing was flushed', () => {
    poke(actor.request(cpu), REQ_FLUSH);
    checks.reset();
    expect(typed()).toBe(undefined);
    poke(actor.request(cpu), 0);
    expect(checks.step(0, actor.request(cpu), RMW, 1)).toMatchObject({ rule: 'I2' });
  });
});

describe('a frame that goes to another', () => {
  it('is named by no entry in force and no TLB that counts', () => {
    const { mapper } = build();
    const c = mapper.cpus[0]!;
    const mfn = mapper.frames[0]!;
    on(c, function* () {
      yield* c.updateVa(slotVa(5), entryLo(mfn, 0x67));
      yield* c.g.store32(slotVa(5), 1);
    });
    const checks = makeStepChecks();
    const owner = peek(f.ownerWord(mfn));
    poke(f.ownerWord(mfn), owner + 0x10000);
    expect(checks.step(0, f.ownerWord(mfn), POINT_WRITE, 1)).toMatchObject({ rule: 'I13' });
    poke(f.ownerWord(mfn), f.withOwner(owner, f.NO_OWNER));
    poke(f.countInfo(mfn), f.PGC_state_free);
    expect(checks.step(0, f.countInfo(mfn), RMW, 1)).toMatchObject({
      rule: 'I13',
      detail: expect.stringContaining('which is free') as string,
    });
  });
});

describe('a page lock', () => {
  it('is one per CPU, given back by who took it, and never the last reference', () => {
    const { mapper } = build();
    const checks = makeStepChecks();
    const change = (m: Mfn, lo: number, hi: number): Finding | undefined => {
      poke(f.countInfo(m), peek(f.countInfo(m)) ^ lo);
      poke(f.typeInfo(m), peek(f.typeInfo(m)) + hi);
      return checks.step(1, f.countInfo(m), RMW, 2);
    };
    expect(change(mapper.l1, f.PGT_locked, 1)).toBe(undefined);
    expect(change(mapper.l4, f.PGT_locked, 1)).toMatchObject({ rule: 'I4' });
    expect(checks.step(2, f.countInfo(mapper.l4), RMW, 2)).toBe(undefined);
    poke(f.countInfo(mapper.l1), peek(f.countInfo(mapper.l1)) ^ f.PGT_locked);
    expect(checks.step(2, f.countInfo(mapper.l1), RMW, 2)).toMatchObject({ rule: 'page-lock' });
    expect(change(mapper.l1, f.PGT_locked, -1)).toMatchObject({
      rule: 'page-lock',
      detail: expect.stringContaining('the last') as string,
    });
  });
});

describe('continuations', () => {
  it('get on: less is left each time, and there is an end to them (I19)', () => {
    const { mapper } = build();
    const { cpu } = mapper.cpus[0]!.g;
    const checks = makeStepChecks();
    const part = (left: number): Finding | undefined => {
      poke(vcpu.nContinuations(cpu), peek(vcpu.nContinuations(cpu)) + 1);
      poke(vcpu.argLo(cpu, 1), left);
      return checks.step(cpuIndex(cpu), actor.request(cpu), POINT_READ | POINT_ONCE, 1);
    };
    poke(actor.doing(cpu), HYPERVISOR_mmu_update + 1);
    expect(part(9)).toBe(undefined);
    expect(part(8)).toBe(undefined);
    expect(part(9)).toMatchObject({ rule: 'I19' });
    poke(vcpu.nHypercalls(cpu), peek(vcpu.nHypercalls(cpu)) + 1);
    expect(part(5)).toBe(undefined);
    let last: Finding | undefined;
    for (let i = 0; i <= MOST_PARTS && last === undefined; i++) last = part(5);
    expect(last).toMatchObject({ rule: 'I19' });
  });
});
