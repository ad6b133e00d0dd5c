/**
 * Power on: lays out the hypervisor's words, the heap, the machine-to-physical table and what guests see of it.
 *
 * Invariant: frame 0 is I/O memory, so that no table can be number 0; every frame has an owner, lies in the heap or in the hole below it.
 * Lock: none; one actor, the machine still.
 * Source: xen/arch/x86/setup.c, x86_64/mm.c (M2P, subarch_init_memory).
 * Differs: no superpages: the M2P is seen through ordinary tables below slot 256.
 */
import { DOMID_IO, DOMID_XEN, mfnWord, PAGE_WORDS, type Domid, type Mfn } from '../abi/frames.js';
import { ENTRIES, entryLo, PAGE_ACCESSED, PAGE_NX_HI, PAGE_PRESENT, PAGE_USER } from '../abi/pte.js';
import { HypervisorBug } from '../abi/errors.js';
import {
  countInfo,
  NO_OWNER,
  ownerWord,
  PGC_allocated,
  PGC_xen_heap,
  PGT_none,
  PGT_validated,
  stampWord,
  typeInfo,
} from '../machine/frame.js';
import { ARENA, ARENA_CHUNKS, FRAMES, TLBS } from '../machine/layout.js';
import { TOTAL_WORDS } from '../ops/memory.js';
import { arenaInit } from '../shm/arena.js';
import { CPUS_BASE, type Cpu } from '../sync/actor.js';
import { poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { allocDomainFrame } from './allocation.js';
import { domainCreate, type DomainConfig } from './create.js';
import { DOM_IO, DOM_XEN, domain, findDomain, type DomainRef } from './domain.js';
import { unpauseDomain } from './domctl.js';
import { globals } from './globals.js';
import { heapInit } from './heap.js';
import { M2P_FRAMES } from './m2p.js';
import { setTwin, type TwinName } from './twins.js';

export interface BootOptions {
  /** A debug hypervisor ([X24], [X61]). */
  readonly debug?: boolean;
  /** Preemption checks a hypercall may ask before one answers yes; 0 or absent: never by count. */
  readonly quantum?: number;
  /** The first frame that is memory; those below it are a hole that nobody ever owns. Absent: 1. */
  readonly firstFrame?: number;
  /** The hypervisor is to be wrong in this way (twins.ts). Absent or '': it is right. */
  readonly twin?: TwinName | '';
}

/** Starts the machine; what was in it before is gone (guest frames are zeroed when they are given out). */
export function hypervisorBoot(options: BootOptions): void {
  for (let a = TLBS; a < ARENA; a++) poke(a, 0);
  for (let a = CPUS_BASE; a < TOTAL_WORDS; a++) poke(a, 0);
  arenaInit(ARENA, ARENA_CHUNKS);
  poke(globals.arena, ARENA);
  poke(globals.arenaChunks, ARENA_CHUNKS);
  poke(globals.debug, options.debug === true ? 1 : 0);
  poke(globals.quantum, options.quantum ?? 0);
  setTwin(options.twin === '' ? undefined : options.twin);
  specialDomain(DOM_XEN, DOMID_XEN);
  specialDomain(DOM_IO, DOMID_IO);
  const end = layXenFrames();
  const first = options.firstFrame ?? 1;
  if (first >= end) throw new HypervisorBug(`no memory from frame ${String(first)} on`);
  for (let m = 1; m < first; m++) hole(m as Mfn);
  heapInit(first, end - 1);
}

/** A frame number behind which there is no memory for guests: no reference to it can ever be had. */
function hole(mfn: Mfn): void {
  poke(countInfo(mfn), 0);
  poke(typeInfo(mfn), PGT_none);
  poke(ownerWord(mfn), NO_OWNER);
  poke(stampWord(mfn), 0);
}

function specialDomain(d: DomainRef, domid: Domid): void {
  poke(domain.domid(d), domid);
  poke(domain.refcnt(d), 1);
}

/** Frame 0, and at the top the M2P with its tables; answers the first frame of the latter. */
function layXenFrames(): number {
  const tables = Math.ceil(M2P_FRAMES / ENTRIES);
  const m2p = FRAMES - M2P_FRAMES;
  const l1 = m2p - tables;
  const l2 = l1 - 1;
  const l3 = l2 - 1;
  if (l3 < 2) throw new HypervisorBug('memory too small for the machine-to-physical table');
  fixedFrame(0 as Mfn, DOMID_IO);
  for (let m = l3; m < FRAMES; m++) fixedFrame(m as Mfn, DOMID_XEN);
  for (let a = m2p * PAGE_WORDS; a < FRAMES * PAGE_WORDS; a++) poke(a, -1);
  putEntry(l3, 0, l2);
  for (let i = 0; i < tables; i++) putEntry(l2, i, l1 + i);
  for (let i = 0; i < M2P_FRAMES; i++) putEntry(l1 + Math.floor(i / ENTRIES), i % ENTRIES, m2p + i);
  poke(globals.m2pFirst, m2p);
  poke(globals.m2pFrames, M2P_FRAMES);
  poke(globals.xenL3, l3);
  return l3;
}

/** A zeroed frame that is Xen's, or I/O memory, for good. */
function fixedFrame(mfn: Mfn, owner: Domid): void {
  poke(countInfo(mfn), PGC_xen_heap | PGC_allocated | 1);
  poke(typeInfo(mfn), PGT_none | PGT_validated | 1);
  poke(ownerWord(mfn), owner);
  poke(stampWord(mfn), 0);
  for (let i = 0; i < PAGE_WORDS; i++) poke(mfnWord(mfn) + i, 0);
}

/** Read-only for guests, never executable. */
function putEntry(table: number, index: number, mfn: number): void {
  const slot = mfnWord(table as Mfn) + 2 * index;
  poke(slot, entryLo(mfn as Mfn, PAGE_PRESENT | PAGE_USER | PAGE_ACCESSED));
  poke(slot + 1, PAGE_NX_HI);
}

export interface BuildOptions extends DomainConfig {
  /** Frames to give it at once. */
  readonly pages?: number;
  /** Leave it paused by the control plane, as Xen creates it. */
  readonly paused?: boolean;
}

/** The control plane's way to a domain: created, filled, unpaused. A machine too small for it is a bug of the caller's. */
export function* buildDomain(cpu: Cpu, options: BuildOptions): Steps<DomainRef> {
  const rc = yield* domainCreate(cpu, options);
  const d = yield* findDomain(options.domid);
  if (rc !== 0 || d === 0) throw new HypervisorBug(`domain ${String(options.domid)} not created: ${String(rc)}`);
  for (let i = 0; i < (options.pages ?? 0); i++) {
    if ((yield* allocDomainFrame(cpu, d)) < 0) throw new HypervisorBug('not enough frames for the domain');
  }
  if (options.paused !== true) yield* unpauseDomain(cpu, d);
  return d;
}
