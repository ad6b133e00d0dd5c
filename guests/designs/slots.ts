/**
 * What stands behind a PTE page in design (d): one slot per entry, in one or two pages, and how a slot is written.
 *
 * A layout says where slot i has its handle, how a handle looks in its word, and what else it remembers; the algorithm
 * (private-page.ts) is the same for all. The pages are emulated memory of the guest's own, reached through the direct map.
 * Rule [X47]: a handle is any number, 0 included; only INVALID_HANDLE names none, so empty slots hold ~0.
 * Invariant: a second page hangs off the first one's `private`.
 * Lock: the PTE lock of the page the slots belong to.
 * Source: section 5 (d) of the Xen reference, [Q1], [Q4].
 */
import type { Pfn, Va } from '../../src/abi/frames.js';
import { PAGE_WORDS } from '../../src/abi/frames.js';
import { ENTRIES } from '../../src/abi/pte.js';
import { peek, poke, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { NO_HANDLE } from '../drivers/gntdev/map.js';
import { allocZeroedPage } from '../kernel/alloc.js';
import type { KernelCpu } from '../kernel/context.js';
import { addVa, directVa, PFN_NONE } from '../kernel/layout.js';
import { releasePage } from '../kernel/lru.js';
import { page, pageOf } from '../kernel/page.js';
import { percpu, SCAN_TABLES, type Kernel } from '../kernel/records.js';
import { stillWord } from '../kernel/still.js';

export interface SlotLayout {
  /** Words it takes for 512 entries; up to two pages. */
  readonly words: number;
  /** What a word of an empty slot holds. */
  readonly empty: number;
  /** The word of slot `i` that holds its handle. */
  handleWord(i: number): number;
  /** The handle in that word; NO_HANDLE when the slot is empty. */
  decode(word: number): number;
  /** Whether `handle` can be told from everything else such a word may hold. */
  fits(handle: number): boolean;
  /** The word for `handle`; `restores`: the kernel's page gets a frame of its own back. */
  encode(handle: number, restores: boolean): number;
  /** Notes what else the slot remembers of the grant whose driver entry is at `e`. */
  note(c: KernelCpu, s: Pfn, i: number, e: number, restores: boolean): Steps<void>;
  /** Whether that agrees with the driver. */
  agrees(c: KernelCpu, s: Pfn, i: number, e: number, restores: boolean): Steps<boolean>;
}

/** Word `n` of the slots whose first page is `s`. */
export function slotVa(c: KernelCpu, s: Pfn, n: number): Va {
  const at = n < PAGE_WORDS ? s : (peek(page.private(pageOf(c.k, s))) as Pfn);
  return addVa(directVa(at), 4 * (n % PAGE_WORDS));
}

export function* loadSlotWord(c: KernelCpu, s: Pfn, n: number): Steps<number> {
  return yield* c.g.load32(slotVa(c, s, n));
}
export function* storeSlotWord(c: KernelCpu, s: Pfn, n: number, value: number): Steps<void> {
  yield* c.g.store32(slotVa(c, s, n), value);
}

/** The handle in slot `i`; NO_HANDLE: none. */
export function* slotHandle(c: KernelCpu, l: SlotLayout, s: Pfn, i: number): Steps<number> {
  return l.decode(yield* loadSlotWord(c, s, l.handleWord(i)));
}

export function* emptySlot(c: KernelCpu, l: SlotLayout, s: Pfn, i: number): Steps<void> {
  yield* storeSlotWord(c, s, l.handleWord(i), l.empty);
}

/** Pages with all slots empty; PFN_NONE when memory is short. No PTE lock held. */
export function* allocSlots(c: KernelCpu, l: SlotLayout): Steps<Pfn> {
  const s = yield* allocZeroedPage(c);
  if (s === PFN_NONE) return s;
  if (l.words > PAGE_WORDS) {
    const second = yield* allocZeroedPage(c);
    if (second === PFN_NONE) {
      yield* releasePage(c, s);
      return PFN_NONE;
    }
    yield* st(page.private(pageOf(c.k, s)), second);
  }
  yield* blank(c, l, s);
  return s;
}

/** The words of this vCPU's own in which slots are put together and looked through; none but its owner touches them. */
const own = (c: KernelCpu): number => peek(percpu.scan(c.pc)) + (SCAN_TABLES - 1) * PAGE_WORDS;

/** Fills a page at a time. */
function* blank(c: KernelCpu, l: SlotLayout, s: Pfn): Steps<void> {
  if (l.empty === 0) return;
  for (let i = 0; i < PAGE_WORDS; i++) poke(own(c) + i, l.empty);
  for (let n = 0; n < l.words; n += PAGE_WORDS) {
    yield* c.g.storeWords(slotVa(c, s, n), own(c), Math.min(PAGE_WORDS, l.words - n));
  }
}

/** Words looked through at a time; their handles are gathered in the words before. */
const PIECE = PAGE_WORDS - ENTRIES;

/** Copies the handles of all slots to words of this vCPU's own; answers the first one's address. PTE lock held. */
export function* loadHandles(c: KernelCpu, l: SlotLayout, s: Pfn): Steps<number> {
  const out = own(c);
  const piece = out + ENTRIES;
  for (let first = 0, i = 0; i < ENTRIES; first += PIECE) {
    yield* c.g.loadWords(piece, slotVa(c, s, first), Math.min(PIECE, l.words - first));
    for (; i < ENTRIES && l.handleWord(i) < first + PIECE; i++) {
      poke(out + i, l.decode(peek(piece + l.handleWord(i) - first)));
    }
  }
  return out;
}

/** Whether any slot is in use. */
export function* anySlot(c: KernelCpu, l: SlotLayout, s: Pfn): Steps<boolean> {
  const handles = yield* loadHandles(c, l, s);
  for (let i = 0; i < ENTRIES; i++) if (peek(handles + i) !== NO_HANDLE) return true;
  return false;
}

export function* freeSlots(c: KernelCpu, s: Pfn): Steps<void> {
  const second = peek(page.private(pageOf(c.k, s))) as Pfn;
  if (second !== PFN_NONE) yield* releasePage(c, second);
  yield* releasePage(c, s);
}

/** The handle in slot `i` in a still machine. */
export function slotOfStill(k: Kernel, l: SlotLayout, s: Pfn, i: number): number {
  const n = l.handleWord(i);
  const at = n < PAGE_WORDS ? s : (peek(page.private(pageOf(k, s))) as Pfn);
  return l.decode(stillWord(k, at, n % PAGE_WORDS));
}
