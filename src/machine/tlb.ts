/**
 * The TLB of one vCPU: direct-mapped slots in the shared memory, refreshed by nothing but a flush.
 *
 * Invariant: a slot whose key is neither the vCPU's local nor its global key is dead; a live slot says what the tables
 * said when it was filled, however they changed since (DESIGN decision 5). A slot filled by a read of a clean page has
 * no write tag: the first write walks again and sets D. An entry that is no longer true may be dropped by choice.
 * Lock: none; only the owner writes its slots. The auditor reads them over a still machine.
 * Source: DESIGN decision 5, reference performance.md 2.1, 3; [X13]; xen/arch/x86/pv/domain.c (_toggle_guest_pt:
 * global entries, which are user pages ([X25]), survive a mode switch, the kernel's do not).
 */
import type { Mfn, Va } from '../abi/frames.js';
import { PFEC_user_mode } from '../abi/trap.js';
import { cpuIndex, header, type Cpu } from '../sync/actor.js';
import { CHOICE } from '../sync/choices.js';
import { BUILD, fill, peek, peekDouble, poke, pokeDouble, stOnce } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { chosen } from './choice.js';
import { tick } from './clock.js';
import { vcpu } from './cpu-record.js';
import { walkFill } from './kernels/index.js';
import { FRAME_TABLE, FRAMES, tlbOf, TLB_SLOT_WORDS, TLB_WORDS } from './layout.js';
import {
  BASE,
  dropSlot,
  fillSlot,
  FLAGS,
  KEY,
  MAX_KEY,
  PAGE_OFFSET,
  slotIsLive,
  slotIsWritable,
  slotMfn,
  slotOf,
  slotOwner,
  slotPage,
  slotRoot,
  W_TAG,
} from './tlb-slot.js';
import { ACCESS_EXEC, ACCESS_WRITE, walk, walkAtOnce, WALK_GLOBAL, WALK_MFN, WALK_NX, WALK_WRITE } from './walk.js';

export { ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE } from './walk.js';

const TWO32 = 4294967296;
const build: string = BUILD;
const THREADS = build !== 'controlled';

/**
 * Whether the TLB at `tlb` (= `tlbOf`) has what a read at `va` needs: then its word is `tlbWord`. No schedule point.
 * `offset` is what of `va` lies within the page; given without the bits that an aligned access has zero, one that is not
 * aligned finds nothing.
 */
export function tlbReads(cpu: Cpu, tlb: number, va: Va, offset: number): boolean {
  const slot = slotOf(tlb, va);
  const tag = peekDouble(slot);
  const page = va - offset;
  if (tag !== page + peekDouble(vcpu.tlbKey(cpu)) && tag !== page + peekDouble(vcpu.tlbGlobalKey(cpu))) return false;
  return THREADS || !isDisplaced(cpu, slot, va, 0);
}

/** The same for a write. */
export function tlbWrites(cpu: Cpu, tlb: number, va: Va, offset: number): boolean {
  const slot = slotOf(tlb, va);
  const tag = peekDouble(slot | W_TAG);
  const page = va - offset;
  if (tag !== page + peekDouble(vcpu.tlbKey(cpu)) && tag !== page + peekDouble(vcpu.tlbGlobalKey(cpu))) return false;
  return THREADS || !isDisplaced(cpu, slot, va, WALK_WRITE);
}

/** The word at `offset` of the page of `va`, of which the TLB at `tlb` has just said that it has it. */
export const tlbWord = (tlb: number, va: Va, offset: number): number => peek(slotOf(tlb, va) | BASE) | (offset >> 2);

/**
 * A processor may drop an entry at any time: a schedule says whether this one is gone. Asked only where that matters, that
 * is, where the tables say something else than the entry by now.
 */
function isDisplaced(cpu: Cpu, slot: number, va: Va, rights: number): boolean {
  if ((peek(header.choices) & (1 << CHOICE['tlb.evict'])) === 0) return false;
  const now = walkAtOnce((peek(vcpu.cr3(cpu)) - 1) as Mfn, va);
  if (now >= 0 && ((now ^ peek(slot | FLAGS)) & WALK_MFN) === 0 && (now & rights) === rights) return false;
  if (!chosen(cpu, CHOICE['tlb.evict'])) return false;
  dropSlot(slot);
  return true;
}

/**
 * Translates `va` for `access`; answers the address of its word (the one that holds the byte), or -1 with the fault's
 * address and error code in vcpu.cr2 and vcpu.errorCode. The mode in vcpu.kernelMode gives the user bit.
 */
export function* translate(cpu: Cpu, va: Va, access: number): Steps<number> {
  const tlb = tlbOf(cpuIndex(cpu));
  const offset = va & PAGE_OFFSET;
  const hit =
    (access & ACCESS_WRITE) !== 0
      ? tlbWrites(cpu, tlb, va, offset)
      : tlbReads(cpu, tlb, va, offset) &&
        ((access & ACCESS_EXEC) === 0 || (peek(slotOf(tlb, va) | FLAGS) & WALK_NX) === 0);
  if (hit) return tlbWord(tlb, va, offset);
  const w = tlbFill(cpu, tlb, va, access);
  return w >= 0 ? w : yield* tlbMiss(cpu, tlb, va, access);
}

/** The miss path of `translate` in short, for threads: walks from vcpu.cr3 and fills the slot; -1: take `tlbMiss`. */
export function tlbFill(cpu: Cpu, tlb: number, va: Va, access: number): number {
  if (!THREADS) return -1;
  return walkFill(va, peek(vcpu.cr3(cpu)) - 1, slotOf(tlb, va), vcpu.tlbKey(cpu), access, FRAME_TABLE, FRAMES);
}

/** The miss path of `translate`: walks from vcpu.cr3 and fills the slot. */
export function* tlbMiss(cpu: Cpu, tlb: number, va: Va, access: number): Steps<number> {
  const root = (peek(vcpu.cr3(cpu)) - 1) as Mfn;
  const got = root < 0 ? ~access : yield* walk(root, va, access);
  return got < 0 ? refuse(cpu, va, ~got) : fillSlot(vcpu.tlbKey(cpu), slotOf(tlb, va), va, got, root);
}

function refuse(cpu: Cpu, va: Va, error: number): number {
  poke(vcpu.cr2Lo(cpu), va | 0);
  poke(vcpu.cr2Hi(cpu), (va / TWO32) | 0);
  poke(vcpu.errorCode(cpu), error | (peek(vcpu.kernelMode(cpu)) === 0 ? PFEC_user_mode : 0));
  return -1;
}

/** Empties the TLB and starts its keys; for a vCPU that is being made (or a machine that is still). */
export function tlbInit(cpu: Cpu): void {
  const tlb = tlbOf(cpuIndex(cpu));
  for (let i = 0; i < TLB_WORDS; i++) poke(tlb + i, 0);
  poke(vcpu.tlbGeneration(cpu), 2);
  pokeDouble(vcpu.tlbKey(cpu), KEY);
  pokeDouble(vcpu.tlbGlobalKey(cpu), 2 * KEY);
}

/** Lets every entry die that is not global: what loading cr3 does when a mode switch does it. No clock tick. */
export function* tlbDropLocal(cpu: Cpu): Steps<void> {
  const next = peek(vcpu.tlbGeneration(cpu)) + 1;
  if (next > MAX_KEY) return yield* tlbRestart(cpu);
  poke(vcpu.tlbGeneration(cpu), next);
  pokeDouble(vcpu.tlbKey(cpu), next * KEY);
}

/** Lets every entry die. No clock tick. */
function* tlbDropAll(cpu: Cpu): Steps<void> {
  const next = peek(vcpu.tlbGeneration(cpu)) + 2;
  if (next > MAX_KEY) return yield* tlbRestart(cpu);
  poke(vcpu.tlbGeneration(cpu), next);
  pokeDouble(vcpu.tlbKey(cpu), (next - 1) * KEY);
  pokeDouble(vcpu.tlbGlobalKey(cpu), next * KEY);
}

/** The keys ran out: empties the slots and begins anew. */
function* tlbRestart(cpu: Cpu): Steps<void> {
  yield* fill(tlbOf(cpuIndex(cpu)), TLB_WORDS);
  poke(vcpu.tlbGeneration(cpu), 2);
  pokeDouble(vcpu.tlbKey(cpu), KEY);
  pokeDouble(vcpu.tlbGlobalKey(cpu), 2 * KEY);
}

/** Flushes this vCPU's TLB: ticks the clock, drops all entries, then publishes the time. */
export function* tlbFlushLocal(cpu: Cpu): Steps<void> {
  const t = yield* tick();
  yield* tlbDropAll(cpu);
  yield* stOnce(vcpu.flushTime(cpu), t); // raced on purpose: other CPUs read it to filter their requests
}

/** Drops the entry for the page of `va`, global or not. No clock tick. */
export function invlpgLocal(cpu: Cpu, va: Va): void {
  const slot = slotOf(tlbOf(cpuIndex(cpu)), va);
  if (slotPage(slot) === va - (va & PAGE_OFFSET)) dropSlot(slot);
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
    if (!slotIsLive(cpu, slot)) continue;
    out.push({
      va: slotPage(slot),
      mfn: slotMfn(slot),
      writable: slotIsWritable(slot),
      global: (peek(slot | FLAGS) & WALK_GLOBAL) !== 0,
      root: slotRoot(slot),
      ownerWord: slotOwner(slot),
    });
  }
  return out;
}
