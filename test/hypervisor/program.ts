/**
 * Random programs of hypercalls over a small pool of frames, some more likely to be tables of a level than others.
 *
 * A program is a list of numbers' tuples, so that it can be generated, shrunk, replayed with another quantum, or dealt out
 * to several vCPUs.
 */
import fc from 'fast-check';
import { DOMID_SELF, type Mfn } from '../../src/abi/frames.js';
import * as nr from '../../src/abi/hypercall.js';
import * as mmu from '../../src/abi/mmu.js';
import * as mem from '../../src/abi/memory.js';
import { entry, pte, put, RO, RW, state, type Arg, type Dom } from './machine.js';

export type Step = readonly [kind: number, a: number, b: number, c: number];
export type Program = readonly Step[];

/** Frames of the pool by what they like to be: level 1 to 4, or data. */
const LEVELS = [1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 0, 0];
export const POOL = LEVELS.length;
const FLAGS = [RW, RO, 0x5, 0x7, 0x27, RW | 0x80, 0x3, 0];

const step = (): fc.Arbitrary<Step> =>
  fc.tuple(fc.integer({ min: 0, max: 19 }), fc.nat(POOL * 64 - 1), fc.nat(POOL * 64 - 1), fc.nat(FLAGS.length * 8 - 1));
export const program = (max: number): fc.Arbitrary<Program> =>
  fc.array(step(), { minLength: max >> 1, maxLength: max, size: 'max' });

const INDEX = [0, 1, 2, 255, 258, 272, 510, 511];

export class Pool {
  readonly frames: Mfn[];
  readonly dom: Dom;
  constructor(dom: Dom) {
    this.dom = dom;
    this.frames = dom.frames(POOL);
    LEVELS.forEach((level, i) => {
      this.#fill(this.at(i), level);
    });
  }
  /** A table begins with entries for every frame one level lower; an L4 maps the kernel's window, so it can be a base. */
  #fill(m: Mfn, level: number): void {
    if (level === 0) return;
    const lower = this.frames.filter((_, i) => LEVELS[i] === level - 1);
    lower.forEach((target, k) => {
      put(m, INDEX[k] as number, pte(target, level === 1 && k === 0 ? RO : RW));
    });
    if (level === 4) put(m, 272, pte(this.dom.l3, RW));
  }
  at(i: number): Mfn {
    return this.frames[i % POOL] as Mfn;
  }
  level(i: number): number {
    return LEVELS[i % POOL] as number;
  }
  /** A frame for an entry of a table that likes to be `level`: mostly one level lower, sometimes its own, or any. */
  target(level: number, r: number): Mfn {
    const wanted = r % 8 === 0 ? level : r % 8 === 1 ? LEVELS[r % POOL] : level <= 1 ? 0 : level - 1;
    const candidates = LEVELS.flatMap((l, i) => (l === wanted ? [i] : []));
    return this.at(candidates[(r >> 3) % candidates.length] ?? r);
  }
  /** What the pool looks like from outside: states and contents. */
  picture(): string[] {
    return this.frames.map((m) => {
      const used = INDEX.map((i) => entry(m, i)).map((e) => `${String(e.lo)}:${String(e.hi)}`);
      return `${state(m)} ${used.join(' ')}`;
    });
  }
}

interface Prepared {
  readonly op: number;
  readonly args: readonly Arg[];
}

/** Fills the domain's argument words for one step; answers what to call. */
export function prepare(p: Pool, [kind, a, b, c]: Step, foreign: number): Prepared {
  const { dom } = p;
  const mfn = p.at(a);
  const level = p.level(a);
  const value = pte(p.target(level, b), FLAGS[c % FLAGS.length] as number);
  if (kind < 8) {
    const second = { t: p.at(b), i: INDEX[(a >> 4) % INDEX.length] as number, v: pte(p.target(p.level(b), a), RO) };
    const reqs = [
      { t: mfn, i: INDEX[(b >> 3) % INDEX.length] as number, v: value, cmd: c % 16 === 15 ? 2 : 0 },
      second,
    ];
    const n = kind === 7 ? 2 : 1;
    dom.putUpdates(reqs.slice(0, n));
    return { op: nr.HYPERVISOR_mmu_update, args: [dom.at(16), n, dom.at(0), foreign] };
  }
  if (kind < 12) return mmuext(dom, [{ cmd: mmu.MMUEXT_PIN_L1_TABLE + ((level + 3) % 4), a1: mfn }], foreign);
  if (kind < 15) return mmuext(dom, [{ cmd: mmu.MMUEXT_UNPIN_TABLE, a1: mfn }], foreign);
  return rest(p, kind, mfn, value, a, b, foreign);
}

function mmuext(dom: Dom, ops: readonly { cmd: number; a1?: Arg; a2?: Arg }[], foreign: number): Prepared {
  dom.putMmuext(ops);
  return { op: nr.HYPERVISOR_mmuext_op, args: [dom.at(16), ops.length, dom.at(0), foreign] };
}

function rest(p: Pool, kind: number, mfn: Mfn, value: Arg, a: number, b: number, foreign: number): Prepared {
  const { dom } = p;
  switch (kind) {
    case 15:
    case 16: {
      const page = { lo: (8 + (a % 4)) << 12, hi: -30720 };
      return { op: nr.HYPERVISOR_update_va_mapping, args: [page, value, mmu.UVMF_INVLPG] };
    }
    case 17: {
      const ops = [
        { cmd: b % 2 === 0 ? mmu.MMUEXT_CLEAR_PAGE : mmu.MMUEXT_COPY_PAGE, a1: mfn, a2: p.at(b) },
        { cmd: mmu.MMUEXT_UNPIN_TABLE, a1: p.at(b) },
      ];
      return mmuext(dom, ops, foreign);
    }
    case 18: {
      const cmd = b % 3 === 0 ? mmu.MMUEXT_NEW_USER_BASEPTR : mmu.MMUEXT_NEW_BASEPTR;
      const l4 = b % 5 === 0 ? dom.l4 : p.at(8 + (a % 2));
      return mmuext(dom, [{ cmd, a1: cmd === mmu.MMUEXT_NEW_USER_BASEPTR && b % 4 === 0 ? 0 : l4 }], DOMID_SELF);
    }
    default:
      return decrease(dom, mfn);
  }
}

/** The frame is given back; its name then stands for nothing, or for what is still mapped. */
function decrease(dom: Dom, mfn: Mfn): Prepared {
  dom.wide(16, dom.at(32));
  dom.wide(18, 1);
  dom.word(20, 0);
  dom.word(21, 0);
  dom.wide(22, DOMID_SELF);
  dom.wide(32, mfn);
  return { op: nr.HYPERVISOR_memory_op, args: [mem.XENMEM_decrease_reservation, dom.at(16)] };
}

/** Runs one step; answers the hypercall's result and the number of parts done. */
export function perform(p: Pool, s: Step, foreign = DOMID_SELF as number): number {
  const { op, args } = prepare(p, s, foreign);
  return p.dom.call(op, ...args);
}
