/**
 * The frame heap: free frames on one list, given out zeroed and owned by nobody.
 *
 * Invariant: a free frame has PGC_state_free, reference count 0, no owner, and its type word links the list (mfn + 1);
 * before a frame is used again, every CPU that may still translate to it has flushed ([X13]).
 * Lock: heapLock (rank heap), innermost but for the arena; the flush and the zeroing happen outside it.
 * Source: alloc_heap_pages, free_heap_pages, xen/common/page_alloc.c.
 * Differs: order 0 only, first in first out (a freed frame rests as long as possible); every frame is zeroed when given out (Xen scrubs at boot and after death);
 * a frame that was stolen from its owner is stamped like any other, so its next user waits for the flush too.
 */
import { INVALID_MFN, mfnWord, PAGE_WORDS, type Domid, type Mfn } from '../abi/frames.js';
import { HypervisorBug } from '../abi/errors.js';
import { faultHit } from '../fault/plan.js';
import { SITE } from '../fault/sites.js';
import {
  countInfo,
  NO_OWNER,
  nextGeneration,
  ownerWord,
  PGC_state_free,
  PGC_state_inuse,
  stampWord,
  typeInfo,
  withOwner,
} from '../machine/frame.js';
import type { Cpu } from '../sync/actor.js';
import { RANK } from '../sync/lock-order.js';
import { fill, ld, ldOnce, lock, peek, poke, st, stOnce, unlock } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { flushAllStale, stampFrame } from './flush.js';
import { globals } from './globals.js';
import { setM2pInvalid } from './m2p.js';
import { TWIN, twin } from './twins.js';

/** Boot: puts the frames `first` .. `last` on the list, lowest on top. */
export function heapInit(first: number, last: number): void {
  let head = 0;
  for (let m = last; m >= first; m--) {
    const mfn = m as Mfn;
    poke(countInfo(mfn), PGC_state_free);
    poke(typeInfo(mfn), head);
    poke(ownerWord(mfn), NO_OWNER);
    poke(stampWord(mfn), 0);
    head = m + 1;
  }
  poke(globals.heapLock, 0);
  poke(globals.freeHead, head);
  poke(globals.freeTail, last + 1);
  poke(globals.freeFrames, last - first + 1);
}

export const freeFrames = (): number => peek(globals.freeFrames);

/** A zeroed frame without owner, reference count 0; INVALID_MFN when none is left. */
export function* allocFrame(cpu: Cpu): Steps<Mfn> {
  if (faultHit(cpu, SITE['page.alloc']) !== 0) return INVALID_MFN;
  yield* lock(cpu, globals.heapLock, RANK.heap);
  const head = yield* ld(globals.freeHead);
  if (head === 0) {
    yield* unlock(cpu, globals.heapLock);
    return INVALID_MFN;
  }
  const mfn = (head - 1) as Mfn;
  yield* st(globals.freeHead, yield* ld(typeInfo(mfn)));
  yield* st(globals.freeFrames, (yield* ld(globals.freeFrames)) - 1);
  yield* unlock(cpu, globals.heapLock);
  const stamp = yield* ld(stampWord(mfn));
  yield* st(ownerWord(mfn), nextGeneration(yield* ld(ownerWord(mfn)), NO_OWNER));
  yield* stOnce(typeInfo(mfn), 0);
  yield* stOnce(countInfo(mfn), PGC_state_inuse); // raced on purpose: a get on a stale number finds count 0
  if (!twin(TWIN['reuse-no-flush'])) yield* flushAllStale(cpu, stamp);
  yield* fill(mfnWord(mfn), PAGE_WORDS);
  return mfn;
}

/** Of a frame whose allocation the caller has in hand. Raced on purpose: a destroy looks at frames that it has no reference on. */
export function* setOwner(mfn: Mfn, owner: Domid): Steps<void> {
  yield* stOnce(ownerWord(mfn), withOwner(yield* ld(ownerWord(mfn)), owner));
}

/** Gives a frame back; its reference and type counts are 0. */
export function* freeFrame(cpu: Cpu, mfn: Mfn): Steps<void> {
  yield* stampFrame(mfn);
  yield* setOwner(mfn, NO_OWNER);
  yield* setM2pInvalid(mfn);
  yield* lock(cpu, globals.heapLock, RANK.heap);
  const info = yield* ldOnce(countInfo(mfn)); // raced on purpose: gets on a stale number fail
  if (info === PGC_state_free) throw new HypervisorBug(`frame ${String(mfn)} freed twice`);
  yield* stOnce(countInfo(mfn), PGC_state_free); // raced on purpose, as in allocFrame
  yield* stOnce(typeInfo(mfn), 0);
  const tail = yield* ld(globals.freeTail);
  if ((yield* ld(globals.freeHead)) === 0) yield* st(globals.freeHead, mfn + 1);
  else yield* stOnce(typeInfo((tail - 1) as Mfn), mfn + 1); // raced on purpose: a look by a stale number finds no type
  yield* st(globals.freeTail, mfn + 1);
  yield* st(globals.freeFrames, (yield* ld(globals.freeFrames)) + 1);
  yield* unlock(cpu, globals.heapLock);
}
