/**
 * The domain builder: gives a domain its frames, its p2m, its image, and an arena for its kernel's records.
 *
 * Invariant: only frames that nobody has typed or mapped yet are written; the tables become tables when the guest's
 * kernel pins them through the gate. Every pfn below `populated` has a frame, and M2P and p2m agree.
 * Lock: none but those of the allocator; the machine is still.
 * Source: xen/arch/x86/pv/dom0_build.c.
 */
import { LabError } from '../../abi/errors.js';
import { mfnWord, type Mfn, type Pfn } from '../../abi/frames.js';
import { allocDomainFrame } from '../../hypervisor/allocation.js';
import { buildDomain } from '../../hypervisor/boot.js';
import { vcpuOf, type DomainRef } from '../../hypervisor/domain.js';
import { unpauseDomain } from '../../hypervisor/domctl.js';
import { sharedInfoMfn } from '../../hypervisor/event-port.js';
import { globals } from '../../hypervisor/globals.js';
import { vcpu } from '../../machine/cpu-record.js';
import { arenaAlloc, arenaInit, CHUNK } from '../../shm/arena.js';
import { CONTROL, type Cpu } from '../../sync/actor.js';
import { peek, poke } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';

export interface GuestOptions {
  readonly domid: number;
  readonly privileged: boolean;
  readonly vcpus: number;
  /** pfns with a frame, and pfns in all. */
  readonly populated: number;
  readonly maxPfn: number;
  /** Chunks of the arena for the kernel's records. */
  readonly arenaChunks: number;
  readonly maxGrantFrames: number;
  readonly maxMaptrackFrames: number;
  /** pfn of the L4 that every vCPU starts on. */
  readonly l4: Pfn;
  /** Lays the image: `frame` says what frame a pfn has, `put` stores an entry of the table in `table`. */
  readonly lay: (frame: (pfn: Pfn) => Mfn, put: (table: Mfn, index: number, lo: number, hi: number) => void) => void;
}

export interface BuiltGuest {
  readonly domain: DomainRef;
  readonly vcpus: readonly Cpu[];
  /** The kernel's arena, p2m array, and the frame of the shared-info page. */
  readonly arena: number;
  readonly p2m: number;
  readonly sharedInfo: Mfn;
}

const P2M_NONE = -1;
/** M2P entries are 64 bits. */
const M2P_ENTRY_WORDS = 2;

/** A domain that can be started; a machine too small for it is a LabError. */
export function* buildGuest(o: GuestOptions): Steps<BuiltGuest> {
  const { domid, privileged, vcpus, maxGrantFrames, maxMaptrackFrames } = o;
  const d = yield* buildDomain(CONTROL, { domid, privileged, vcpus, maxGrantFrames, maxMaptrackFrames, paused: true });
  const arena = yield* chunks(o.arenaChunks, `the kernel records of domain ${String(domid)}`);
  const p2m = yield* chunks(Math.ceil(o.maxPfn / CHUNK), `the p2m of domain ${String(domid)}`);
  arenaInit(arena, o.arenaChunks);
  for (let pfn = 0; pfn < o.maxPfn; pfn++) poke(p2m + pfn, P2M_NONE);
  for (let pfn = 0; pfn < o.populated; pfn++) yield* populate(d, p2m, pfn, domid);
  const frame = (pfn: Pfn): Mfn => peek(p2m + pfn) as Mfn;
  o.lay(frame, putEntry);
  const cpus = Array.from({ length: vcpus }, (_, i) => vcpuOf(d, i));
  for (const cpu of cpus) {
    poke(vcpu.kernelMode(cpu), 1);
    poke(vcpu.cr3(cpu), frame(o.l4) + 1);
  }
  yield* unpauseDomain(CONTROL, d);
  return { domain: d, vcpus: cpus, arena, p2m, sharedInfo: sharedInfoMfn(d) };
}

/** Room for `words` words beside every domain, for the life of the machine. */
export function* reserveArena(words: number): Steps<number> {
  return yield* chunks(Math.ceil(words / CHUNK), 'what domains share');
}

function* chunks(n: number, what: string): Steps<number> {
  const a = yield* arenaAlloc(CONTROL, peek(globals.arena), n);
  if (a === 0) throw noRoom(what);
  return a;
}

function* populate(d: DomainRef, p2m: number, pfn: number, domid: number): Steps<void> {
  const mfn = yield* allocDomainFrame(CONTROL, d);
  if (mfn < 0) throw noRoom(`the memory of domain ${String(domid)}`);
  poke(p2m + pfn, mfn);
  const m2p = mfnWord(peek(globals.m2pFirst) as Mfn) + mfn * M2P_ENTRY_WORDS;
  poke(m2p, pfn);
  poke(m2p + 1, 0);
}

function putEntry(table: Mfn, index: number, lo: number, hi: number): void {
  poke(mfnWord(table) + 2 * index, lo);
  poke(mfnWord(table) + 2 * index + 1, hi);
}

export const noRoom = (what: string): LabError =>
  new LabError('MACHINE_TOO_SMALL', `the machine has no room for ${what}`, { hint: "raise 'memory'" });
