/**
 * The TLB of one vCPU: direct-mapped slots in the shared memory, refreshed by nothing but a flush.
 *
 * Invariant: a slot whose key is neither the vCPU's local nor its global key is dead; a live slot says what the tables
 * said when it was filled, however they changed since (DESIGN decision 5). A slot filled by a read of a clean page has
 * no write tag: the first write walks again and sets D. An entry that is no longer true may be dropped by choice.
 * Lock: none; only the owner writes its slots. The auditor reads them over a still machine.
 * Source: DESIGN decision 5, reference performance.md 2.1, 3; [X13]; xen/arch/x86/pv/domain.c (_toggle_guest_pt:
 * global entries, which are user pages ([X25]), survive a mode switch, the kernel's do not).
 *
 * Slot: read tag (2 words), write tag (2), word of the frame's start, WALK_* answer, base it was walked from + 1, owner word of
 * the frame at the fill: another one later means that the frame changed hands under the translation.
 * Tag: va[31:12] | 1, then va[47:32] | key << 16. A slot is replaced only by another address with the same va[19:12].
 */
import { mfnWord, type Mfn, type Va } from '../abi/frames.js';
import { PFEC_user_mode } from '../abi/trap.js';
import { cpuIndex, header, type Cpu } from '../sync/actor.js';
import { CHOICE } from '../sync/choices.js';
import { BUILD, fill, peek, poke, stOnce } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { chosen } from './choice.js';
import { tick } from './clock.js';
import { vcpu } from './cpu-record.js';
import { ownerWord } from './frame.js';
import { tlbOf, TLB_SLOT_WORDS, TLB_SLOTS, TLB_WORDS } from './layout.js';
import { ACCESS_EXEC, ACCESS_WRITE, walk, walkAtOnce, WALK_GLOBAL, WALK_MFN, WALK_NX, WALK_WRITE } from './walk.js';

export { ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE } from './walk.js';

/** Words of a slot, for the auditor's checks after a step. */
export const TLB_W_TAG = 2;
const W_TAG = TLB_W_TAG;
const BASE = 4;
export const TLB_FLAGS = 5;
const FLAGS = TLB_FLAGS;
const ROOT = 6;
export const TLB_OWNER = 7;
const OWNER = TLB_OWNER;
const INDEX_MASK = (TLB_SLOTS - 1) * TLB_SLOT_WORDS;
const TWO32 = 4294967296;
const MAX_KEY = 0xfffe;
const build: string = BUILD;
const THREADS = build !== 'controlled';

const slotOf = (tlb: number, lo: number): number => tlb + ((lo >>> 9) & INDEX_MASK);

/** The word that a read at `va` finds through the TLB at `tlb` (= `tlbOf`), or -1: not cached. No schedule point. */
export function tlbRead(cpu: Cpu, tlb: number, va: Va): number {
  const lo = va | 0;
  const slot = slotOf(tlb, lo);
  const key = peek(slot + 1) ^ ((va / TWO32) | 0);
  if (peek(slot) !== ((lo & -4096) | 1)) return -1;
  if (key !== peek(vcpu.tlbKey(cpu)) && key !== peek(vcpu.tlbGlobalKey(cpu))) return -1;
  if (!THREADS && isDisplaced(cpu, slot, va, 0)) return -1;
  return peek(slot + BASE) + ((lo & 4095) >> 2);
}

/** The same for a write. */
export function tlbWrite(cpu: Cpu, tlb: number, va: Va): number {
  const lo = va | 0;
  const slot = slotOf(tlb, lo);
  const key = peek(slot + W_TAG + 1) ^ ((va / TWO32) | 0);
  if (peek(slot + W_TAG) !== ((lo & -4096) | 1)) return -1;
  if (key !== peek(vcpu.tlbKey(cpu)) && key !== peek(vcpu.tlbGlobalKey(cpu))) return -1;
  if (!THREADS && isDisplaced(cpu, slot, va, WALK_WRITE)) return -1;
  return peek(slot + BASE) + ((lo & 4095) >> 2);
}

/**
 * A processor may drop an entry at any time: a schedule says whether this one is gone. Asked only where that matters, that
 * is, where the tables say something else than the entry by now.
 */
function isDisplaced(cpu: Cpu, slot: number, va: Va, rights: number): boolean {
  if ((peek(header.choices) & (1 << CHOICE['tlb.evict'])) === 0) return false;
  const now = walkAtOnce((peek(vcpu.cr3(cpu)) - 1) as Mfn, va);
  if (now >= 0 && ((now ^ peek(slot + FLAGS)) & WALK_MFN) === 0 && (now & rights) === rights) return false;
  if (!chosen(cpu, CHOICE['tlb.evict'])) return false;
  poke(slot, 0);
  poke(slot + W_TAG, 0);
  return true;
}

/**
 * Translates `va` for `access`; answers the address of its word (the one that holds the byte), or -1 with the fault's
 * address and error code in vcpu.cr2 and vcpu.errorCode. The mode in vcpu.kernelMode gives the user bit.
 */
export function* translate(cpu: Cpu, va: Va, access: number): Steps<number> {
  const tlb = tlbOf(cpuIndex(cpu));
  if ((access & ACCESS_EXEC) === 0) {
    const hit = (access & ACCESS_WRITE) !== 0 ? tlbWrite(cpu, tlb, va) : tlbRead(cpu, tlb, va);
    if (hit >= 0) return hit;
  } else {
    const hit = tlbRead(cpu, tlb, va);
    if (hit >= 0 && (peek(slotOf(tlb, va | 0) + FLAGS) & WALK_NX) === 0) return hit;
  }
  return yield* tlbMiss(cpu, tlb, va, access);
}

/** The miss path of `translate`: walks from vcpu.cr3 and fills the slot. */
export function* tlbMiss(cpu: Cpu, tlb: number, va: Va, access: number): Steps<number> {
  const root = (peek(vcpu.cr3(cpu)) - 1) as Mfn;
  let got = THREADS && root >= 0 ? walkAtOnce(root, va) : -1;
  if (got < 0 || notNow(got, access)) got = root < 0 ? ~access : yield* walk(root, va, access);
  return got < 0 ? refuse(cpu, va, ~got) : fillSlot(cpu, tlb, va, got, root);
}

/** What the short walk found is not enough: D is to be set, or the access to be refused. */
const notNow = (got: number, access: number): boolean =>
  ((access & ACCESS_WRITE) !== 0 && (got & WALK_WRITE) === 0) ||
  ((access & ACCESS_EXEC) !== 0 && (got & WALK_NX) !== 0);

function refuse(cpu: Cpu, va: Va, error: number): number {
  poke(vcpu.cr2Lo(cpu), va | 0);
  poke(vcpu.cr2Hi(cpu), (va / TWO32) | 0);
  poke(vcpu.errorCode(cpu), error | (peek(vcpu.kernelMode(cpu)) === 0 ? PFEC_user_mode : 0));
  return -1;
}

function fillSlot(cpu: Cpu, tlb: number, va: Va, got: number, root: Mfn): number {
  const lo = va | 0;
  const slot = slotOf(tlb, lo);
  const key = peek((got & WALK_GLOBAL) !== 0 ? vcpu.tlbGlobalKey(cpu) : vcpu.tlbKey(cpu));
  const tagLo = (lo & -4096) | 1;
  const tagHi = ((va / TWO32) | 0) ^ key;
  const base = mfnWord((got & WALK_MFN) as Mfn);
  poke(slot, tagLo);
  poke(slot + 1, tagHi);
  poke(slot + W_TAG, (got & WALK_WRITE) !== 0 ? tagLo : 0);
  poke(slot + W_TAG + 1, tagHi);
  poke(slot + BASE, base);
  poke(slot + FLAGS, got);
  poke(slot + ROOT, root + 1);
  poke(slot + OWNER, peek(ownerWord((got & WALK_MFN) as Mfn)));
  return base + ((lo & 4095) >> 2);
}

/** Empties the TLB and starts its keys; for a vCPU that is being made (or a machine that is still). */
export function tlbInit(cpu: Cpu): void {
  const tlb = tlbOf(cpuIndex(cpu));
  for (let i = 0; i < TLB_WORDS; i++) poke(tlb + i, 0);
  poke(vcpu.tlbGeneration(cpu), 2);
  poke(vcpu.tlbKey(cpu), 1 << 16);
  poke(vcpu.tlbGlobalKey(cpu), 2 << 16);
}

/** Lets every entry die that is not global: what loading cr3 does when a mode switch does it. No clock tick. */
export function* tlbDropLocal(cpu: Cpu): Steps<void> {
  const next = peek(vcpu.tlbGeneration(cpu)) + 1;
  if (next > MAX_KEY) return yield* tlbRestart(cpu);
  poke(vcpu.tlbGeneration(cpu), next);
  poke(vcpu.tlbKey(cpu), next << 16);
}

/** Lets every entry die. No clock tick. */
function* tlbDropAll(cpu: Cpu): Steps<void> {
  const next = peek(vcpu.tlbGeneration(cpu)) + 2;
  if (next > MAX_KEY) return yield* tlbRestart(cpu);
  poke(vcpu.tlbGeneration(cpu), next);
  poke(vcpu.tlbKey(cpu), (next - 1) << 16);
  poke(vcpu.tlbGlobalKey(cpu), next << 16);
}

/** The keys ran out: empties the slots and begins anew. */
function* tlbRestart(cpu: Cpu): Steps<void> {
  yield* fill(tlbOf(cpuIndex(cpu)), TLB_WORDS);
  poke(vcpu.tlbGeneration(cpu), 2);
  poke(vcpu.tlbKey(cpu), 1 << 16);
  poke(vcpu.tlbGlobalKey(cpu), 2 << 16);
}

/** Flushes this vCPU's TLB: ticks the clock, drops all entries, then publishes the time. */
export function* tlbFlushLocal(cpu: Cpu): Steps<void> {
  const t = yield* tick();
  yield* tlbDropAll(cpu);
  yield* stOnce(vcpu.flushTime(cpu), t); // raced on purpose: other CPUs read it to filter their requests
}

/** Drops the entry for the page of `va`, global or not. No clock tick. */
export function invlpgLocal(cpu: Cpu, va: Va): void {
  const lo = va | 0;
  const slot = slotOf(tlbOf(cpuIndex(cpu)), lo);
  if (peek(slot) !== ((lo & -4096) | 1) || (peek(slot + 1) & 0xffff) !== ((va / TWO32) | 0)) return;
  poke(slot, 0);
  poke(slot + W_TAG, 0);
}

/** One live translation, for the auditor. */
export interface TlbEntry {
  readonly va: Va;
  readonly mfn: Mfn;
  /** A write would go through without another walk. */
  readonly writable: boolean;
  readonly global: boolean;
  /** The L4 it was walked from. */
  readonly root: Mfn;
  /** Owner and generation of the frame when the entry was filled (frame.ts, word 2). */
  readonly ownerWord: number;
}

/** The live entries of a vCPU over a still machine; a TLB with a flush request pending counts as what it still holds. */
export function tlbEntries(cpu: Cpu): TlbEntry[] {
  const out: TlbEntry[] = [];
  const tlb = tlbOf(cpuIndex(cpu));
  for (let slot = tlb; slot < tlb + TLB_WORDS; slot += TLB_SLOT_WORDS) {
    const key = peek(slot + 1) & ~0xffff;
    if (peek(slot) === 0 || (key !== peek(vcpu.tlbKey(cpu)) && key !== peek(vcpu.tlbGlobalKey(cpu)))) continue;
    const flags = peek(slot + FLAGS);
    out.push({
      va: ((peek(slot + 1) & 0xffff) * TWO32 + ((peek(slot) & -4096) >>> 0)) as Va,
      mfn: (flags & WALK_MFN) as Mfn,
      writable: peek(slot + W_TAG) !== 0,
      global: (flags & WALK_GLOBAL) !== 0,
      root: (peek(slot + ROOT) - 1) as Mfn,
      ownerWord: peek(slot + OWNER),
    });
  }
  return out;
}
