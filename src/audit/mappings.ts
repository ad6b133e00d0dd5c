/**
 * I10, I11, and I12 of page tables: live host handles and the entries of validated L1s, matched one to one.
 *
 * An entry serves a handle when it lies in an L1 of the mapper's and has the grant's frame and mode: Xen looks at no more
 * when it unmaps ([X48]), so which of two equal entries is whose does not matter.
 * Source: reference xen-pv-memory.md, section 6; [X30], [X48], [X61].
 */
import type { GuestReport } from '../abi/guest.js';
import { FRAMES } from '../machine/layout.js';
import { NO_OWNER } from '../machine/frame.js';
import { grantAt } from './grant-view.js';
import type { Handle } from './handles.js';
import { isGuest, mapsByRight, type Stock } from './stock.js';
import { eachEntry, entryLabel, frameLabel, holdsEntries, inMachine, ownerLabel, ownerOfFrame } from './view.js';
import { broken, type Violation } from './violation.js';

interface Pte {
  readonly mapper: number;
  readonly mfn: number;
  readonly rw: boolean;
  readonly where: string;
}

/** Same mapper, frame and mode. */
const keyOf = (mapper: number, mfn: number, rw: boolean): number => (mapper * FRAMES + mfn) * 2 + (rw ? 1 : 0);

const isForeign = (p: Pte): boolean => {
  const owner = ownerOfFrame(p.mfn as Handle['mfn']);
  return owner !== p.mapper && isGuest(owner);
};

/** Entries of L1s that name a frame of another guest, or one that a handle is about; by key. */
function entriesByKey(stock: Stock): Map<number, Pte[]> {
  const granted = new Set(stock.handles.map((h) => h.mfn));
  const out = new Map<number, Pte[]>();
  for (const t of stock.frames) {
    if (t.type !== 1 || !holdsEntries(t)) continue;
    eachEntry(t, (e) => {
      if (!inMachine(e.mfn) || (ownerOfFrame(e.mfn) === t.owner && !granted.has(e.mfn))) return;
      const key = keyOf(t.owner, e.mfn, e.rw);
      const list = out.get(key) ?? [];
      list.push({ mapper: t.owner, mfn: e.mfn, rw: e.rw, where: entryLabel(t, e) });
      out.set(key, list);
    });
  }
  return out;
}

/** Whether a validated L1 of the domain maps the frame, writable if asked. */
export function mapsFrame(stock: Stock, mapper: number, mfn: number, rw: boolean): boolean {
  let found = false;
  for (const t of stock.frames) {
    if (t.type !== 1 || t.owner !== mapper || !holdsEntries(t)) continue;
    eachEntry(t, (e) => {
      found ||= e.mfn === mfn && (e.rw || !rw);
    });
  }
  return found;
}

export function checkMappings(stock: Stock, guests: readonly GuestReport[]): Violation[] {
  const left = entriesByKey(stock);
  const out: Violation[] = [];
  for (const h of stock.handles) {
    if (!h.host) continue;
    const pte = left.get(keyOf(h.mapper.domid, h.mfn, !h.readonly))?.pop();
    if (pte === undefined) out.push(leaked(h, guests));
    else out.push(...observed(h, pte));
  }
  for (const ptes of left.values()) out.push(...ptes.flatMap((p) => unexplained(p, stock)));
  return out;
}

/** I10: held by a driver that will try again, or by nobody. */
function leaked(h: Handle, guests: readonly GuestReport[]): Violation {
  const known = guests.filter((g) => g.domid === h.mapper.domid).flatMap((g) => g.handles);
  const keeper = known.find((k) => k.handle === h.handle);
  const willRelease = keeper?.willRelease === true;
  const frame = h.mfn < 0 ? 'a frame that is gone' : frameLabel(h.mfn);
  return {
    invariant: 'I10',
    detail: `leaked handle: ${h.label} has no entry for ${frame} in a validated L1`,
    holders: [
      h.label,
      `d${String(h.granterId)} grant entry ${String(h.ref)} stays in use${frameOwner(h)}`,
      keeper === undefined
        ? 'no driver knows the handle any more'
        : `${keeper.who}${willRelease ? '' : ', which will not release it'}`,
    ],
    severity: willRelease ? 'degraded' : 'leaked',
    held: { kind: 'handle', domid: h.mapper.domid, handle: h.handle },
  };
}

function frameOwner(h: Handle): string {
  const owner = h.mfn < 0 ? NO_OWNER : ownerOfFrame(h.mfn);
  return owner === h.granterId ? '' : `, its frame is now of ${ownerLabel(owner)}`;
}

/** I12: a granter that sees its grant idle sees it rightly. */
function observed(h: Handle, pte: Pte): Violation[] {
  if (h.granter === undefined || !h.granter.alive || !h.mapper.alive) return [];
  const grant = grantAt(h.granter.table, h.ref);
  if (grant === undefined || (grant.reading && (h.readonly || grant.writing))) return [];
  const seen = grant.reading ? 'no writer' : 'nobody';
  const text = `${h.granter.label} sees ${seen} at ref ${String(h.ref)}, yet ${pte.where} maps its frame`;
  return [broken('I12', text, [h.label, pte.where])];
}

/** I11: a frame of another guest in an unprivileged guest's table came through a grant, or did not come rightly. */
function unexplained(p: Pte, stock: Stock): Violation[] {
  const mapper = stock.byId.get(p.mapper);
  if (!isForeign(p) || mapper === undefined || !mapper.alive) return [];
  const owner = ownerOfFrame(p.mfn as Handle['mfn']);
  if (mapsByRight(mapper, owner)) return [];
  const text = `${p.where} names ${frameLabel(p.mfn)} of ${ownerLabel(owner)} without a handle`;
  return [broken('I11', text, [p.where])];
}
