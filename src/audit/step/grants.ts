/**
 * I12 after every step: as long as a domain can reach another's frame, the owner sees a grant of it in use.
 *
 * Invariant: the shared bits are set before an entry is installed and cleared after the flush that follows its removal
 * ([X54]), so this holds at every step; excepted are a mapper that is dying ([X64]), an owner that is, and the moment in
 * which the owner's own set_version lays its table out anew under the write lock ([X59]).
 * Source: reference xen-pv-memory.md, section 6; [X30], [X41], [X45].
 */
import { mfnWord, type Mfn } from '../../abi/frames.js';
import {
  GRANT_STATUS_PER_FRAME,
  GRANT_V1_PER_FRAME,
  GRANT_V1_WORDS,
  GRANT_V2_PER_FRAME,
  GTF_reading,
  GTF_writing,
} from '../../abi/grant.js';
import { entryMfn, PAGE_RW } from '../../abi/pte.js';
import { domain, DOMDYING_alive, domidOf, type DomainRef } from '../../hypervisor/domain.js';
import { active, type Active } from '../../hypervisor/grant/active.js';
import { ACTIVE_PER_CHUNK, ACTIVE_WORDS, grantTable, type GrantTable } from '../../hypervisor/grant/table.js';
import * as f from '../../machine/frame.js';
import { FRAMES } from '../../machine/layout.js';
import { peek } from '../../sync/primitives.js';
import { isGuest } from '../stock.js';
import { entryAt, entryLabel, frameLabel, frameOf } from '../view.js';
import { finding, type Finding } from './finding.js';
import { domainById, holdsRefs } from './frames.js';

const tableOf = (d: DomainRef): GrantTable => peek(domain.grantTable(d)) as GrantTable;
const inMachine = (mfn: number): boolean => mfn >= 0 && mfn < FRAMES;

function activeOf(gt: GrantTable, ref: number): Active {
  const chunk = peek(peek(grantTable.activeList(gt)) + Math.floor(ref / ACTIVE_PER_CHUNK));
  return (chunk === 0 ? 0 : chunk + (ref % ACTIVE_PER_CHUNK) * ACTIVE_WORDS) as Active;
}

/** The half word in which the owner sees the use of `ref`. */
function bitsOf(gt: GrantTable, v1: boolean, ref: number): number {
  const list = peek(v1 ? grantTable.sharedList(gt) : grantTable.statusList(gt));
  const per = v1 ? GRANT_V1_PER_FRAME : GRANT_STATUS_PER_FRAME;
  const mfn = peek(list + Math.floor(ref / per));
  if (!inMachine(mfn)) return 0;
  const i = ref % per;
  return v1 ? peek(mfnWord(mfn as Mfn) + i * GRANT_V1_WORDS) : peek(mfnWord(mfn as Mfn) + (i >> 1)) >>> ((i & 1) * 16);
}

const UNKNOWN = 0;
const COVERED = 1;
const NOT_COVERED = 2;

/** Whether the owner sees a use of `mfn` by `mapper` (UNKNOWN: no grant of it ever was that domain's). */
function covered(owner: DomainRef, mapper: number, mfn: Mfn, rw: boolean): number {
  const gt = tableOf(owner);
  if (gt === 0) return UNKNOWN;
  if (peek(grantTable.lock(gt)) !== 0) return COVERED;
  const v1 = peek(grantTable.version(gt)) === 1;
  const refs = peek(grantTable.nrGrantFrames(gt)) * (v1 ? GRANT_V1_PER_FRAME : GRANT_V2_PER_FRAME);
  let seen = UNKNOWN;
  for (let ref = 0; ref < refs; ref++) {
    const a = activeOf(gt, ref);
    if (a === 0 || peek(active.mfn(a)) !== mfn || peek(active.domid(a)) !== mapper) continue;
    const bits = bitsOf(gt, v1, ref);
    if ((bits & GTF_reading) !== 0 && (!rw || (bits & GTF_writing) !== 0)) return COVERED;
    seen = NOT_COVERED;
  }
  return seen;
}

/** Does an entry in force of an L1 of `mapper` map the frame, writable if asked? */
export function entryOf(mapper: number, mfn: Mfn, rw: boolean): Finding | undefined {
  for (let m = 0; m < FRAMES; m++) {
    const table = m as Mfn;
    const t = peek(f.typeInfo(table));
    if (f.typeLevel(t) !== 1 || !holdsRefs(t) || f.ownerOf(peek(f.ownerWord(table))) !== mapper) continue;
    const base = mfnWord(table);
    for (let i = 0; i < 512; i++) {
      const lo = peek(base + 2 * i);
      if ((lo & 1) === 0 || (rw && (lo & PAGE_RW) === 0) || entryMfn(lo, peek(base + 2 * i + 1), FRAMES) !== mfn)
        continue;
      return finding('I12', entryLabel(frameOf(table), entryAt(table, i)));
    }
  }
  return undefined;
}

/** The owner, when it is another guest than `mapper` that lives; else 0. */
function foreignOwner(mapper: number, mfn: Mfn): DomainRef {
  const owner = f.ownerOf(peek(f.ownerWord(mfn)));
  if (owner === mapper || !isGuest(owner) || !isGuest(mapper)) return 0 as DomainRef;
  const d = domainById(owner);
  return d !== 0 && peek(domain.dying(d)) === DOMDYING_alive ? d : (0 as DomainRef);
}

const mapsByRight = (mapper: DomainRef, owner: DomainRef): boolean =>
  peek(domain.privileged(mapper)) !== 0 || peek(domain.target(mapper)) === domidOf(owner) + 1;

/** What the owner of a foreign frame fails to see although `mapper` can reach it through a TLB. */
export function foreignReach(mapper: DomainRef, mfn: Mfn, rw: boolean): string {
  const owner = foreignOwner(domidOf(mapper), mfn);
  if (owner === 0) return '';
  const seen = covered(owner, domidOf(mapper), mfn, rw);
  if (seen === COVERED) return '';
  if (mapsByRight(mapper, owner) && (seen === UNKNOWN || entryOf(domidOf(mapper), mfn, rw) !== undefined)) return '';
  return `d${String(domidOf(owner))} sees no ${rw ? 'writer' : 'reader'} of ${frameLabel(mfn)}`;
}

/** The same of an entry in force of an L1. */
export function foreignEntryFault(table: Mfn, i: number, mfn: Mfn, rw: boolean): Finding | undefined {
  const mapper = f.ownerOf(peek(f.ownerWord(table)));
  const owner = foreignOwner(mapper, mfn);
  if (owner === 0) return undefined;
  const m = domainById(mapper);
  if (m === 0 || peek(domain.dying(m)) !== DOMDYING_alive || mapsByRight(m, owner)) return undefined;
  if (covered(owner, mapper, mfn, rw) === COVERED) return undefined;
  const where = entryLabel(frameOf(table), entryAt(table, i));
  const text = `d${String(domidOf(owner))} sees no ${rw ? 'writer' : 'reader'} of ${frameLabel(mfn)}, yet ${where} maps it`;
  return finding('I12', text, [where]);
}

/** The grants whose bits are in word `a` of one of Xen's frames: called with the frame of each and its bits. */
export function grantsAt(a: number, mfn: Mfn, visit: (granted: Mfn, bits: number) => void): void {
  const owner = domainById(f.ownerOf(peek(f.ownerWord(mfn))));
  const gt = owner === 0 ? 0 : tableOf(owner);
  if (gt === 0) return;
  const v1 = peek(grantTable.version(gt)) === 1;
  const list = peek(v1 ? grantTable.sharedList(gt) : grantTable.statusList(gt));
  const frames = peek(v1 ? grantTable.nrGrantFrames(gt) : grantTable.nrStatusFrames(gt));
  const word = a - mfnWord(mfn);
  for (let i = 0; i < frames; i++) {
    if (peek(list + i) !== mfn) continue;
    const first = v1 ? i * GRANT_V1_PER_FRAME + (word >> 1) : i * GRANT_STATUS_PER_FRAME + 2 * word;
    for (let ref = first; ref < first + (v1 ? 1 : 2); ref++) {
      const act = activeOf(gt, ref);
      if (act === 0) continue;
      const granted = peek(active.mfn(act));
      // Frame 0 is I/O memory: an entry that was never used.
      if (granted > 0 && inMachine(granted)) visit(granted as Mfn, bitsOf(gt, v1, ref));
    }
  }
}
