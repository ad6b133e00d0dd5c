/**
 * Counts all references of a still machine anew, from tables, bases, pins and allocation bits alone, and compares them with
 * the counters: [I5], [I6], [I7], and the simple ones [I3], [I4]. Grants are not looked at (none are mapped in these tests).
 */
import { DOMID_IO, mfnWord, type Mfn } from '../../src/abi/frames.js';
import { ENTRIES, entryMfn, PAGE_PRESENT, PAGE_RW, ROOT_XEN_FIRST, ROOT_XEN_LAST } from '../../src/abi/pte.js';
import { domain, domainSlot, domainSlots, vcpuCountOf, vcpuOf } from '../../src/hypervisor/domain.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import * as f from '../../src/machine/frame.js';
import { FRAMES } from '../../src/machine/layout.js';
import { peek } from '../../src/sync/primitives.js';
import { entry } from './machine.js';

interface Holders {
  readonly refs: Int32Array;
  readonly types: Int32Array;
  readonly linear: Int32Array;
}

const info = (m: number): number => peek(f.typeInfo(m as Mfn));
const count = (m: number): number => info(m) & f.PGT_count_mask;
const isIn = (m: number): boolean => (peek(f.countInfo(m as Mfn)) & f.PGC_state) === f.PGC_state_inuse;

/** Every disagreement, as a sentence; none when all is well. `atRest`: no call is unfinished anywhere. */
export function recount(atRest = true): string[] {
  const h: Holders = {
    refs: new Int32Array(FRAMES),
    types: new Int32Array(FRAMES),
    linear: new Int32Array(FRAMES),
  };
  for (let m = 0; m < FRAMES; m++) if (isIn(m)) frameHolds(h, m);
  vcpusHold(h);
  const wrong: string[] = [];
  for (let m = 0; m < FRAMES; m++) check(h, m, wrong);
  if (atRest) wrong.push(...unfinished());
  return wrong;
}

/** What frame `m` holds by being allocated, pinned, partial, and by its entries. */
function frameHolds(h: Holders, m: number): void {
  const t = info(m);
  if ((peek(f.countInfo(m as Mfn)) & f.PGC_allocated) !== 0) add(h.refs, m, 1);
  if ((t & f.PGT_pinned) !== 0) both(h, m);
  if ((t & f.PGT_partial) !== 0) both(h, m);
  if (!f.isTableType(t) || count(m) === 0) return;
  const word = peek(f.stampWord(m as Mfn));
  const end = (t & f.PGT_validated) !== 0 ? ENTRIES : f.nrValidated(word);
  for (let i = 0; i < end; i++) entryHolds(h, m, f.typeLevel(t), i);
  if ((t & f.PGT_partial) !== 0 && (word & f.PARTIAL_SET) !== 0) {
    const e = entry(m as Mfn, f.nrValidated(word));
    add(h.refs, entryMfn(e.lo, e.hi, FRAMES), 1);
  }
}

function entryHolds(h: Holders, table: number, level: number, i: number): void {
  if (level === 4 && i >= ROOT_XEN_FIRST && i <= ROOT_XEN_LAST) return;
  if ((peek(mfnWord(table as Mfn) + 2 * i) & PAGE_PRESENT) === 0) return;
  const e = entry(table as Mfn, i);
  const m = entryMfn(e.lo, e.hi, FRAMES);
  if (m < 0) return;
  if (level === 1) {
    if (f.ownerOf(peek(f.ownerWord(m))) === DOMID_IO) return;
    add(h.refs, m, 1);
    if ((e.lo & PAGE_RW) !== 0) add(h.types, m, 1);
    return;
  }
  if (m === table) return;
  both(h, m);
  if (f.typeLevel(info(m)) !== level) return;
  add(h.linear, table, 1);
  add(h.linear, m, -1);
}

function vcpusHold(h: Holders): void {
  for (let s = 0; s < domainSlots; s++) {
    const d = domainSlot(s);
    if (peek(domain.refcnt(d)) === 0) continue;
    for (let i = 0; i < vcpuCountOf(d); i++) {
      const v = vcpuOf(d, i);
      for (const base of [peek(vcpu.guestTable(v)), peek(vcpu.guestTableUser(v))]) if (base !== 0) both(h, base - 1);
      const old = peek(vcpu.oldGuestTable(v));
      if (old === 0) continue;
      add(h.refs, old - 1, 1);
      if (peek(vcpu.oldGuestTablePartial(v)) === 0) add(h.types, old - 1, 1);
    }
  }
}

const add = (a: Int32Array, m: number, n: number): void => {
  a[m] = (a[m] as number) + n;
};
const both = (h: Holders, m: number): void => {
  add(h.refs, m, 1);
  add(h.types, m, 1);
};

function isDying(m: number): boolean {
  const who = f.ownerOf(peek(f.ownerWord(m as Mfn)));
  for (let s = 0; s < domainSlots; s++) {
    const d = domainSlot(s);
    if (peek(domain.key(d)) === who + 1) return peek(domain.dying(d)) !== 0;
  }
  return false;
}

/** Frames of Xen's own have references of their own making; only their sharing is fixed. */
const isXens = (m: number): boolean => (peek(f.countInfo(m as Mfn)) & f.PGC_xen_heap) !== 0;

function check(h: Holders, m: number, wrong: string[]): void {
  const say = (text: string): void => {
    wrong.push(`frame ${String(m)} (${f.typeName(info(m))}): ${text}`);
  };
  const c = peek(f.countInfo(m as Mfn));
  const refs = c & f.PGC_count_mask;
  const t = info(m);
  if (refs !== h.refs[m]) say(`count ${String(refs)}, holders ${String(h.refs[m])}`);
  if ((c & f.PGT_locked) !== 0) say('locked');
  if (!isIn(m)) return;
  if (refs > 0 && f.ownerOf(peek(f.ownerWord(m as Mfn))) === f.NO_OWNER) say('referenced without an owner');
  if (isXens(m)) return;
  if (count(m) !== h.types[m]) say(`type count ${String(count(m))}, holders ${String(h.types[m])}`);
  if (count(m) > refs) say('more type references than references');
  if ((t & f.PGT_partial) !== 0 && (t & f.PGT_validated) !== 0) say('partial, yet validated');
  // A dying domain's table can be partial by force while links still hold it.
  if ((t & f.PGT_partial) !== 0 && count(m) !== 1 && !isDying(m)) say('partial, yet shared');
  if (count(m) > 0 && f.isTableType(t) && (t & (f.PGT_validated | f.PGT_partial)) === 0 && !isDying(m))
    say('still being validated');
  if (count(m) > 0 && f.isTableType(t)) {
    const linear = f.linearCount(peek(f.stampWord(m as Mfn)));
    if (linear !== h.linear[m]) say(`linear count ${String(linear)}, links ${String(h.linear[m])}`);
  }
}

function unfinished(): string[] {
  const out: string[] = [];
  for (let s = 0; s < domainSlots; s++) {
    const d = domainSlot(s);
    if (peek(domain.refcnt(d)) === 0) continue;
    for (let i = 0; i < vcpuCountOf(d); i++) {
      if (peek(vcpu.oldGuestTable(vcpuOf(d, i))) !== 0)
        out.push(`d${String(peek(domain.domid(d)))} has an unfinished table`);
    }
  }
  for (let m = 0; m < FRAMES; m++) {
    if (isIn(m) && (info(m) & f.PGT_partial) !== 0) out.push(`frame ${String(m)} is partial`);
  }
  return out;
}

/** Total of frames by owner, against the domains' own totals. */
export function totals(): string[] {
  const pages = new Map<number, number>();
  for (let m = 0; m < FRAMES; m++) {
    if (!isIn(m) || isXens(m)) continue;
    const who = f.ownerOf(peek(f.ownerWord(m as Mfn)));
    pages.set(who, (pages.get(who) ?? 0) + 1);
  }
  const wrong: string[] = [];
  for (let s = 0; s < domainSlots; s++) {
    const d = domainSlot(s);
    if (peek(domain.key(d)) === 0) continue;
    const domid = peek(domain.domid(d));
    const has = pages.get(domid) ?? 0;
    const says = peek(domain.totPages(d));
    if (has !== says) wrong.push(`d${String(domid)} owns ${String(has)} frames and counts ${String(says)}`);
  }
  return wrong;
}
