/**
 * The granter's side: the domain's own grant table, version 1, as its kernel writes it.
 *
 * Invariant: an entry is published domid and frame first, flags last ([X40]); it is revoked by compare-exchange of the
 * 16 flag bits to 0, which fails while Xen has reading or writing set ([X42]); a page is free for other use only after
 * that. A reference is on the free list or in use.
 * Lock: kernel.grantLock (rank guestP2m) guards the free list; an entry in use belongs to who granted it.
 * Source: Linux drivers/xen/grant-table.c (gnttab_grant_foreign_access, gnttab_end_foreign_access_ref_v1).
 */
import { DOMID_SELF, vaHi, vaLo, type Mfn, type Pfn, type Va } from '../../src/abi/frames.js';
import {
  GNTTAB_RESERVED_ENTRIES,
  GNTTABOP_setup_table,
  GRANT_V1_PER_FRAME,
  GTF_accept_transfer,
  GTF_permit_access,
  GTF_reading,
  GTF_readonly,
  GTF_transfer_committed,
  GTF_transfer_completed,
  GTF_writing,
  INVALID_GREF,
  SETUP_LIST,
  SETUP_NR,
  SETUP_STATUS,
  SETUP_TABLE_WORDS,
} from '../../src/abi/grant.js';
import { HYPERVISOR_grant_table_op } from '../../src/abi/hypercall.js';
import { arenaAlloc, CHUNK } from '../../src/shm/arena.js';
import { RANK } from '../../src/sync/lock-order.js';
import { ld, lock, peek, poke, st, unlock } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { mapXenFrame } from '../kernel/boot.js';
import type { KernelCpu } from '../kernel/context.js';
import { COUNT } from '../kernel/counters.js';
import { count } from '../kernel/count.js';
import { addVa, directVa } from '../kernel/layout.js';
import { pfnToMfn } from '../kernel/p2m.js';
import { kernel } from '../kernel/records.js';
import { peekVa, pokeVa } from '../kernel/words.js';
import { scratchSet, structCall, structWord } from '../xen/calls.js';
import { structVa } from '../xen/batch.js';

/** Sets up `frames` frames of the table and shows them at `pfn` and after; false when Xen or memory refuses. */
export function* setupGrantTable(c: KernelCpu, pfn: Pfn, frames: number): Steps<boolean> {
  const list = addVa(structVa(c), 4 * SETUP_TABLE_WORDS);
  scratchSet(c, 0, DOMID_SELF);
  scratchSet(c, SETUP_NR, frames);
  scratchSet(c, SETUP_STATUS, 0);
  scratchSet(c, 3, 0);
  scratchSet(c, SETUP_LIST, vaLo(list));
  scratchSet(c, SETUP_LIST + 1, vaHi(list));
  // grant_table_op's third argument is the number of structures.
  c.g.arg(2, 1, 0);
  if ((yield* structCall(c, HYPERVISOR_grant_table_op, GNTTABOP_setup_table, SETUP_TABLE_WORDS)) < 0) return false;
  if (((yield* structWord(c, SETUP_STATUS)) << 16) >> 16 !== 0) return false;
  for (let i = 0; i < frames; i++) {
    const mfn = (yield* structWord(c, SETUP_TABLE_WORDS + 2 * i)) as Mfn;
    if (!(yield* mapXenFrame(c, (pfn + i) as Pfn, mfn))) return false;
  }
  return yield* layFreeList(c, pfn, frames * GRANT_V1_PER_FRAME);
}

function* layFreeList(c: KernelCpu, pfn: Pfn, n: number): Steps<boolean> {
  const links = yield* arenaAlloc(c.cpu, peek(kernel.arena(c.k)), Math.ceil(n / CHUNK));
  if (links === 0) return false;
  for (let ref = GNTTAB_RESERVED_ENTRIES; ref < n; ref++) poke(links + ref, ref + 1 < n ? ref + 1 : 0);
  poke(kernel.grantLinks(c.k), links);
  poke(kernel.grantFree(c.k), GNTTAB_RESERVED_ENTRIES);
  poke(kernel.nrGrants(c.k), n);
  poke(kernel.nrGrantsFree(c.k), n - GNTTAB_RESERVED_ENTRIES);
  pokeVa(kernel.grantVa(c.k), directVa(pfn));
  return true;
}

const entry = (c: KernelCpu, ref: number): Va => addVa(peekVa(kernel.grantVa(c.k)), 8 * ref);

/** Grants `pfn` to `domid`; the reference, or INVALID_GREF when the table is full. */
export function* grantAccess(c: KernelCpu, domid: number, pfn: Pfn, readonly: boolean): Steps<number> {
  const ref = yield* takeRef(c);
  if (ref === 0) return INVALID_GREF;
  const at = entry(c, ref);
  yield* c.g.store16(addVa(at, 2), domid);
  yield* c.g.store32(addVa(at, 4), yield* pfnToMfn(c, pfn));
  yield* c.g.store16(at, GTF_permit_access | (readonly ? GTF_readonly : 0));
  yield* count(c, COUNT.grants);
  return ref;
}

/** Revokes `ref` if nobody has it mapped; false: in use, ask again later. */
export function* endAccess(c: KernelCpu, ref: number): Steps<boolean> {
  const at = entry(c, ref);
  for (;;) {
    const flags = yield* c.g.load16(at);
    if ((flags & (GTF_reading | GTF_writing)) !== 0) {
      yield* count(c, COUNT.revokesBusy);
      return false;
    }
    if ((yield* c.g.cmpxchg16(at, flags, 0)) === 1) break;
  }
  yield* count(c, COUNT.revokes);
  yield* giveRef(c, ref);
  return true;
}

/** Offers `domid` to send a frame for `pfn`, whose number the entry holds; the reference, or INVALID_GREF. */
export function* acceptTransfer(c: KernelCpu, domid: number, pfn: Pfn): Steps<number> {
  const ref = yield* takeRef(c);
  if (ref === 0) return INVALID_GREF;
  const at = entry(c, ref);
  yield* c.g.store16(addVa(at, 2), domid);
  yield* c.g.store32(addVa(at, 4), pfn);
  yield* c.g.store16(at, GTF_accept_transfer);
  return ref;
}

/** Looks that a transfer under way is waited for; Xen needs a few accesses between its two marks. */
const LOOKS = 256;

/** Ends the offer `ref`: the frame that came, 0 when none did, -1 when one is still on its way. */
export function* endTransfer(c: KernelCpu, ref: number): Steps<number> {
  const at = entry(c, ref);
  for (let look = 0; look < LOOKS; look++) {
    const flags = yield* c.g.load16(at);
    if ((flags & GTF_transfer_completed) !== 0) {
      const mfn = yield* c.g.load32(addVa(at, 4));
      yield* c.g.store16(at, 0);
      yield* giveRef(c, ref);
      return mfn;
    }
    if ((flags & GTF_transfer_committed) !== 0) yield* c.g.poll();
    else if ((yield* c.g.cmpxchg16(at, flags, 0)) === 1) {
      yield* giveRef(c, ref);
      return 0;
    }
  }
  return -1;
}

/** Whether Xen says that somebody has `ref` mapped. */
export function* grantInUse(c: KernelCpu, ref: number): Steps<boolean> {
  return ((yield* c.g.load16(entry(c, ref))) & (GTF_reading | GTF_writing)) !== 0;
}

function* takeRef(c: KernelCpu): Steps<number> {
  const { k } = c;
  yield* lock(c.cpu, kernel.grantLock(k), RANK.guestP2m);
  const ref = yield* ld(kernel.grantFree(k));
  if (ref !== 0) {
    yield* st(kernel.grantFree(k), yield* ld(peek(kernel.grantLinks(k)) + ref));
    yield* st(kernel.nrGrantsFree(k), (yield* ld(kernel.nrGrantsFree(k))) - 1);
  }
  yield* unlock(c.cpu, kernel.grantLock(k));
  return ref;
}

function* giveRef(c: KernelCpu, ref: number): Steps<void> {
  const { k } = c;
  yield* lock(c.cpu, kernel.grantLock(k), RANK.guestP2m);
  yield* st(peek(kernel.grantLinks(k)) + ref, yield* ld(kernel.grantFree(k)));
  yield* st(kernel.grantFree(k), ref);
  yield* st(kernel.nrGrantsFree(k), (yield* ld(kernel.nrGrantsFree(k))) + 1);
  yield* unlock(c.cpu, kernel.grantLock(k));
}
