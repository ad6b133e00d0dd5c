/**
 * The reference ledger: who holds each frame, recomputed from page tables, base pointers, pins and grants.
 *
 * Invariant: no count is read here, only what holds: entries of validated tables (of partial ones, as far as validation
 * came), the pinned, allocated and partial bits, base pointers, unfinished teardowns, page locks, maptrack entries.
 * A frame's counts must equal what the ledger finds ([I5], [I6], [I7]).
 * Source: DESIGN decision 8; get_page_from_l1e and promote_*_table of xen/arch/x86/mm.c for what an entry holds.
 *
 * A host grant's references are its page-table entry's; only a device mapping holds some of its own.
 */
import { DOMID_IO, type Mfn } from '../abi/frames.js';
import type { GuestReport } from '../abi/guest.js';
import { vcpu } from '../machine/cpu-record.js';
import { peek } from '../sync/primitives.js';
import type { Processor, Stock } from './stock.js';
import {
  eachEntry,
  entryLabel,
  halfDoneEntry,
  holdsEntries,
  inMachine,
  ownerLabel,
  ownerOfFrame,
  TYPE_L4,
  TYPE_NONE,
  TYPE_WRITABLE,
  typeLabel,
  typeOfFrame,
  type Entry,
  type Frame,
} from './view.js';

/** One holder of a frame: `refs` general references and `types` references of type `type`. */
export interface Holder {
  readonly mfn: Mfn;
  readonly refs: number;
  readonly type: number;
  readonly types: number;
  readonly who: () => string;
}
type Visit = (holder: Holder) => void;

function hold(visit: Visit, mfn: Mfn, refs: number, type: number, types: number, who: () => string): void {
  if (inMachine(mfn)) visit({ mfn, refs, type, types, who });
}

/** Linear links: table to the number it holds, table to the number of links to it ([X17]). */
export interface Links {
  readonly held: Map<Mfn, number>;
  readonly used: Map<Mfn, number>;
}
const bump = (m: Map<Mfn, number>, k: Mfn): void => void m.set(k, (m.get(k) ?? 0) + 1);

/** What one entry of table `t` holds: I/O memory and a link to the table itself hold nothing. */
function entryHolds(t: Frame, e: Entry, visit: Visit, links: Links): void {
  if (!inMachine(e.mfn)) return;
  const who = (): string => entryLabel(t, e);
  if (t.type === 1) {
    if (ownerOfFrame(e.mfn) !== DOMID_IO) hold(visit, e.mfn, 1, TYPE_WRITABLE, e.rw ? 1 : 0, who);
    return;
  }
  if (e.mfn === t.mfn) return;
  const linear = typeOfFrame(e.mfn) === t.type;
  if (linear) {
    bump(links.held, t.mfn);
    bump(links.used, e.mfn);
  }
  hold(visit, e.mfn, 1, linear ? t.type : t.type - 1, 1, who);
}

function visitFrame(f: Frame, visit: Visit, links: Links): void {
  if (f.allocated) hold(visit, f.mfn, 1, TYPE_NONE, 0, () => `allocation of ${ownerLabel(f.owner)}`);
  if (f.xenHeap && f.validated) hold(visit, f.mfn, 0, f.type, 1, () => `shared by xen with ${ownerLabel(f.owner)}`);
  if (f.pinned) hold(visit, f.mfn, 1, f.type, 1, () => `pin as ${typeLabel(f.type)}`);
  if (f.partial) hold(visit, f.mfn, 1, f.type, 1, () => 'partial validation');
  if (!holdsEntries(f)) return;
  eachEntry(f, (e) => entryHolds(f, e, visit, links));
  const half = halfDoneEntry(f);
  if (half !== undefined) hold(visit, half.mfn, 1, TYPE_NONE, 0, () => `${entryLabel(f, half)}, half done`);
}

/** A word that holds mfn + 1; -1 for none. */
const heldMfn = (word: number): Mfn => (peek(word) - 1) as Mfn;

function visitProcessor(p: Processor, visit: Visit): void {
  hold(visit, heldMfn(vcpu.guestTable(p.cpu)), 1, TYPE_L4, 1, () => `${p.label} kernel base`);
  hold(visit, heldMfn(vcpu.guestTableUser(p.cpu)), 1, TYPE_L4, 1, () => `${p.label} user base`);
  const locked = heldMfn(vcpu.lockedPage(p.cpu));
  if (inMachine(locked)) hold(visit, locked, 0, typeOfFrame(locked), 1, () => `${p.label} page lock`);
  const old = heldMfn(vcpu.oldGuestTable(p.cpu));
  if (!inMachine(old)) return;
  // Of a partial table the type reference is the partial state's.
  const full = peek(vcpu.oldGuestTablePartial(p.cpu)) === 0;
  hold(visit, old, 1, typeOfFrame(old), full ? 1 : 0, () => `${p.label} unfinished teardown`);
}

/** Visits every holder of every frame; answers the linear links. */
export function visitHolders(stock: Stock, visit: Visit): Links {
  const links: Links = { held: new Map(), used: new Map() };
  for (const f of stock.frames) if (!f.free) visitFrame(f, visit, links);
  for (const p of stock.processors) visitProcessor(p, visit);
  for (const h of stock.handles) {
    if (h.device) hold(visit, h.mfn, 1, TYPE_WRITABLE, h.readonly ? 0 : 1, () => `${h.label}, device`);
  }
  return links;
}

/** Lines kept for one frame. */
const LINES = 12;

/** Holders of each of `frames`, one line each, then what guests say they keep it for. */
export function holdersOf(
  stock: Stock,
  frames: ReadonlySet<number>,
  guests: readonly GuestReport[],
): Map<number, string[]> {
  const out = new Map<number, string[]>();
  const add = (mfn: number, who: () => string): void => {
    const lines = out.get(mfn) ?? [];
    if (frames.has(mfn) && lines.length < LINES) out.set(mfn, [...lines, who()]);
  };
  visitHolders(stock, (h) => {
    add(h.mfn, h.who);
  });
  for (const g of guests) for (const f of g.frames) add(f.mfn, () => `d${String(g.domid)} ${f.who}`);
  return out;
}
