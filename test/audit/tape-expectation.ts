/**
 * What the audit must say after a tape, worked out from its recorded statuses, types and grant entries by Xen's rules.
 *
 * Source: [X48], [X61]-[X64]. Everything not listed here must not be found.
 */
import { GTF_accept_transfer, GTF_reading, GTF_type_mask, GTF_writing } from '../../src/abi/grant.js';
import type { Mfn } from '../../src/abi/frames.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { ownerOf, ownerWord } from '../../src/machine/frame.js';
import { TLB_SLOTS } from '../../src/machine/layout.js';
import { peek } from '../../src/sync/primitives.js';
import type { TapeHandle, TapeHistory } from './tape-history.js';
import { l1Owners, leavesOf, recordedOwner } from './tape-tables.js';

/** How often a finding is expected, at least and at most, by what it is about. */
export type Expected = Map<string, readonly [least: number, most: number]>;
function expects(e: Expected, key: string, least = 1, most = least): void {
  const [a, b] = e.get(key) ?? [0, 0];
  e.set(key, [a + Math.max(0, least), b + Math.max(0, most)]);
}

export const leafKey = (mapper: string, mfn: number, rw: boolean): string =>
  `${mapper} 0x${mfn.toString(16)} ${rw ? 'rw' : 'ro'}`;
/** What Xen tells apart when it unmaps ([X48]): mapper, frame, mode; of a granter that is gone no frame is known. */
export const handleKey = (t: TapeHistory, h: TapeHandle): string =>
  leafKey(h.mapper, t.gone(h.granter) ? -1 : h.mfn, h.rw);

export function expectedFindings(t: TapeHistory): Expected {
  const out: Expected = new Map();
  addMappings(t, out);
  addBits(t, out);
  addPins(t, out);
  addForgotten(t, out);
  return out;
}

interface Leaves {
  n: number;
  /** Of these, written by d0. */
  byRight: number;
  readonly mfn: Mfn;
  readonly owner: string;
}

function leavesByKey(t: TapeHistory): Map<string, Leaves> {
  const out = new Map<string, Leaves>();
  for (const { owner, slot, leaf } of leavesOf(l1Owners(t.m, t.recorded.types))) {
    const key = leafKey(owner, leaf.mfn, leaf.rw);
    const l = out.get(key) ?? { n: 0, byRight: 0, mfn: leaf.mfn, owner };
    l.n++;
    if (t.byRight.has(slot)) l.byRight++;
    out.set(key, l);
  }
  return out;
}

/** I10: host handles without an entry left. I11: entries that d0 wrote for a guest. I12: entries nobody is seen to use. */
function addMappings(t: TapeHistory, out: Expected): void {
  const leaves = leavesByKey(t);
  const handles = new Map<string, TapeHandle[]>();
  for (const h of t.handles) if (h.host) handles.set(handleKey(t, h), [...(handles.get(handleKey(t, h)) ?? []), h]);
  for (const [key, hs] of handles) {
    const leaked = Math.max(0, hs.length - (leaves.get(key)?.n ?? 0));
    const unseen = hs.filter((h) => isUnseen(t, h)).length;
    expects(out, `I10 ${key}`, leaked);
    expects(out, `I12 ${key}`, unseen - leaked, Math.min(unseen, hs.length - leaked));
    // Which pages the mapper looked at through them, and so has in its TLB, is not followed here.
    if (unseen > 0) expects(out, `I12 TLB ${hs[0]?.mapper ?? ''} 0x${(hs[0]?.mfn ?? 0).toString(16)}`, 0, TLB_SLOTS);
  }
  for (const [key, l] of leaves) {
    if (l.owner === 'd0' || ownerNow(t, l.mfn) === l.owner || !t.alive(l.owner)) continue;
    expects(out, `I11 ${key}`, Math.min(l.n - (handles.get(key)?.length ?? 0), l.byRight));
  }
}

/** What the granter reads in the entry of a grant; undefined when it lives no more or nobody recorded it. */
function bitsOf(t: TapeHistory, granter: string, ref: number): { reading: boolean; writing: boolean } | undefined {
  const g = t.recorded.grants.get(`${granter}.${String(ref)}`) ?? null;
  if (g === null || !t.alive(granter) || t.unrecorded.has(`${granter}.${String(ref)}`)) return undefined;
  const bits = isV1(t, granter) ? g.flags : (g.status ?? 0);
  return { reading: (bits & GTF_reading) !== 0, writing: (bits & GTF_writing) !== 0 };
}
const isV1 = (t: TapeHistory, granter: string): boolean => (t.versions.get(granter) ?? 1) === 1;

function isUnseen(t: TapeHistory, h: TapeHandle): boolean {
  const bits = bitsOf(t, h.granter, h.ref);
  return bits !== undefined && !(bits.reading && (bits.writing || !h.rw));
}

/** Owner of a frame: as recorded, for frames outside the tape as the machine says. */
function ownerNow(t: TapeHistory, mfn: Mfn): string | null {
  const recorded = recordedOwner(t.m, t.recorded.types, mfn);
  return recorded === undefined ? `d${String(ownerOf(peek(ownerWord(mfn))))}` : recorded;
}

/** I9: recorded bits that are not what live handles amount to, because the granter wrote them itself. */
function addBits(t: TapeHistory, out: Expected): void {
  for (const [name, g] of t.recorded.grants) {
    const [granter = '', r = ''] = name.split('.');
    const ref = Number(r);
    const bits = bitsOf(t, granter, ref);
    if (bits === undefined || g === null) continue;
    const users = t.handles.filter((h) => h.granter === granter && h.ref === ref);
    const idle = isV1(t, granter) && users.length === 0;
    if (idle && (g.flags & GTF_type_mask) === GTF_accept_transfer) continue;
    const asUsed = bits.reading === users.length > 0 && bits.writing === users.some((h) => h.rw);
    if (!asUsed) expects(out, `I9 ${granter} ${String(t.m.grefOf(granter, ref))}`);
  }
}

/** I13: frames that left their granter while a handle without an entry still pins them ([X63]). */
function addPins(t: TapeHistory, out: Expected): void {
  const pinned = new Map(t.handles.map((h) => [`${h.granter} ${String(h.gref)}`, h]));
  for (const [key, h] of pinned) {
    if (!t.gone(h.granter) && ownerNow(t, h.mfn) !== h.granter) expects(out, `I13 ${key}`);
  }
}

/** I5: tables that Xen forgets when validation fails on the first entry of a table below a failing one. */
function addForgotten(t: TapeHistory, out: Expected): void {
  for (const guest of t.m.guests.values()) expects(out, 'I5', peek(vcpu.nLostTables(guest.g.cpu)));
}
