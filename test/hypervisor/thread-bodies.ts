/** What each thread of threads.parallel.test.ts does: types, pins and entry updates on frames that all of them share. */
import { EINTR, ERESTART } from '../../src/abi/errno.js';
import { MMU_NORMAL_PT_UPDATE } from '../../src/abi/mmu.js';
import { entryLo } from '../../src/abi/pte.js';
import { mfnWord, type Mfn } from '../../src/abi/frames.js';
import { xorshift } from '../../src/explore/random-walk.js';
import { putOldGuestTable } from '../../src/hypervisor/base.js';
import { currentDomain, domidOf } from '../../src/hypervisor/domain.js';
import { modL1Entry } from '../../src/hypervisor/l1e.js';
import { pinPage, unpinPage } from '../../src/hypervisor/mmuext-page.js';
import { getPage, getPageType, pageLock, pageUnlock, putPage, putPageType } from '../../src/hypervisor/page.js';
import { renewQuantum } from '../../src/hypervisor/preempt.js';
import { levelType, PGT_l1_page_table, PGT_type_mask, PGT_writable_page, typeInfo } from '../../src/machine/frame.js';
import { cpuAt, type Cpu } from '../../src/sync/actor.js';
import { ldOnce } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';

/** Frames first .. first+15: six like to be L1s, four L2s, two L3s, the rest data. */
export const SHARED = 16;
export const likes = (i: number): number => (i < 6 ? 1 : i < 10 ? 2 : i < 12 ? 3 : 0);

/** Runs `rounds` random operations on vCPU `index`; answers how many took effect. */
export function* hammer(index: number, first: number, seed: number, rounds: number): Steps<number> {
  const cpu = cpuAt(index);
  const random = xorshift(seed);
  let did = 0;
  for (let n = 0; n < rounds; n++) {
    const i = random() % SHARED;
    const mfn = (first + i) as Mfn;
    renewQuantum(cpu);
    const kind = random() % 4;
    if (kind === 0) did += yield* writable(cpu, mfn);
    else if (kind === 1) did += yield* update(cpu, mfn, (first + (random() % SHARED)) as Mfn, random() % 512, random());
    else did += yield* pin(cpu, mfn, likes(i) === 0 ? 1 : likes(i), kind === 2);
    yield* finish(cpu);
  }
  return did;
}

function* finish(cpu: Cpu): Steps<void> {
  for (;;) {
    renewQuantum(cpu);
    if ((yield* putOldGuestTable(cpu, cpu)) === 0) return;
  }
}

function* writable(cpu: Cpu, mfn: Mfn): Steps<number> {
  if (!(yield* getPage(cpu, mfn, domidOf(currentDomain(cpu))))) return 0;
  const rc = yield* getPageType(cpu, mfn, PGT_writable_page);
  if (rc === 0) yield* putPageType(cpu, mfn);
  yield* putPage(cpu, mfn);
  return rc === 0 ? 1 : 0;
}

function* update(cpu: Cpu, mfn: Mfn, target: Mfn, i: number, r: number): Steps<number> {
  const d = currentDomain(cpu);
  if (!(yield* getPage(cpu, mfn, domidOf(d)))) return 0;
  let rc = -1;
  if (yield* pageLock(cpu, mfn)) {
    const type = yield* ldOnce(typeInfo(mfn)); // counts race, the type is held by the lock
    if ((type & PGT_type_mask) === PGT_l1_page_table) {
      const lo = r % 3 === 0 ? 0 : entryLo(target, r % 3 === 1 ? 0x67 : 0x25);
      rc = yield* modL1Entry(cpu, mfnWord(mfn) + 2 * i, lo, 0, MMU_NORMAL_PT_UPDATE, d, d);
    }
    yield* pageUnlock(cpu, mfn);
  }
  yield* putPage(cpu, mfn);
  return rc === 0 ? 1 : 0;
}

/** Pins as far as it takes, or unpins. */
function* pin(cpu: Cpu, mfn: Mfn, level: number, on: boolean): Steps<number> {
  const d = currentDomain(cpu);
  if (!on) return (yield* unpinPage(cpu, d, mfn, 0)) === 0 ? 1 : 0;
  for (;;) {
    const rc = yield* pinPage(cpu, d, mfn, 0, levelType(level));
    if (rc !== -ERESTART && rc !== -EINTR) return rc === 0 ? 1 : 0;
    yield* finish(cpu);
  }
}
