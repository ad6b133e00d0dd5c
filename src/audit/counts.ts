/**
 * I1, I5, I6, I7: the counts of a frame against what the ledger found to hold it.
 *
 * Source: reference xen-pv-memory.md, section 6.
 */
import type { GuestReport } from '../abi/guest.js';
import { FRAMES } from '../machine/layout.js';
import { holdersOf, visitHolders, type Links } from './ledger.js';
import { shapeOf, type Finding } from './shape.js';
import type { Stock } from './stock.js';
import {
  frameLabel,
  holdsEntries,
  linearCountOf,
  ownerLabel,
  refCount,
  typeCount,
  typeLabel,
  type Frame,
} from './view.js';
import { broken, type Violation } from './violation.js';

const TYPES = 8;

interface Sums {
  readonly refs: Int32Array;
  /** Type references found, by frame and type. */
  readonly types: Int32Array;
  readonly links: Links;
}

function sumHolders(stock: Stock): Sums {
  const refs = new Int32Array(FRAMES);
  const types = new Int32Array(FRAMES * TYPES);
  const links = visitHolders(stock, (h) => {
    refs[h.mfn]! += h.refs;
    types[h.mfn * TYPES + h.type]! += h.types;
  });
  return { refs, types, links };
}

/** I5: general references. */
function references(f: Frame, s: Sums): Finding[] {
  const found = s.refs[f.mfn] ?? 0;
  const has = refCount(f.mfn);
  if (found === has) return [];
  const at = `${frameLabel(f.mfn)} of ${ownerLabel(f.owner)}`;
  return [['I5', f.mfn, `${at}: reference count ${String(has)}, holders hold ${String(found)}`]];
}

/** I6: references of the frame's type; I1: none of another. */
function typeReferences(f: Frame, s: Sums): Finding[] {
  const out: Finding[] = [];
  const at = `${frameLabel(f.mfn)} of ${ownerLabel(f.owner)}`;
  const count = typeCount(f.mfn);
  for (let t = 0; t < TYPES; t++) {
    const found = s.types[f.mfn * TYPES + t] ?? 0;
    if (t === f.type) {
      if (found !== count)
        out.push(['I6', f.mfn, `${at}: ${typeLabel(t)} count ${String(count)}, holders hold ${String(found)}`]);
    } else if (found !== 0) {
      out.push(['I1', f.mfn, `${at}: ${typeLabel(f.type)}, yet ${String(found)} hold it as ${typeLabel(t)}`]);
    }
  }
  return out;
}

/** I7: links held and links to it, never both. */
function linearLinks(f: Frame, s: Sums): Finding[] {
  if (!holdsEntries(f) || f.type === 1) return [];
  const held = s.links.held.get(f.mfn) ?? 0;
  const used = s.links.used.get(f.mfn) ?? 0;
  const at = frameLabel(f.mfn);
  if (held > 0 && used > 0) return [['I7', f.mfn, `${at} both links to tables of its level and is linked to`]];
  const has = linearCountOf(f.mfn);
  if (has === held - used) return [];
  return [['I7', f.mfn, `${at}: linear count ${String(has)}, found ${String(held - used)}`]];
}

/** I1 and I3 to I7 of all frames, each finding with the holders of its frame. */
export function checkCounts(stock: Stock, guests: readonly GuestReport[]): Violation[] {
  const s = sumHolders(stock);
  const found: Finding[] = [];
  for (const f of stock.frames) {
    found.push(...shapeOf(f, stock), ...references(f, s), ...typeReferences(f, s), ...linearLinks(f, s));
  }
  if (found.length === 0) return [];
  const holders = holdersOf(stock, new Set(found.map(([, mfn]) => mfn)), guests);
  return found.map(([invariant, mfn, detail]) => broken(invariant, detail, holders.get(mfn) ?? []));
}
