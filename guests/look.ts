/**
 * I15 and I16 after every step of an explored execution, on the words that the step wrote.
 *
 * I15 holds of a table whenever the vCPU that last put it out of step is at rest at a store: it holds no lock and no batch
 * of its is under way, for Pinned, alias and type change one after the other under the locks of `pin.ts` and `tables.ts` ([X68],
 * [X71]). Tables kept for a grant that would not go are their worker's, who holds no lock: left to the end. I16 holds of a
 * PTE page whenever its PTE lock is free, until the page has left its tree.
 * Invariant: the same findings at the same steps as a look at all tables after every step, which a test demands; reads only.
 * Lock: none; called between two steps, when nothing runs.
 * Source: reference xen-pv-memory.md, section 6.
 */
import { mfnWord, PAGE_WORDS, type Mfn, type Pfn } from '../src/abi/frames.js';
import type { GuestLook, MachineView, OutOfStep, Violation } from '../src/abi/guest.js';
import { ENTRIES, PAGE_PRESENT, PAGE_RW } from '../src/abi/pte.js';
import { actor, cpuAt, MAX_CPUS, type Cpu } from '../src/sync/actor.js';
import { peek } from '../src/sync/primitives.js';
import { POINT_UNLOCK, POINT_WRITE } from '../src/sync/schedule.js';
import type { SlotPlace, TeardownDesign } from './designs/design.js';
import { slotFault } from './designs/slot-check.js';
import { percpuOf } from './kernel/boot.js';
import { aliasFault, found } from './kernel/check.js';
import { image } from './kernel/domain-image.js';
import { PFN_NONE } from './kernel/layout.js';
import { mm, type Mm } from './kernel/mm.js';
import { P2M_FOREIGN, p2mEntry } from './kernel/p2m.js';
import { page, pageOf, PG_level1, PG_pinned, PG_quarantined, PG_table, type Page } from './kernel/page.js';
import { kernel, percpu, type Kernel, type Percpu } from './kernel/records.js';

/** The domain's own frame of a page. */
const frameOf = (k: Kernel, pfn: Pfn): Mfn => (p2mEntry(k, pfn) & ~P2M_FOREIGN) as Mfn;

/** What the direct map shows of the page; its L1s are the image's. */
function aliasOf(k: Kernel, pfn: Pfn): number {
  const l1 = frameOf(k, (image.firstL1 + (pfn >>> 9)) as Pfn);
  const lo = peek(mfnWord(l1) + 2 * (pfn & (ENTRIES - 1)));
  return (lo & PAGE_PRESENT) === 0 ? 0 : lo;
}

/** I15 of one table page as it is now; undefined: nothing is wrong, or it is no such page. */
export function tableFault(k: Kernel, pfn: Pfn, view: MachineView): Violation | undefined {
  const flags = peek(page.flags(pageOf(k, pfn)));
  if ((flags & PG_table) === 0 || (flags & PG_quarantined) !== 0) return undefined;
  const wrong = aliasFault(k, pfn, aliasOf(k, pfn));
  if (wrong !== undefined || (flags & PG_pinned) === 0 || view.typed(frameOf(k, pfn))) return wrong;
  return found(k, 'I15', `table pfn ${String(pfn)} is pinned, and Xen has it as no table`);
}

/** The same as yes or no: a table is out of step for a while in every protocol. */
function isOut(k: Kernel, pfn: Pfn, view: MachineView): boolean {
  const flags = peek(page.flags(pageOf(k, pfn)));
  if ((flags & PG_table) === 0 || (flags & PG_quarantined) !== 0) return false;
  const lo = aliasOf(k, pfn);
  const pinned = (flags & PG_pinned) !== 0;
  return lo === 0 || pinned !== ((lo & PAGE_RW) === 0) || (pinned && !view.typed(frameOf(k, pfn)));
}

/** The slots behind a PTE page that is in a tree; PFN_NONE: none. */
export function slotsBehind(k: Kernel, pfn: Pfn, place: SlotPlace): Pfn {
  const p = pageOf(k, pfn);
  const isL1 = PG_table | PG_level1;
  if ((peek(page.flags(p)) & isL1) !== isL1 || peek(page.refcount(p)) === 0) return PFN_NONE;
  return peek(place.field(p)) as Pfn;
}

/** Whether nobody holds the lock that guards the entries of the L1 `pfn`. */
export function pteLockFree(k: Kernel, pfn: Pfn, design: TeardownDesign): boolean {
  const p = pageOf(k, pfn);
  const split = peek(kernel.splitPtl(k)) !== 0 && !design.oneLock;
  return peek(split ? page.ptl(p) : mm.pteLock(peek(page.mapping(p)) as Mm)) === 0;
}

/** The words of that vCPU in its kernel; 0: it is none of the kernel's. */
function percpuOfActor(k: Kernel, cpu: Cpu): Percpu {
  for (let id = 0; id < peek(kernel.nrVcpus(k)); id++) {
    if (peek(kernel.actors(k) + id) === cpu) return percpuOf(k, id);
  }
  return 0 as Percpu;
}

/** The vCPU is in the middle of nothing: no lock of its kernel's, no batch of calls. */
const atRest = (cpu: Cpu, pc: Percpu): boolean =>
  peek(actor.heldCount(cpu)) === 0 && (pc === 0 || (peek(percpu.masked(pc)) === 0 && peek(percpu.mcEntries(pc)) === 0));

/** What is out of step in one kernel, by a look at every page; slots only where the lock is free. */
function everything(k: Kernel, design: TeardownDesign, view: MachineView): OutOfStep[] {
  const out: OutOfStep[] = [];
  for (let n = 1; n < peek(kernel.maxPfn(k)); n++) {
    const pfn = n as Pfn;
    const wrong = tableFault(k, pfn, view);
    const mfn = frameOf(k, pfn);
    if (wrong !== undefined)
      out.push({ violation: wrong, mfn, excused: (index) => !atRest(cpuAt(index), percpuOfActor(k, cpuAt(index))) });
    const s = design.slots === undefined ? PFN_NONE : slotsBehind(k, pfn, design.slots);
    if (design.slots === undefined || s === PFN_NONE || !pteLockFree(k, pfn, design)) continue;
    const { layout } = design.slots;
    const slots = Array.from({ length: ENTRIES }, (_, i) => slotFault(k, layout, pfn, s, i) ?? []).flat();
    out.push(...slots.map((violation) => ({ violation, mfn, excused: () => false })));
  }
  return out;
}

/** What a frame is to the kernel that has it. */
const DIRECT = 1;
const TABLE = 2;
const SLOTTED = 4;
const SLOTS = 8;
const SECOND = 16;
/** Of a table: as far as was seen, Xen has it as one. */
const TYPED = 32;

const STRIDE = page.words;
const FLAGS = page.flags(0 as Page);
const ALL = -1;
const EVERY: readonly number[] = Object.freeze(Array.from({ length: ENTRIES }, (_, i) => i));
/** Words of a frame's record, as a shift. */
const RECORD_BITS = 2;

/** Slots by word, of two pages. */
function slotsByWord({ layout }: SlotPlace): Int16Array {
  const out = new Int16Array(2 * PAGE_WORDS).fill(-1);
  for (let i = 0; i < ENTRIES; i++) out[layout.handleWord(i)] = i;
  return out;
}

class Look implements GuestLook {
  readonly #kernels: readonly Kernel[];
  readonly #design: TeardownDesign;
  readonly #view: MachineView;
  /** By frame: what it is, to which kernel, and its pfn; of slots, that of their table. */
  readonly #role: Uint8Array;
  readonly #owner: Uint8Array;
  readonly #pfn: Int32Array;
  readonly #first: readonly [Uint8Array, Uint8Array, Int32Array];
  #touched: Mfn[] = [];
  /** Where struct pages of each kernel begin, and their words. */
  readonly #pages: Int32Array;
  readonly #pageWords: Int32Array;
  readonly #slotAt: Int16Array;
  readonly #field: number;
  /** Tables out of step, by frame: the actor that put them so; how many of each actor's. */
  readonly #open = new Map<Mfn, number>();
  readonly #opened = new Int32Array(MAX_CPUS);
  /** Slots to look at when the lock of their PTE page is free, by its frame. */
  readonly #moved = new Map<Mfn, number[]>();
  /** The step under way moved a slot or an entry, or let a lock go. */
  #isMoved = false;
  /** The words of each actor in its kernel. */
  readonly #percpus = new Int32Array(MAX_CPUS);
  readonly #frameTable: number;
  readonly #arena: number;

  constructor(kernels: readonly Kernel[], design: TeardownDesign, view: MachineView) {
    this.#kernels = kernels;
    this.#design = design;
    this.#view = view;
    this.#frameTable = view.frameTable;
    this.#arena = view.arena;
    for (let i = 0; i < MAX_CPUS; i++) {
      for (const k of kernels) this.#percpus[i]! |= percpuOfActor(k, cpuAt(i));
    }
    this.#role = new Uint8Array(view.frames);
    this.#owner = new Uint8Array(view.frames);
    this.#pfn = new Int32Array(view.frames);
    this.#pages = Int32Array.from(kernels, (k) => peek(kernel.pages(k)));
    this.#pageWords = Int32Array.from(kernels, (k) => peek(kernel.maxPfn(k)) * STRIDE);
    const { slots } = design;
    this.#slotAt = slots === undefined ? new Int16Array(0) : slotsByWord(slots);
    this.#field = slots === undefined ? -1 : slots.field(0 as Page);
    for (const [n, k] of kernels.entries()) {
      for (let pfn = 1; pfn < peek(kernel.maxPfn(k)); pfn++) this.#learn(n, pfn as Pfn);
      for (let pfn = 0; pfn < peek(kernel.maxPfn(k)); pfn += ENTRIES) {
        this.#role[frameOf(k, (image.firstL1 + pfn / ENTRIES) as Pfn)]! |= DIRECT;
      }
    }
    this.#first = [this.#role.slice(), this.#owner.slice(), this.#pfn.slice()];
    this.#touched = [];
  }

  reset(): void {
    const [role, owner, pfn] = this.#first;
    for (const m of this.#touched) {
      this.#role[m] = role[m]!;
      this.#owner[m] = owner[m]!;
      this.#pfn[m] = pfn[m]!;
    }
    if (this.#touched.length !== 0) this.#touched = [];
    if (this.#open.size !== 0) this.#open.clear();
    if (this.#moved.size !== 0) this.#moved.clear();
    this.#opened.fill(0);
  }

  step(index: number, a: number, kind: number, words: number): Violation | undefined {
    if ((kind & POINT_WRITE) === 0) return undefined;
    this.#isMoved = (kind & POINT_UNLOCK) !== 0;
    this.#wrote(index, a, words);
    let wrong: Violation | undefined;
    if (this.#opened[index] !== 0 && atRest(cpuAt(index), this.#percpus[index] as Percpu)) wrong = this.#close(index);
    return this.#isMoved && wrong === undefined && this.#moved.size !== 0 ? this.#unlocked() : wrong;
  }

  recount(): readonly OutOfStep[] {
    return this.#kernels.flatMap((k) => everything(k, this.#design, this.#view));
  }

  #wrote(index: number, a: number, words: number): void {
    if (a < this.#frameTable) {
      const m = (a >>> 10) as Mfn;
      if ((this.#role[m]! & (DIRECT | SLOTTED | SLOTS)) !== 0) this.#stored(index, m, a & (PAGE_WORDS - 1), words);
    } else if (a >= this.#arena) {
      for (let n = 0; n < this.#pages.length; n++) {
        const at = a - this.#pages[n]!;
        if (at >= 0 && at < this.#pageWords[n]!) this.#record(index, n, at, words);
      }
    } else this.#retyped(index, a, words);
  }

  /** Words of a frame that means something: entries of the direct map, entries or slots of a PTE page. */
  #stored(index: number, m: Mfn, first: number, words: number): void {
    const role = this.#role[m]!;
    const end = Math.min(first + words, PAGE_WORDS);
    if ((role & DIRECT) !== 0) {
      const k = this.#kernels[this.#owner[m]!]!;
      const shown = (this.#pfn[m]! - image.firstL1) * ENTRIES;
      for (let i = first >> 1; 2 * i < end; i++) {
        const pfn = shown + i;
        if (pfn < peek(kernel.maxPfn(k))) this.#examine(index, k, pfn as Pfn);
      }
    }
    if ((role & SLOTTED) !== 0) for (let i = first >> 1; 2 * i < end; i++) this.#move(m, i);
    if ((role & SLOTS) === 0) return;
    const k = this.#kernels[this.#owner[m]!]!;
    const table = frameOf(k, this.#pfn[m]! as Pfn);
    const base = (role & SECOND) === 0 ? 0 : PAGE_WORDS;
    for (let w = first; w < end; w++) if (this.#slotAt[base + w]! >= 0) this.#move(table, this.#slotAt[base + w]!);
  }

  /** Words of struct pages. */
  #record(index: number, n: number, at: number, words: number): void {
    const k = this.#kernels[n]!;
    const last = Math.min(at + words, this.#pageWords[n]!);
    for (let w = at; w < last; w++) {
      const offset = w % STRIDE;
      if (offset !== FLAGS && offset !== this.#field) continue;
      const pfn = ((w - offset) / STRIDE) as Pfn;
      this.#learn(n, pfn);
      if (offset === FLAGS) this.#examine(index, k, pfn);
    }
  }

  /** Records of frames: a table's type. */
  #retyped(index: number, a: number, words: number): void {
    const end = (a + words - 1 - this.#frameTable) >>> RECORD_BITS;
    for (let m = (a - this.#frameTable) >>> RECORD_BITS; m <= end && m < this.#role.length; m++) {
      const role = this.#role[m]!;
      if ((role & TABLE) === 0 || this.#view.typed(m as Mfn) === ((role & TYPED) !== 0)) continue;
      this.#set(m as Mfn, role, this.#owner[m]!, this.#pfn[m]!);
      this.#examine(index, this.#kernels[this.#owner[m]!]!, this.#pfn[m]! as Pfn);
    }
  }

  #set(m: Mfn, role: number, n: number, pfn: number): void {
    this.#touched.push(m);
    const typed = (role & TABLE) !== 0 && this.#view.typed(m) ? TYPED : 0;
    this.#role[m] = (this.#role[m]! & DIRECT) | (role & ~TYPED) | typed;
    this.#owner[m] = n;
    this.#pfn[m] = pfn;
  }

  /** What the page is now, and what stands behind it. */
  #learn(n: number, pfn: Pfn): void {
    const k = this.#kernels[n]!;
    const m = frameOf(k, pfn);
    if (m < 0 || m >= this.#view.frames) return;
    const was = this.#role[m]!;
    const table = (peek(page.flags(pageOf(k, pfn))) & PG_table) !== 0;
    const { slots } = this.#design;
    const s = slots === undefined || !table ? PFN_NONE : slotsBehind(k, pfn, slots);
    if ((was & SLOTTED) !== 0 && s === PFN_NONE) this.#forget(n, pfn);
    const role = (table ? TABLE : 0) | (s === PFN_NONE ? 0 : SLOTTED);
    // A page of slots that is no table itself stays what it is.
    if (role === 0 && (was & (TABLE | SLOTTED)) === 0) return;
    this.#set(m, role, n, pfn);
    if (s === PFN_NONE) return;
    this.#set(frameOf(k, s), SLOTS, n, pfn);
    const second = peek(page.private(pageOf(k, s))) as Pfn;
    if (second !== PFN_NONE) this.#set(frameOf(k, second), SLOTS | SECOND, n, pfn);
    this.#move(m, ALL);
  }

  /** The slots behind `table` are no slots any more. */
  #forget(n: number, table: Pfn): void {
    for (let m = 0; m < this.#role.length; m++) {
      if ((this.#role[m]! & SLOTS) !== 0 && this.#owner[m] === n && this.#pfn[m] === table)
        this.#set(m as Mfn, 0, n, 0);
    }
  }

  /** Is the table out of step, and since whom? */
  #examine(index: number, k: Kernel, pfn: Pfn): void {
    const m = frameOf(k, pfn);
    const by = this.#open.get(m);
    if (isOut(k, pfn, this.#view)) {
      if (by !== undefined) return;
      this.#open.set(m, index);
      this.#opened[index]! += 1;
    } else if (by !== undefined) {
      this.#open.delete(m);
      this.#opened[by]! -= 1;
    }
  }

  #move(table: Mfn, i: number): void {
    this.#isMoved = true;
    const known = this.#moved.get(table);
    if (known === undefined) this.#moved.set(table, [i]);
    else if (!known.includes(i)) known.push(i);
  }

  /** Tables that this actor put out of step and left so. */
  #close(index: number): Violation | undefined {
    for (const [m, by] of this.#open) {
      const k = this.#kernels[this.#owner[m]!]!;
      if (by !== index) continue;
      if (this.#view.lives(peek(kernel.domid(k)))) return tableFault(k, this.#pfn[m]! as Pfn, this.#view);
      this.#open.delete(m);
      this.#opened[index]! -= 1;
    }
    return undefined;
  }

  /** Slots that moved, of PTE pages whose lock is free now. */
  #unlocked(): Violation | undefined {
    const { slots } = this.#design;
    if (slots === undefined) return undefined;
    for (const [m, moved] of this.#moved) {
      const k = this.#kernels[this.#owner[m]!]!;
      const pfn = this.#pfn[m]! as Pfn;
      const s = slotsBehind(k, pfn, slots);
      if (s !== PFN_NONE && !pteLockFree(k, pfn, this.#design)) continue;
      this.#moved.delete(m);
      if (s === PFN_NONE || !this.#view.lives(peek(kernel.domid(k)))) continue;
      for (const i of moved.includes(ALL) ? EVERY : moved) {
        const wrong = slotFault(k, slots.layout, pfn, s, i);
        if (wrong !== undefined) return wrong;
      }
    }
    return undefined;
  }
}

/** Step checks of the kernels' own invariants, for a machine that is at its start now and whenever `reset` is called. */
export const makeLook = (kernels: readonly Kernel[], design: TeardownDesign, view: MachineView): GuestLook =>
  new Look(kernels, design, view);
