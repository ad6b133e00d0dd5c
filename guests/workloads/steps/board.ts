/**
 * What the vCPUs of a small scenario know of each other beside the machine: grants by number, processes, pages in hand.
 *
 * Invariant: one chunk for the whole machine, a row per domain; a slot is 0 while nothing is in it. Only the row's own
 * domain writes it; others read references as a backend reads them from a ring.
 * Lock: none; slots are written by one vCPU and read by others where the scenario races them on purpose.
 */
import { ldOnce, peek, stOnce } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import type { KernelCpu } from '../../kernel/context.js';
import { kernel } from '../../kernel/records.js';

export const BOARD_DOMAINS = 8;
const ROW = 128;
/** Words of the board. */
export const STEP_BOARD_WORDS = BOARD_DOMAINS * ROW;

export const GRANT_SLOTS = 16;
export const PROCESS_SLOTS = 8;
export const PAGE_SLOTS = 16;
export const VCPU_SLOTS = 8;

/** First words of a row's groups: references and pages granted, tasks, borrowed pages behind grants, pages, vCPUs' ends, a port. */
const REFS = 0;
const GRANTED = REFS + GRANT_SLOTS;
const TASKS = GRANTED + GRANT_SLOTS;
const BACKING = TASKS + PROCESS_SLOTS;
const PAGES = BACKING + GRANT_SLOTS;
const ENDED = PAGES + PAGE_SLOTS;
const PORT = ENDED + VCPU_SLOTS;
const NEWS = PORT + 1;

const row = (c: KernelCpu, domid: number): number => peek(kernel.board(c.k)) + domid * ROW;
const own = (c: KernelCpu): number => row(c, peek(kernel.domid(c.k)));

/** Grant `i` of domain `domid`: its reference; 0 none. */
export const refSlot = (c: KernelCpu, domid: number, i: number): number => row(c, domid) + REFS + i;
/** The page behind this domain's grant `i`. */
export const grantedSlot = (c: KernelCpu, i: number): number => own(c) + GRANTED + i;
export const taskSlot = (c: KernelCpu, i: number): number => own(c) + TASKS + i;
/** The page that this domain's map of grant `i` stands on. */
export const backingSlot = (c: KernelCpu, i: number): number => own(c) + BACKING + i;
export const pageSlot = (c: KernelCpu, i: number): number => own(c) + PAGES + i;
/** The event channel of domain `domid`, and whether it has said something. */
export const portSlot = (c: KernelCpu, domid: number): number => row(c, domid) + PORT;
export const newsSlot = (c: KernelCpu, domid: number): number => row(c, domid) + NEWS;
export const endedSlot = (c: KernelCpu, vcpu: number): number => own(c) + ENDED + vcpu;

/** A slot that another vCPU may be writing. */
export function* slotNow(a: number): Steps<number> {
  return yield* ldOnce(a); // raced on purpose: the scenario says who meets whom
}
export function* slotSet(a: number, v: number): Steps<void> {
  yield* stOnce(a, v); // raced on purpose: as above
}
