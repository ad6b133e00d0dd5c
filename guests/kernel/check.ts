/**
 * What a kernel's own books say against what its memory shows, in a still machine: I15, I17, I18.
 *
 * Invariant: reads only; no vCPU runs. Lock: none.
 * Source: reference xen-pv-memory.md, section 6.
 */
import type { Pfn } from '../../src/abi/frames.js';
import type { Violation } from '../../src/abi/guest.js';
import { entryMfn, PAGE_RW } from '../../src/abi/pte.js';
import { listFirst, listNext } from '../../src/shm/list.js';
import { peek, run } from '../../src/sync/primitives.js';
import { P2M_FOREIGN, P2M_INVALID, p2mEntry } from './p2m.js';
import { EXIT_DONE, mm, pgdOf, type Mm } from './mm.js';
import {
  page,
  pageOf,
  PG_ballooned,
  PG_foreign,
  PG_free,
  PG_pinned,
  PG_quarantined,
  PG_reserved,
  PG_table,
} from './page.js';
import { kernel, type Kernel } from './records.js';
import { directEntry } from './still.js';

/** The mms that have not been freed. */
export function livingMms(k: Kernel): Mm[] {
  return run(function* () {
    const out: Mm[] = [];
    const head = kernel.mms(k);
    for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) out.push((n - NODE) as Mm);
    return out;
  });
}
const NODE = mm.node(0 as Mm);

/**
 * Everything this kernel finds wrong with itself; `mapped`: pages at which a driver still knows a grant to be mapped,
 * `awaited`: frames of tables with an entry that a driver will try again to unmap.
 */
export function checkKernel(k: Kernel, mapped: ReadonlySet<number>, awaited: ReadonlySet<number>): Violation[] {
  const mms = livingMms(k);
  const out = mms.flatMap((m) => checkMm(k, m));
  const living = new Set<number>(mms);
  for (let n = 1; n < peek(kernel.maxPfn(k)); n++) {
    const what = checkPage(k, n as Pfn, living, awaited) ?? (mapped.has(n) ? undefined : checkBorrowed(k, n as Pfn));
    if (what !== undefined) out.push(what);
  }
  return out;
}

/** I17: of an mm whose exit_mmap is over nothing is left but its record. */
function checkMm(k: Kernel, m: Mm): Violation[] {
  if (peek(mm.exitStage(m)) !== EXIT_DONE) return [];
  const tables = peek(mm.nrL1(m)) + peek(mm.nrL2(m)) + peek(mm.nrL3(m));
  const root = pgdOf(m);
  const pinned = (peek(page.flags(pageOf(k, root))) & PG_pinned) !== 0;
  if (tables === 0 && !pinned) return [];
  const rest = tables === 0 ? 'pinned roots' : `${String(tables)} tables${pinned ? ' and pinned roots' : ''}`;
  const what = found(k, 'I17', `the mm with root pfn ${String(root)} has ended and still has ${rest}`);
  // Roots that Xen will not let go of are out of use, and nothing else is wrong with them.
  const held = { kind: 'frame', mfn: p2mEntry(k, root) } as const;
  return [tables === 0 ? { ...what, severity: 'leaked', held } : what];
}

function checkPage(
  k: Kernel,
  pfn: Pfn,
  living: ReadonlySet<number>,
  awaited: ReadonlySet<number>,
): Violation | undefined {
  const p = pageOf(k, pfn);
  const flags = peek(page.flags(p));
  if ((flags & PG_table) !== 0) {
    const kept = checkTable(k, pfn, flags, living.has(peek(page.mapping(p))));
    return kept?.severity === 'leaked' && awaited.has(p2mEntry(k, pfn)) ? { ...kept, ...AWAITED } : kept;
  }
  if ((flags & PG_free) !== 0) return checkFree(k, pfn);
  const unused = (flags & (PG_ballooned | PG_reserved)) === PG_ballooned && peek(page.refcount(p)) === 0;
  if (unused) return checkBallooned(k, pfn);
  const foreign = (flags & PG_foreign) !== 0;
  const entry = p2mEntry(k, pfn);
  if (foreign === (entry !== P2M_INVALID && (entry & P2M_FOREIGN) !== 0)) return undefined;
  return found(k, 'I17', `pfn ${String(pfn)} ${foreign ? 'is' : 'is not'} marked foreign, its p2m says otherwise`);
}

/** Somebody will release what keeps the table. */
const AWAITED = { severity: 'degraded', holders: ['gntdev, which tries to unmap it again'] } as const;

/** I15: pinned tables are read-only in the direct map, others writable; the entry there is `lo`. */
export function aliasFault(k: Kernel, pfn: Pfn, lo: number): Violation | undefined {
  const pinned = (peek(page.flags(pageOf(k, pfn))) & PG_pinned) !== 0;
  if (pinned === ((lo & PAGE_RW) === 0) && lo !== 0) return undefined;
  return found(k, 'I15', `table pfn ${String(pfn)} is ${stateOf(pinned)}, its alias ${aliasOf(lo)}`);
}

const stateOf = (pinned: boolean): string => (pinned ? 'pinned' : 'not pinned');

/** I15, and I17: a kept table of an mm that is gone. */
function checkTable(k: Kernel, pfn: Pfn, flags: number, lives: boolean): Violation | undefined {
  const [lo] = directEntry(k, pfn);
  const wrong = aliasFault(k, pfn, lo);
  if (wrong !== undefined) return wrong;
  const state = stateOf((flags & PG_pinned) !== 0);
  if ((flags & PG_quarantined) === 0 || lives) return undefined;
  const what = `table pfn ${String(pfn)} of an mm that has ended stays ${state}, for a grant that would not go`;
  return { ...found(k, 'I17', what), severity: 'leaked', held: { kind: 'frame', mfn: p2mEntry(k, pfn) } };
}

const aliasOf = (lo: number): string =>
  lo === 0 ? 'is missing' : (lo & PAGE_RW) !== 0 ? 'is writable' : 'is read-only';

/** I18: a free page shows its own frame, writable. */
function checkFree(k: Kernel, pfn: Pfn): Violation | undefined {
  const [lo, hi] = directEntry(k, pfn);
  const mfn = p2mEntry(k, pfn);
  const shown = entryMfn(lo, hi, peek(kernel.frames(k)));
  if (lo !== 0 && shown === mfn && (lo & PAGE_RW) !== 0) return undefined;
  return found(
    k,
    'I18',
    `free page pfn ${String(pfn)} has p2m ${String(mfn)}, its alias ${aliasOf(lo)} (${String(shown)})`,
  );
}

/** I18: a page without a frame shows nothing. */
function checkBallooned(k: Kernel, pfn: Pfn): Violation | undefined {
  const [lo, hi] = directEntry(k, pfn);
  if (lo === 0 && p2mEntry(k, pfn) === P2M_INVALID) return undefined;
  const shown = entryMfn(lo, hi, peek(kernel.frames(k)));
  return found(k, 'I18', `ballooned page pfn ${String(pfn)} shows frame ${String(shown)}`);
}

/** I18: nor does one that a driver has borrowed, unless a grant is mapped there or the page was given up. */
function checkBorrowed(k: Kernel, pfn: Pfn): Violation | undefined {
  const flags = peek(page.flags(pageOf(k, pfn)));
  if ((flags & (PG_ballooned | PG_reserved | PG_foreign | PG_quarantined)) !== PG_ballooned) return undefined;
  return p2mEntry(k, pfn) === P2M_INVALID ? checkBallooned(k, pfn) : undefined;
}

export const found = (k: Kernel, invariant: string, what: string): Violation => ({
  invariant,
  detail: `d${String(peek(kernel.domid(k)))}: ${what}`,
  holders: [],
  severity: 'broken',
});
