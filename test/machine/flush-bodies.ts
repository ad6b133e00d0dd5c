/** Bodies of the flush tests: a vCPU that reads through its TLB, and one that takes the frame away under it. */
import type { Mfn, Va } from '../../src/abi/frames.js';
import { entryLo, PAGE_ACCESSED, PAGE_PRESENT, PAGE_RW, PAGE_USER } from '../../src/abi/pte.js';
import { enterMode, flushMask, maskHi, maskLo, serveFlush } from '../../src/machine/flush.js';
import { ACCESS_READ, translate } from '../../src/machine/tlb.js';
import { actor, cpuAt, MODE_GUEST, MODE_HYPERVISOR, MODE_OFF, REQ_FLUSH, type Cpu } from '../../src/sync/actor.js';
import { ldOnce, or, peek, st64, stOnce, waitChange, wake } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';

/** What a frame holds while nobody may read it. */
export const POISON = 0x7fffdead;

const FULL = PAGE_PRESENT | PAGE_RW | PAGE_USER | PAGE_ACCESSED;

/** One guest read: requests first, then translation and access with nothing in between. Answers the word, or -1. */
export function* guestRead(cpu: Cpu, va: Va): Steps<number> {
  if ((peek(actor.request(cpu)) & REQ_FLUSH) !== 0) yield* serveFlush(cpu);
  const w = yield* translate(cpu, va, ACCESS_READ);
  return w < 0 ? -1 : yield* ldOnce(w);
}

/** Reads `times` times at `va` in guest mode, or until `stop` is not 0; answers how often it read poison. */
export function* reads(index: number, va: Va, times: number, stop: number, rest: number): Steps<number> {
  const cpu = cpuAt(index);
  let bad = 0;
  yield* enterMode(cpu, MODE_GUEST);
  for (let i = 0; i < times && (yield* ldOnce(stop)) === 0; i++) {
    if ((yield* guestRead(cpu, va)) === POISON) bad++;
    if (rest !== 0 && i % rest === 0) {
      yield* enterMode(cpu, MODE_HYPERVISOR);
      yield* enterMode(cpu, MODE_GUEST);
    }
  }
  yield* enterMode(cpu, MODE_OFF);
  wake(actor.request(cpu));
  return bad;
}

/** Clears the entry; waits for the flush in `flushMask`, or (broken) only asks for it. */
export function* takeAway(cpu: Cpu, target: Cpu, slot: number, waits: boolean): Steps<void> {
  yield* st64(slot, 0, 0);
  yield* flush(cpu, target, waits);
}

function* flush(cpu: Cpu, target: Cpu, waits: boolean): Steps<void> {
  if (waits) yield* flushMask(cpu, maskLo(target), maskHi(target));
  else yield* or(actor.request(target), REQ_FLUSH);
}

/**
 * Lets the entry at `slot` name two frames in turn, `times` times; the one it does not name is poisoned after the flush,
 * and healed before it is named again.
 */
export function* moves(
  index: number,
  target: number,
  slot: number,
  frameA: number,
  frameB: number,
  times: number,
  stop: number,
  waits: number,
): Steps<number> {
  const cpu = cpuAt(index);
  yield* enterMode(cpu, MODE_HYPERVISOR);
  const mode = actor.mode(cpuAt(target));
  while ((yield* ldOnce(mode)) === MODE_OFF) yield* waitChange(cpu, mode, MODE_OFF);
  for (let i = 0; i < times; i++) {
    const next = (i & 1) === 0 ? frameB : frameA;
    const old = frameA + frameB - next;
    yield* stOnce(next * 1024, i);
    yield* st64(slot, entryLo(next as Mfn, FULL), 0);
    yield* flush(cpu, cpuAt(target), waits !== 0);
    yield* stOnce(old * 1024, POISON);
  }
  yield* stOnce(stop, 1);
  return times;
}
