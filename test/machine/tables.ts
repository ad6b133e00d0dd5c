/** Page tables by hand, over a still machine: a bump allocator of frames, and entries put where they belong. */
import { entryLo, PAGE_PRESENT, PAGE_RW, PAGE_USER } from '../../src/abi/pte.js';
import { l1Index, l2Index, l3Index, l4Index, mfnWord, type Mfn, type Va } from '../../src/abi/frames.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { tlbInit } from '../../src/machine/tlb.js';
import { words } from '../../src/ops/memory.js';
import { actor, CPU_WORDS, MODE_GUEST, type Cpu } from '../../src/sync/actor.js';

export const P = PAGE_PRESENT;
export const RW = PAGE_RW;
export const US = PAGE_USER;
export const FULL = P | RW | US;

const word = (a: number): number => words[a] as number;

export class Tables {
  #next: number;

  constructor(first = 8) {
    this.#next = first;
  }

  frame(): Mfn {
    const mfn = this.#next++ as Mfn;
    words.fill(0, mfnWord(mfn), mfnWord(mfn) + 1024);
    return mfn;
  }

  /** The slot of `va` at `level`; tables above are made as needed, with all rights. */
  slot(root: Mfn, va: Va, level = 1): number {
    let table = root;
    for (let l = 4; l > level; l--) {
      const at = mfnWord(table) + 2 * index(va, l);
      if ((word(at) & P) === 0) words[at] = entryLo(this.frame(), FULL);
      table = (word(at) >>> 12) as Mfn;
    }
    return mfnWord(table) + 2 * index(va, level);
  }

  map(root: Mfn, va: Va, mfn: Mfn, flags = FULL, hi = 0): number {
    const slot = this.slot(root, va);
    words[slot] = entryLo(mfn, flags);
    words[slot + 1] = hi;
    return slot;
  }

  /** Takes rights away (and, with `hi`, adds high bits) at one level of `va`'s path. */
  restrict(root: Mfn, va: Va, level: number, clear: number, hi = 0): void {
    const slot = this.slot(root, va, level);
    words[slot] = word(slot) & ~clear;
    words[slot + 1] = word(slot + 1) | hi;
  }
}

const index = (va: Va, level: number): number =>
  level === 4 ? l4Index(va) : level === 3 ? l3Index(va) : level === 2 ? l2Index(va) : l1Index(va);

/** A vCPU that runs guest code on `root` (and on `user` in user mode), with an empty TLB. */
export function runningOn(cpu: Cpu, root: Mfn, user: Mfn = root): void {
  words.fill(0, cpu, cpu + CPU_WORDS);
  words[vcpu.guestTable(cpu)] = root + 1;
  words[vcpu.guestTableUser(cpu)] = user + 1;
  words[vcpu.kernelMode(cpu)] = 1;
  words[vcpu.cr3(cpu)] = root + 1;
  words[actor.mode(cpu)] = MODE_GUEST;
  tlbInit(cpu);
}
