/**
 * Plain reads of a still machine: frames, tables, domains, vCPUs, as the checks see them.
 *
 * Invariant: no vCPU runs; every word is read with `peek`, nothing is written.
 */
import { mfnWord, type Mfn } from '../abi/frames.js';
import { ENTRIES, entryMfn, PAGE_PRESENT, ROOT_XEN_FIRST, ROOT_XEN_LAST } from '../abi/pte.js';
import { domain, domainSlot, domainSlots, vcpuCountOf, vcpuOf, type DomainRef } from '../hypervisor/domain.js';
import { vcpu } from '../machine/cpu-record.js';
import {
  countInfo,
  generationOf,
  NO_OWNER,
  ownerOf,
  ownerWord,
  PGC_allocated,
  PGC_count_mask,
  PGC_state,
  PGC_state_free,
  PGC_xen_heap,
  PGT_count_mask,
  PGT_partial,
  PGT_pinned,
  PGT_validated,
  stampWord,
  typeInfo,
  typeLevel,
  typeName,
} from '../machine/frame.js';
import { FRAMES } from '../machine/layout.js';
import type { Cpu } from '../sync/actor.js';
import { peek } from '../sync/primitives.js';

export interface Frame {
  readonly mfn: Mfn;
  readonly free: boolean;
  readonly refs: number;
  readonly allocated: boolean;
  readonly xenHeap: boolean;
  readonly typeCount: number;
  /** 0 none, 1 to 4 tables, 5 seg_desc, 6 shared, 7 writable. */
  readonly type: number;
  readonly pinned: boolean;
  readonly validated: boolean;
  readonly partial: boolean;
  readonly owner: number;
  readonly generation: number;
  readonly stamp: number;
}

export function frameOf(mfn: Mfn): Frame {
  const c = peek(countInfo(mfn));
  const t = peek(typeInfo(mfn));
  const o = peek(ownerWord(mfn));
  const free = (c & PGC_state) === PGC_state_free;
  return {
    mfn,
    free,
    refs: c & PGC_count_mask,
    allocated: (c & PGC_allocated) !== 0,
    xenHeap: (c & PGC_xen_heap) !== 0,
    typeCount: free ? 0 : t & PGT_count_mask,
    type: free ? 0 : typeLevel(t),
    pinned: !free && (t & PGT_pinned) !== 0,
    validated: !free && (t & PGT_validated) !== 0,
    partial: !free && (t & PGT_partial) !== 0,
    owner: ownerOf(o),
    generation: generationOf(o),
    stamp: peek(stampWord(mfn)),
  };
}

/** A table whose entries hold references: typed l1..l4, count above 0, validated. */
export const isLiveTable = (f: Frame): boolean => f.typeCount > 0 && f.validated && f.type >= 1 && f.type <= 4;

export const TYPE_WRITABLE = 7;
export const typeLabel = (type: number): string => typeName(type << 26);
export const frameLabel = (mfn: number): string => `mfn 0x${mfn.toString(16)}`;
export const ownerLabel = (owner: number): string =>
  owner === NO_OWNER ? 'nobody' : owner === 0x7ff2 ? 'xen' : owner === 0x7ff1 ? 'io' : `d${String(owner)}`;

export function eachFrame(visit: (f: Frame) => void): void {
  for (let m = 0; m < FRAMES; m++) visit(frameOf(m as Mfn));
}

export interface Entry {
  readonly index: number;
  readonly lo: number;
  readonly hi: number;
  /** INVALID_MFN for a frame beyond the machine. */
  readonly mfn: Mfn;
}

/** The present entries of a table that are its owner's (an L4's slots of Xen left out). */
export function presentEntries(table: Mfn, level: number): Entry[] {
  const out: Entry[] = [];
  const base = mfnWord(table);
  for (let i = 0; i < ENTRIES; i++) {
    if (level === 4 && i >= ROOT_XEN_FIRST && i <= ROOT_XEN_LAST) continue;
    const lo = peek(base + 2 * i);
    if ((lo & PAGE_PRESENT) === 0) continue;
    const hi = peek(base + 2 * i + 1);
    out.push({ index: i, lo, hi, mfn: entryMfn(lo, hi, FRAMES) });
  }
  return out;
}

/** Every domain that can still be found, zombies included. */
export function allDomains(): DomainRef[] {
  const out: DomainRef[] = [];
  for (let i = 0; i < domainSlots; i++) {
    const d = domainSlot(i);
    if (peek(domain.key(d)) !== 0) out.push(d);
  }
  return out;
}

export interface Processor {
  readonly cpu: Cpu;
  readonly domain: DomainRef;
  readonly domid: number;
  readonly vcpuId: number;
  readonly label: string;
}

export function allProcessors(): Processor[] {
  return allDomains().flatMap((d) =>
    Array.from({ length: vcpuCountOf(d) }, (_, i) => {
      const domid = peek(domain.domid(d));
      return { cpu: vcpuOf(d, i), domain: d, domid, vcpuId: i, label: `d${String(domid)}v${String(i)}` };
    }),
  );
}

/** A base pointer or table word that holds mfn + 1; -1 for none. */
export const heldMfn = (word: number): Mfn => (peek(word) - 1) as Mfn;
export const kernelBase = (cpu: Cpu): Mfn => heldMfn(vcpu.guestTable(cpu));
export const userBase = (cpu: Cpu): Mfn => heldMfn(vcpu.guestTableUser(cpu));
