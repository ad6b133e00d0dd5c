/**
 * The reference ledger: who holds each frame, recomputed from page tables, base pointers, pins and grants.
 *
 * Invariant: no count is read here, only what holds: entries, the pinned, allocated and partial bits, base pointers,
 * maptrack entries. A frame's counts must equal what the ledger finds ([I5], [I6], [I7]).
 * Source: DESIGN decision 8; get_page_from_l1e and promote_*_table of xen/arch/x86/mm.c for what an entry holds.
 */
import { INVALID_MFN, type Mfn } from '../abi/frames.js';
import { PAGE_RW } from '../abi/pte.js';
import { FRAMES } from '../machine/layout.js';
import { vcpu } from '../machine/cpu-record.js';
import { deviceGrants } from './grant-view.js';
import {
  eachFrame,
  allProcessors,
  frameOf,
  heldMfn,
  isLiveTable,
  kernelBase,
  ownerLabel,
  presentEntries,
  TYPE_WRITABLE,
  userBase,
  frameLabel,
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

const hold = (visit: Visit, mfn: Mfn, refs: number, type: number, types: number, who: () => string): void => {
  if (mfn >= 0 && mfn < FRAMES) visit({ mfn, refs, type, types, who });
};

/** Linear entries found while walking: table to number of its entries, target to number of its uses. */
export interface Linear {
  readonly entries: Map<Mfn, number>;
  readonly uses: Map<Mfn, number>;
}
const bump = (m: Map<Mfn, number>, k: Mfn): void => void m.set(k, (m.get(k) ?? 0) + 1);

function visitTable(f: Frame, visit: Visit, linear: Linear): void {
  for (const e of presentEntries(f.mfn, f.type)) {
    if (e.mfn === INVALID_MFN) continue;
    const who = (): string =>
      `${ownerLabel(f.owner)} L${String(f.type)} ${frameLabel(f.mfn)}[${String(e.index)}]${(e.lo & PAGE_RW) !== 0 ? ' rw' : ' ro'}`;
    if (f.type === 1) {
      const rw = (e.lo & PAGE_RW) !== 0;
      hold(visit, e.mfn, 1, TYPE_WRITABLE, rw ? 1 : 0, who);
      continue;
    }
    const target = frameOf(e.mfn);
    if (target.type === f.type && target.typeCount > 0) {
      if (target.mfn === f.mfn) continue;
      bump(linear.entries, f.mfn);
      bump(linear.uses, target.mfn);
      hold(visit, e.mfn, 1, f.type, 1, who);
    } else {
      hold(visit, e.mfn, 1, f.type - 1, 1, who);
    }
  }
}

function visitFrame(f: Frame, visit: Visit, linear: Linear): void {
  if (f.free) return;
  if (f.allocated) hold(visit, f.mfn, 1, 0, 0, () => `allocation of ${ownerLabel(f.owner)}`);
  if (f.xenHeap) hold(visit, f.mfn, 0, f.type, 1, () => 'xen heap');
  if (f.pinned) hold(visit, f.mfn, 1, f.type, 1, () => `pin L${String(f.type)}`);
  if (f.partial) hold(visit, f.mfn, 1, f.type, 1, () => 'partial validation');
  if (isLiveTable(f)) visitTable(f, visit, linear);
}

function visitProcessors(visit: Visit): void {
  for (const p of allProcessors()) {
    hold(visit, kernelBase(p.cpu), 1, 4, 1, () => `${p.label} kernel cr3`);
    hold(visit, userBase(p.cpu), 1, 4, 1, () => `${p.label} user cr3`);
    const old = heldMfn(vcpu.oldGuestTable(p.cpu));
    if (old >= 0) hold(visit, old, 1, frameOf(old).type, 1, () => `${p.label} unfinished teardown`);
  }
}

function visitGrants(visit: Visit): void {
  for (const g of deviceGrants()) {
    hold(visit, g.mfn, 1, TYPE_WRITABLE, g.readonly ? 0 : 1, () => g.label);
  }
}

/** Visits every holder of every frame. */
export function visitHolders(visit: Visit): Linear {
  const linear: Linear = { entries: new Map(), uses: new Map() };
  eachFrame((f) => {
    visitFrame(f, visit, linear);
  });
  visitProcessors(visit);
  visitGrants(visit);
  return linear;
}

/** Holders of each of `frames`, one line each, at most `limit` a frame. */
export function holdersOf(frames: ReadonlySet<number>, limit = 12): Map<number, string[]> {
  const out = new Map<number, string[]>();
  visitHolders((h) => {
    if (!frames.has(h.mfn)) return;
    const lines = out.get(h.mfn) ?? [];
    if (lines.length < limit) lines.push(h.who());
    out.set(h.mfn, lines);
  });
  return out;
}
