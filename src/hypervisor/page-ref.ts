/**
 * References of frames.
 *
 * Invariant: a reference keeps a frame's owner and contents; a get refuses at count 0 and at the top, never by a blind add.
 * Lock: none but atomics.
 * Source: page_get_owner_and_reference, get_page, get_page_light, put_page, xen/arch/x86/mm.c; [X1], [X2].
 *
 * Words are first looked at with `peek`: a compare-exchange then proves the look, and before a refusal the word is
 * read again by a declared access.
 */
import { HypervisorBug } from '../abi/errors.js';
import type { Domid, Mfn } from '../abi/frames.js';
import { countInfo, ownerOf, ownerWord, PGC_count_mask } from '../machine/frame.js';
import type { Cpu } from '../sync/actor.js';
import { add, cas, ld, ldOnce, peek } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { freePage } from './allocation.js';
import { TWIN, twin } from './twins.js';

/** Takes a reference if somebody has one already; false when the frame is free or its count is at the top. */
export function* getPageAny(mfn: Mfn): Steps<boolean> {
  const a = countInfo(mfn);
  if (twin(TWIN['get-blind'])) {
    if (((yield* add(a, 1)) & PGC_count_mask) !== 0) return true;
    yield* add(a, -1);
    return false;
  }
  let y = peek(a);
  for (;;) {
    const x = y;
    if (((x + 2) & PGC_count_mask) <= 2) {
      y = yield* ldOnce(a); // raced on purpose: the count of a frame that others release
      if (((y + 2) & PGC_count_mask) <= 2) return false;
      continue;
    }
    y = yield* cas(a, x, x + 1);
    if (y === x) return true;
  }
}

/** Takes a reference on a frame of `owner`; false when it is not that owner's. Two atomics with a window ([X2]). */
export function* getPage(cpu: Cpu, mfn: Mfn, owner: Domid): Steps<boolean> {
  if (twin(TWIN['owner-before-ref'])) {
    return ownerOf(yield* ldOnce(ownerWord(mfn))) === owner && (yield* getPageAny(mfn)); // raced: the owner may change
  }
  if (!(yield* getPageAny(mfn))) return false;
  if (ownerOf(yield* ld(ownerWord(mfn))) === owner) return true;
  yield* putPage(cpu, mfn);
  return false;
}

/** One more reference where there is one for sure; the top of the count is reserved for it. */
export function* getPageLight(mfn: Mfn): Steps<void> {
  const was = yield* add(countInfo(mfn), 1);
  if ((was & PGC_count_mask) === 0) throw new HypervisorBug(`light reference on free frame ${String(mfn)}`);
}

/** Drops a reference; the last one frees the frame. */
export function* putPage(cpu: Cpu, mfn: Mfn): Steps<void> {
  const was = yield* add(countInfo(mfn), -1);
  const count = was & PGC_count_mask;
  if (count === 0) throw new HypervisorBug(`reference count of frame ${String(mfn)} below zero`);
  if (count === 1) yield* freePage(cpu, mfn);
}
