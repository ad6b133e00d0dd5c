/**
 * A machine for tests of the hypervisor: domains with the smallest kernel there is, whose hypercalls are made by filling
 * registers and argument words directly. Frames are looked at without the code under test.
 */
import { entryLo, entryMfn, PAGE_NX_HI } from '../../src/abi/pte.js';
import { DOMID_SELF, l1Index, makeVa, mfnWord, vaHi, vaLo, type Mfn, type Va } from '../../src/abi/frames.js';
import * as nr from '../../src/abi/hypercall.js';
import * as mmu from '../../src/abi/mmu.js';
import { allocDomainFrame } from '../../src/hypervisor/allocation.js';
import { newGuestCr3 } from '../../src/hypervisor/base.js';
import { buildDomain, hypervisorBoot, type BootOptions, type BuildOptions } from '../../src/hypervisor/boot.js';
import { vcpuOf, type DomainRef } from '../../src/hypervisor/domain.js';
import { hypercall } from '../../src/hypervisor/gate.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import {
  countInfo,
  ownerOf,
  ownerWord,
  PGC_count_mask,
  PGT_count_mask,
  PGT_pinned,
  typeInfo,
  typeName,
} from '../../src/machine/frame.js';
import { FRAMES } from '../../src/machine/layout.js';
import { actor, CONTROL, MODE_BLOCKED, type Cpu } from '../../src/sync/actor.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';

/** A 64-bit value as two words; plain numbers stand for small ones. */
export interface Wide {
  readonly lo: number;
  readonly hi: number;
}
export type Arg = number | Wide;
const wide = (a: Arg): Wide => (typeof a === 'number' ? { lo: a | 0, hi: a < 0 ? -1 : 0 } : a);
export const va64 = (va: Va): Wide => ({ lo: vaLo(va), hi: vaHi(va) });

/** An entry: frame and flags; `hi` carries bits 52 to 63. */
export const pte = (mfn: number, flags: number, hi = 0): Wide => ({ lo: entryLo(mfn as Mfn, flags), hi });
/** A frame number that no machine has. */
export const BAD_MFN: Wide = { lo: 0xffff0000 | 0, hi: 0xf };

export const RW = 0x67;
export const RO = 0x25;
/** Kernel window: slot 272 is the first of a guest above Xen's; pages 0 and 1 are arguments, 8 and up are free. */
const KERNEL_SLOT = 272;
export const windowVa = (page: number): Va => makeVa(KERNEL_SLOT, 0, 0, page);
const ARG_WORDS = 2048;

export class Dom {
  readonly d: DomainRef;
  readonly cpu: Cpu;
  readonly domid: number;
  /** Its tables: l4, l3, l2, l1 of the window, and two pages of arguments. */
  readonly l4: Mfn;
  readonly l3: Mfn;
  readonly l2: Mfn;
  readonly l1: Mfn;
  readonly #args: Mfn[];

  constructor(d: DomainRef, domid: number) {
    this.d = d;
    this.domid = domid;
    this.cpu = vcpuOf(d, 0);
    [this.l4, this.l3, this.l2, this.l1, ...this.#args] = this.frames(6) as [Mfn, Mfn, Mfn, Mfn, Mfn, Mfn];
    put(this.l4, KERNEL_SLOT, pte(this.l3, RW));
    put(this.l3, 0, pte(this.l2, RW));
    put(this.l2, 0, pte(this.l1, RW));
    this.#args.forEach((m, i) => {
      put(this.l1, i, pte(m, RW, PAGE_NX_HI));
    });
    const rc = run(() => newGuestCr3(this.cpu, this.l4, 0));
    if (rc !== 0) throw new Error(`no base: ${String(rc)}`);
  }

  /** `n` fresh frames of this domain. */
  frames(n: number): Mfn[] {
    return Array.from({ length: n }, () => {
      const mfn = run(() => allocDomainFrame(CONTROL, this.d));
      if (mfn < 0) throw new Error('out of frames');
      return mfn;
    });
  }

  /** Sets argument word `i`. */
  word(i: number, v: number): void {
    if (i >= ARG_WORDS) throw new Error('too many argument words');
    poke(this.wordAt(i), v);
  }
  wordAt(i: number): number {
    return mfnWord(this.#args[i >> 10] as Mfn) + (i & 1023);
  }
  wide(i: number, v: Arg): void {
    const w = wide(v);
    this.word(i, w.lo);
    this.word(i + 1, w.hi);
  }
  /** Pointer to argument word `i`. */
  at(i: number): Wide {
    return va64((windowVa(0) + 4 * i) as Va);
  }

  /** Puts a hypercall into the registers. */
  load(op: number, ...args: Arg[]): void {
    poke(vcpu.rax(this.cpu), op);
    for (let i = 0; i < 6; i++) {
      const w = wide(args[i] ?? 0);
      poke(vcpu.argLo(this.cpu, i), w.lo);
      poke(vcpu.argHi(this.cpu, i), w.hi);
    }
  }
  /** Makes a hypercall; answers rax. */
  call(op: number, ...args: Arg[]): number {
    this.load(op, ...args);
    const { cpu } = this;
    run(() => gateUntilDone(cpu));
    return peek(vcpu.raxLo(cpu));
  }

  /** mmuext operations {cmd, a1, a2}; answers [rc, done]. */
  mmuext(ops: readonly { cmd: number; a1?: Arg; a2?: Arg }[], dom = DOMID_SELF as number): [number, number] {
    this.putMmuext(ops);
    const rc = this.call(nr.HYPERVISOR_mmuext_op, this.at(16), ops.length, this.at(0), dom);
    return [rc, peek(this.wordAt(0))];
  }
  putMmuext(ops: readonly { cmd: number; a1?: Arg; a2?: Arg }[]): void {
    this.word(0, 0);
    ops.forEach((o, i) => {
      const base = 16 + i * mmu.MMUEXT_OP_WORDS;
      this.wide(base, o.cmd);
      this.wide(base + mmu.MMUEXT_ARG1, o.a1 ?? 0);
      this.wide(base + mmu.MMUEXT_ARG2, o.a2 ?? 0);
    });
  }
  pin(level: number, mfn: Arg, dom = DOMID_SELF as number): number {
    return this.mmuext([{ cmd: mmu.MMUEXT_PIN_L1_TABLE + level - 1, a1: mfn }], dom)[0];
  }
  unpin(mfn: Arg, dom = DOMID_SELF as number): number {
    return this.mmuext([{ cmd: mmu.MMUEXT_UNPIN_TABLE, a1: mfn }], dom)[0];
  }

  /** mmu_update requests {table, index, value, command}; answers [rc, done]. */
  update(
    reqs: readonly { t: Arg; i?: number; v: Arg; cmd?: number }[],
    dom = DOMID_SELF as number,
    ptdom?: number,
  ): [number, number] {
    this.putUpdates(reqs);
    const foreign = dom | (ptdom === undefined ? 0 : (ptdom + 1) << 16);
    const rc = this.call(nr.HYPERVISOR_mmu_update, this.at(16), reqs.length, this.at(0), foreign);
    return [rc, peek(this.wordAt(0))];
  }
  putUpdates(reqs: readonly { t: Arg; i?: number; v: Arg; cmd?: number }[]): void {
    this.word(0, 0);
    reqs.forEach((r, k) => {
      const t = wide(r.t);
      const low = ((r.i ?? 0) << 3) | (r.cmd ?? 0);
      this.wide(16 + 4 * k, { lo: (t.lo << 12) | low, hi: (t.lo >>> 20) | (t.hi << 12) });
      this.wide(18 + 4 * k, r.v);
    });
  }
  /** One normal update of entry `i` of table `t`. */
  set(t: Arg, i: number, v: Arg): number {
    return this.update([{ t, i, v }])[0];
  }

  /** update_va_mapping of a page of the window. */
  map(page: number, v: Arg, flags: Arg = mmu.UVMF_INVLPG): number {
    return this.call(nr.HYPERVISOR_update_va_mapping, va64(windowVa(page)), v, flags);
  }
  mapForeign(page: number, v: Arg, dom: number): number {
    return this.call(nr.HYPERVISOR_update_va_mapping_otherdomain, va64(windowVa(page)), v, mmu.UVMF_INVLPG, dom);
  }
  /** The window's L1 entry of a page. */
  slot(page: number): Wide {
    return entry(this.l1, l1Index(windowVa(page)));
  }
}

function* gateUntilDone(cpu: Cpu): Steps<void> {
  while (!(yield* hypercall(cpu)));
  poke(actor.mode(cpu), MODE_BLOCKED);
}

/** Boots and builds d0 (privileged) and, by number, unprivileged domains. */
export function machine(options: BootOptions, others: readonly BuildOptions[] = []): Dom[] {
  hypervisorBoot(options);
  const all: BuildOptions[] = [{ domid: 0, privileged: true }, ...others];
  return all.map((o) => {
    const d = run(() => buildDomain(CONTROL, { maxGrantFrames: 1, maxMaptrackFrames: 1, ...o }));
    return new Dom(d, o.domid);
  });
}
/** d0 alone. */
export const single = (options: BootOptions = {}): Dom => machine(options)[0] as Dom;
/** d0 and d1. */
export const pair = (options: BootOptions = {}): [Dom, Dom] => machine(options, [{ domid: 1 }]) as [Dom, Dom];

/** Raw entry `i` of a frame. */
export function entry(table: Mfn, i: number): Wide {
  return { lo: peek(mfnWord(table) + 2 * i), hi: peek(mfnWord(table) + 2 * i + 1) };
}
/** Raw store: only into frames that nobody uses yet. */
export function put(table: Mfn, i: number, v: Arg): void {
  const w = wide(v);
  poke(mfnWord(table) + 2 * i, w.lo);
  poke(mfnWord(table) + 2 * i + 1, w.hi);
}
export const frameOf = (w: Wide): number => entryMfn(w.lo, w.hi, FRAMES);

export const refs = (mfn: Mfn): number => peek(countInfo(mfn)) & PGC_count_mask;
export const typeCount = (mfn: Mfn): number => peek(typeInfo(mfn)) & PGT_count_mask;
export const typeOf = (mfn: Mfn): string => (typeCount(mfn) === 0 ? 'none' : typeName(peek(typeInfo(mfn))));
export const pinned = (mfn: Mfn): boolean => (peek(typeInfo(mfn)) & PGT_pinned) !== 0;
export const owner = (mfn: Mfn): number => ownerOf(peek(ownerWord(mfn)));
/** References, type and type count, pin: what a failed operation must leave alone. */
export const state = (mfn: Mfn): string =>
  `ref ${String(refs(mfn))} ${typeOf(mfn)} ${String(typeCount(mfn))}${pinned(mfn) ? ' pinned' : ''}`;
