/**
 * I1, I3, I4, I5, I6, I7: the counts of a frame against its holders.
 *
 * Source: reference xen-pv-memory.md, section 6; the ledger of ./ledger.ts is the other side of each comparison.
 */
import { linearCount, NO_OWNER } from '../machine/frame.js';
import { FRAMES } from '../machine/layout.js';
import { holdersOf, visitHolders, type Linear } from './ledger.js';
import { eachFrame, frameLabel, isLiveTable, ownerLabel, typeLabel, type Frame } from './view.js';
import { broken, type Violation } from './violation.js';

const TYPES = 8;

interface Sums {
  readonly refs: Int32Array;
  /** Type references found, by frame and type. */
  readonly types: Int32Array;
  readonly linear: Linear;
}

function sumHolders(): Sums {
  const refs = new Int32Array(FRAMES);
  const types = new Int32Array(FRAMES * TYPES);
  const linear = visitHolders((h) => {
    refs[h.mfn] = (refs[h.mfn] ?? 0) + h.refs;
    const t = h.mfn * TYPES + h.type;
    types[t] = (types[t] ?? 0) + h.types;
  });
  return { refs, types, linear };
}

type Finding = readonly [invariant: string, mfn: number, detail: string];

function shape(f: Frame): Finding[] {
  const out: Finding[] = [];
  const at = frameLabel(f.mfn);
  if (f.free) {
    if (f.refs !== 0 || f.allocated) out.push(['I3', f.mfn, `${at} is free with ${String(f.refs)} references`]);
    return out;
  }
  if (f.refs > 0 && f.owner === NO_OWNER) out.push(['I3', f.mfn, `${at} has references and no owner`]);
  if (f.allocated && f.refs < 1) out.push(['I3', f.mfn, `${at} is allocated with no reference`]);
  if (f.typeCount > 0 && f.refs < 1) out.push(['I3', f.mfn, `${at} has a type and no reference`]);
  if (f.pinned && (!f.validated || f.typeCount < 1))
    out.push(['I3', f.mfn, `${at} is pinned, not validated or without a type reference`]);
  if (f.partial && (f.typeCount !== 1 || f.validated))
    out.push(['I4', f.mfn, `${at} is partial with type count ${String(f.typeCount)}`]);
  return out;
}

function counted(f: Frame, s: Sums): Finding[] {
  const out: Finding[] = [];
  if (f.free) return out;
  const at = `${frameLabel(f.mfn)} of ${ownerLabel(f.owner)}`;
  const refs = s.refs[f.mfn] ?? 0;
  if (refs !== f.refs)
    out.push(['I5', f.mfn, `${at}: reference count ${String(f.refs)}, holders hold ${String(refs)}`]);
  for (let t = 1; t < TYPES; t++) {
    const found = s.types[f.mfn * TYPES + t] ?? 0;
    if (t === f.type) {
      if (found !== f.typeCount)
        out.push(['I6', f.mfn, `${at}: ${typeLabel(t)} count ${String(f.typeCount)}, holders hold ${String(found)}`]);
    } else if (found !== 0) {
      const now = f.typeCount > 0 ? typeLabel(f.type) : 'untyped';
      out.push(['I1', f.mfn, `${at}: ${now}, yet ${String(found)} hold it as ${typeLabel(t)}`]);
    }
  }
  return out;
}

function linearCounted(f: Frame, s: Sums): Finding[] {
  if (!isLiveTable(f) || f.type < 2) return [];
  const entries = s.linear.entries.get(f.mfn) ?? 0;
  const uses = s.linear.uses.get(f.mfn) ?? 0;
  const has = linearCount(f.stamp);
  if (entries > 0 && uses > 0)
    return [['I7', f.mfn, `${frameLabel(f.mfn)} both links to tables of its level and is linked to`]];
  const want = entries - uses;
  return has === want
    ? []
    : [['I7', f.mfn, `${frameLabel(f.mfn)}: linear count ${String(has)}, found ${String(want)}`]];
}

/** I1, I3 to I7 over all frames, each finding with the holders of its frame. */
export function checkCounts(): Violation[] {
  const s = sumHolders();
  const found: Finding[] = [];
  eachFrame((f) => {
    found.push(...shape(f), ...counted(f, s), ...linearCounted(f, s));
  });
  const holders = holdersOf(new Set(found.map(([, mfn]) => mfn)));
  return found.map(([invariant, mfn, detail]) => broken(invariant, detail, holders.get(mfn) ?? []));
}
