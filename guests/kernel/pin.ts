/**
 * Pinning and unpinning a whole tree of page tables, in batches of at most 32 calls.
 *
 * Order of a pin: depth first, a table before those below it: alias read-only, an L1 also PIN_L1; then the kernel root's
 * alias and PIN_L4, the user root's alias and PIN_L4. Of an unpin: UNPIN both roots, the user root's alias; then depth
 * first UNPIN (L1) and alias writable; the kernel root's alias last. Root aliases flush the TLB.
 * Invariant: between an L1's change of alias and its (un)pin its PTE lock is held, until the batch has run ([X70]).
 * Without split PTE locks L1s are not pinned by themselves, and the one lock is held throughout.
 * Lock: mm.pageTableLock, held by the callers; PTE locks nest inside, several at once (up to a batch's worth).
 * Source: [X68], [X69]; ../linux-teardown items 2, 3; Linux arch/x86/xen/mmu_pv.c (__xen_pgd_pin, __xen_pgd_unpin).
 */
import { PAGE_WORDS, type Pfn } from '../../src/abi/frames.js';
import {
  MMUEXT_PIN_L1_TABLE,
  MMUEXT_PIN_L4_TABLE,
  MMUEXT_UNPIN_TABLE,
  UVMF_NONE,
  UVMF_TLB_FLUSH,
} from '../../src/abi/mmu.js';
import { ENTRIES, PAGE_PRESENT, ROOT_XEN_FIRST } from '../../src/abi/pte.js';
import { RANK } from '../../src/sync/lock-order.js';
import { and, ld, or, peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { mmuextOp } from '../xen/calls.js';
import { batchBegin, batchIssue, CB_UNLOCK, queueCallback, queueMmuext } from '../xen/batch.js';
import { queueAlias } from './alias.js';
import type { KernelCpu } from './context.js';
import { COUNT, WARN } from './counters.js';
import { count, warn } from './count.js';
import { directVa, PFN_NONE } from './layout.js';
import { klock, kunlock } from './lock.js';
import { mm, pgdOf, type Mm } from './mm.js';
import { entryPfn, pfnToMfn } from './p2m.js';
import { page, pageOf, PG_pinned, PG_quarantined, PG_reserved, PG_table } from './page.js';
import { userPgd } from './pgd.js';
import { KERNEL_RO, KERNEL_RW } from './pte.js';
import { splitLocks } from './ptl.js';
import { percpu } from './records.js';
import { MARK } from '../../src/abi/marks.js';
import { mark } from './mark.js';
import { REPAIRS, untypeTable } from './untype.js';

/** Applies `pinOne` or `unpinOne` to the tables below `table`, which is of `level`; user half only at the top. */
function* walkTables(c: KernelCpu, m: Mm, level: number, table: Pfn, pin: boolean): Steps<void> {
  const end = level === 4 ? ROOT_XEN_FIRST : ENTRIES;
  const copy = peek(percpu.scan(c.pc)) + (level - 2) * PAGE_WORDS;
  if (!(yield* c.g.loadWords(copy, directVa(table), 2 * end))) return;
  for (let i = 0; i < end; i++) {
    const lo = peek(copy + 2 * i);
    if ((lo & PAGE_PRESENT) === 0) continue;
    const below = yield* entryPfn(c, lo, peek(copy + 2 * i + 1));
    if (below === PFN_NONE) continue;
    if (pin) yield* pinOne(c, m, level - 1, below);
    else yield* unpinOne(c, m, level - 1, below);
    if (level > 2) yield* walkTables(c, m, level - 1, below, pin);
  }
}

/** xen_pin_page. */
function* pinOne(c: KernelCpu, m: Mm, level: number, pfn: Pfn): Steps<void> {
  const p = pageOf(c.k, pfn);
  if (((yield* or(page.flags(p), PG_pinned)) & PG_pinned) !== 0) return;
  const own = level === 1 && splitLocks(c);
  if (own) yield* klock(c, page.ptl(p), RANK.guestPteLock);
  yield* queueAlias(c, pfn, KERNEL_RO, level === 4 ? UVMF_TLB_FLUSH : UVMF_NONE);
  if (!own) return;
  yield* queueMmuext(c, MMUEXT_PIN_L1_TABLE, yield* pfnToMfn(c, pfn));
  yield* queueCallback(c, CB_UNLOCK, page.ptl(p));
}

/** xen_unpin_page. */
function* unpinOne(c: KernelCpu, m: Mm, level: number, pfn: Pfn): Steps<void> {
  const p = pageOf(c.k, pfn);
  if (((yield* ld(page.flags(p))) & PG_pinned) === 0) return;
  if (level === 1) {
    yield* unpinL1(c, m, pfn);
    return;
  }
  yield* and(page.flags(p), ~PG_pinned);
  yield* queueAlias(c, pfn, KERNEL_RW, level === 4 ? UVMF_TLB_FLUSH : UVMF_NONE);
}

/** The same for an L1, under its lock; one that the design must keep stays as it is. */
function* unpinL1(c: KernelCpu, m: Mm, pfn: Pfn): Steps<void> {
  const p = pageOf(c.k, pfn);
  const own = splitLocks(c);
  if (own) yield* klock(c, page.ptl(p), RANK.guestPteLock);
  if (!(yield* c.design.unpinPtePage(c, m, pfn))) {
    if (own) yield* kunlock(c, page.ptl(p));
    return;
  }
  yield* and(page.flags(p), ~PG_pinned);
  if (own) yield* queueMmuext(c, MMUEXT_UNPIN_TABLE, yield* pfnToMfn(c, pfn));
  yield* queueAlias(c, pfn, KERNEL_RW, UVMF_NONE);
  if (own) yield* queueCallback(c, CB_UNLOCK, page.ptl(p));
}

/** Without split locks nobody may store into an L1 from its change of alias to the (un)pin of the root ([X70]). */
function* lockAll(c: KernelCpu, m: Mm): Steps<void> {
  if (!splitLocks(c)) yield* klock(c, mm.pteLock(m), RANK.guestPteLock);
}
function* unlockAll(c: KernelCpu, m: Mm): Steps<void> {
  if (!splitLocks(c)) yield* kunlock(c, mm.pteLock(m));
}

/** Pins the tree of `m`; false when Xen refused any part ([X78]). Lock held: pageTableLock. */
export function* pgdPin(c: KernelCpu, m: Mm): Steps<boolean> {
  const pgd = pgdOf(m);
  const user = userPgd(c, pgd);
  yield* count(c, COUNT.pins);
  mark(c, MARK.pgd_pin);
  yield* lockAll(c, m);
  batchBegin(c);
  yield* walkTables(c, m, 4, pgd, true);
  yield* pinOne(c, m, 4, pgd);
  yield* queueMmuext(c, MMUEXT_PIN_L4_TABLE, yield* pfnToMfn(c, pgd));
  yield* pinOne(c, m, 4, user);
  yield* queueMmuext(c, MMUEXT_PIN_L4_TABLE, yield* pfnToMfn(c, user));
  const refused = yield* batchIssue(c, 0);
  yield* unlockAll(c, m);
  mark(c, MARK.pgd_pin_ret);
  if (refused !== 0) yield* warn(c, WARN.pin, pgd);
  return refused === 0;
}

/** Unpins the tree of `m`. Lock held: pageTableLock; no vCPU is on its roots any more ([X72]). */
export function* pgdUnpin(c: KernelCpu, m: Mm): Steps<void> {
  const pgd = pgdOf(m);
  const user = userPgd(c, pgd);
  yield* count(c, COUNT.unpins);
  mark(c, MARK.pgd_unpin);
  yield* lockAll(c, m);
  yield* c.design.beforeUnpin(c, m);
  batchBegin(c);
  yield* queueMmuext(c, MMUEXT_UNPIN_TABLE, yield* pfnToMfn(c, pgd));
  yield* queueMmuext(c, MMUEXT_UNPIN_TABLE, yield* pfnToMfn(c, user));
  yield* unpinOne(c, m, 4, user);
  yield* walkTables(c, m, 4, pgd, false);
  yield* unpinOne(c, m, 4, pgd);
  const refused = yield* batchIssue(c, 0);
  yield* unlockAll(c, m);
  if (refused !== 0) yield* repairTree(c, m);
  mark(c, MARK.pgd_unpin_ret);
}

/**
 * Xen refused a part of an unpin: the same once more, call by call, a few times. A table that stays typed in the end is
 * called pinned again, so that it is changed by hypercalls and never freed as if it were memory ([X73]).
 */
function* repairTree(c: KernelCpu, m: Mm): Steps<void> {
  const pgd = pgdOf(m);
  const user = userPgd(c, pgd);
  for (let i = 0; i < REPAIRS; i++) {
    for (const root of [pgd, user]) yield* mmuextOp(c, MMUEXT_UNPIN_TABLE, yield* pfnToMfn(c, root));
    const left = (yield* repairBelow(c, 4, pgd)) + (yield* repairTable(c, 4, user)) + (yield* repairTable(c, 4, pgd));
    if (left === 0) return;
  }
}

/** The tables below `table`; answers how many stay typed. */
function* repairBelow(c: KernelCpu, level: number, table: Pfn): Steps<number> {
  const end = level === 4 ? ROOT_XEN_FIRST : ENTRIES;
  const copy = peek(percpu.scan(c.pc)) + (level - 2) * PAGE_WORDS;
  if (!(yield* c.g.loadWords(copy, directVa(table), 2 * end))) return 0;
  let left = 0;
  for (let i = 0; i < end; i++) {
    const lo = peek(copy + 2 * i);
    if ((lo & PAGE_PRESENT) === 0) continue;
    const below = yield* entryPfn(c, lo, peek(copy + 2 * i + 1));
    if (below === PFN_NONE || ((yield* ld(page.flags(pageOf(c.k, below)))) & PG_table) === 0) continue;
    left += yield* repairTable(c, level - 1, below);
    if (level > 2) left += yield* repairBelow(c, level - 1, below);
  }
  return left;
}

/** Makes one table memory again if Xen lets it be; answers 1 when it stays typed. A kept one is not asked about. */
function* repairTable(c: KernelCpu, level: number, pfn: Pfn): Steps<number> {
  const flags = page.flags(pageOf(c.k, pfn));
  if (((yield* ld(flags)) & (PG_quarantined | PG_reserved)) !== 0) return 0;
  const goes = yield* untypeTable(c, level, pfn);
  if (goes) yield* and(flags, ~PG_pinned);
  else yield* or(flags, PG_pinned);
  return goes ? 0 : 1;
}
