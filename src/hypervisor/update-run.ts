/**
 * Runs of mmu_update requests for one L1, where threads run: copied in together, made under one page lock by a kernel.
 *
 * Invariant: a request that the kernel does not make is left to the caller, which reads it again from the guest only if
 * nothing of it was done; what the kernel made is what as many calls of modL1Entry would have.
 * Lock: the table's page lock for the whole run.
 * Source: reference performance.md 2.4, 5.3; DESIGN "Atomicity is Xen's" (fused in the parallel build only).
 * Differs: preemption is looked at between runs, not between the requests of one.
 */
import { PAGE_SIZE, type Mfn, type Va } from '../abi/frames.js';
import { MMU_UPDATE_WORDS } from '../abi/mmu.js';
import { faultsLaid } from '../fault/plan.js';
import { adjustL1Hi, adjustL1Lo, PAGE_CACHE_ATTRS, putPageFromL1e } from './l1e.js';
import { FLUSH_CLOCK } from '../machine/clock.js';
import { vcpu } from '../machine/cpu-record.js';
import { mfnValid, PGT_l1_page_table, PGT_type_mask, typeInfo } from '../machine/frame.js';
import { STORED_NEXT, TAKEN_NEXT, updateL1 } from '../machine/kernels/index.js';
import { FRAME_TABLE, FRAMES } from '../machine/layout.js';
import type { Cpu } from '../sync/actor.js';
import { ldOnce, peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { copyFromVa } from './copy.js';
import { currentDomain, domidOf, type DomainRef } from './domain.js';
import { FUSED, slowHi } from './l1-kernel.js';
import { pageLock, pageUnlock } from './page-lock.js';
import { getPage, putPage } from './page.js';
import { isTwinned } from './twins.js';

const MOST = 32;
const REQUEST_BYTES = MMU_UPDATE_WORDS * 4;
const COUNT_MASK = 0xffff;

/** Makes as many of the `left` requests at `at` as are a run of the common kind: how many, from 0 on. */
export function* updateRun(cpu: Cpu, at: Va, left: number, ptOwner: DomainRef, pgOwner: DomainRef): Steps<number> {
  if (!FUSED || faultsLaid() || isTwinned() || left < 2 || ptOwner !== currentDomain(cpu) || pgOwner !== ptOwner)
    return 0;
  const here = Math.floor((PAGE_SIZE - (at & (PAGE_SIZE - 1))) / REQUEST_BYTES);
  const count = Math.min(left, MOST, here);
  const reqs = vcpu.batch(cpu);
  if (count < 2 || !(yield* copyFromVa(cpu, at, reqs, count * MMU_UPDATE_WORDS))) return 0;
  const mfn = (peek(reqs) >>> 12) as Mfn;
  if (!mfnValid(mfn, peek(reqs + 1)) || !(yield* getPage(cpu, mfn, domidOf(ptOwner)))) return 0;
  let done = 0;
  if (yield* pageLock(cpu, mfn)) {
    const type = (yield* ldOnce(typeInfo(mfn))) & PGT_type_mask; // counts race, the type is held by the lock
    if (type === PGT_l1_page_table) done = yield* runLocked(cpu, reqs, count, mfn, pgOwner);
    yield* pageUnlock(cpu, mfn);
  }
  yield* putPage(cpu, mfn);
  return done;
}

function* runLocked(cpu: Cpu, reqs: number, count: number, mfn: Mfn, d: DomainRef): Steps<number> {
  const owner = domidOf(d);
  const answer = updateL1(reqs, count, mfn, owner, FRAME_TABLE, FRAMES, PAGE_CACHE_ATTRS, slowHi(), FLUSH_CLOCK);
  let done = answer & COUNT_MASK;
  if ((answer & (STORED_NEXT | TAKEN_NEXT)) !== 0) {
    const lo = peek(reqs + done * MMU_UPDATE_WORDS + 2);
    const hi = peek(reqs + done * MMU_UPDATE_WORDS + 3);
    if ((answer & STORED_NEXT) !== 0) {
      yield* putPageFromL1e(cpu, lo, hi, d);
      done++;
    } else {
      yield* putPageFromL1e(cpu, adjustL1Lo(lo, hi), adjustL1Hi(lo, hi), d);
    }
  }
  poke(vcpu.nPteWrites(cpu), peek(vcpu.nPteWrites(cpu)) + done);
  return done;
}
