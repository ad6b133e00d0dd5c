/**
 * The kernel of a tape's running domain: as small as a kernel can be, it makes hypercalls and touches memory.
 *
 * Invariant: everything goes through the GuestCpu: argument structures are stored into a page mapped in the kernel's own
 * tree, results are loaded from it, other frames are reached through a private window.
 * Source: tapes FORMAT.md (initial state, poke, peek); DESIGN decisions 2 and 6.
 */
import { HypervisorBug, LabError } from '../../abi/errors.js';
import { canonicalVa, makeVa, vaHi, vaLo, type Va } from '../../abi/frames.js';
import { HYPERVISOR_update_va_mapping, HYPERVISOR_update_va_mapping_otherdomain } from '../../abi/hypercall.js';
import { UVMF_INVLPG } from '../../abi/mmu.js';
import { hi64 } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import type { GuestHandlers, Vcpu } from '../../vcpu/guest-cpu.js';
import { fromInteger, hex64, type Word64 } from './value.js';

/** VA 0 of the tapes: slot 320 of the L4. */
export const SCRATCH_VA = makeVa(320);
/** Pages of the kernel's image, in the order of its one L1; those without a frame are windows. */
export const KERNEL_PAGES = ['text', 'stack', 'args0', 'args1', 'template', 'list'] as const;
const WINDOW = 8;
const OWN_GRANTS = 9;
const PROBE = 10;
const ARG_WORDS = 2048;

/** Where the kernel lives: slot 511 of the L4, slot 510 of KL3. */
export const KERNEL_L4_SLOT = 511;
export const KERNEL_L3_SLOT = 510;
const page = (i: number): Va => makeVa(KERNEL_L4_SLOT, KERNEL_L3_SLOT, 0, i);
export const KERNEL_TEXT = page(0);
/** Top of the stack page. */
export const KERNEL_STACK_TOP = page(2);
const ARGS = page(2);
/** Two pages for long lists: one to copy from, one that hypercalls write to. */
export const TEMPLATE_VA = page(4);
export const LIST_VA = page(5);
export const WINDOW_VA = page(WINDOW);
export const OWN_GRANTS_VA = page(OWN_GRANTS);
export const PROBE_VA = page(PROBE);

/** A page fault as the kernel's handler saw it. */
export interface Fault {
  va: Va;
  error: number;
}

/** A register's value: an address, a small number, or two words. */
export type Arg = number | Word64;
export const vaArg = (va: Va): Word64 => ({ lo: vaLo(va), hi: vaHi(va) });

export class TapeGuest {
  readonly name: string;
  readonly domid: number;
  readonly g: Vcpu;
  /** Version of its own grant table, as a kernel remembers it. */
  grantVersion = 1;
  readonly #fault: Fault;

  constructor(name: string, domid: number, g: Vcpu, fault: Fault) {
    this.name = name;
    this.domid = domid;
    this.g = g;
    this.#fault = fault;
  }

  /** Word `i` of the argument area. */
  *put(i: number, value: number): Steps<void> {
    if (i >= ARG_WORDS) throw new HypervisorBug('a tape operation with more arguments than the argument pages hold');
    yield* this.g.store32((ARGS + 4 * i) as Va, value);
  }
  *put64(i: number, value: Word64): Steps<void> {
    yield* this.put(i, value.lo);
    yield* this.put(i + 1, value.hi);
  }
  *get(i: number): Steps<number> {
    return yield* this.g.load32((ARGS + 4 * i) as Va);
  }
  *get64(i: number): Steps<Word64> {
    return { lo: yield* this.get(i), hi: yield* this.get(i + 1) };
  }
  /** Fills `n` words from `i` on with zeroes. */
  *clear(i: number, n: number): Steps<void> {
    for (let k = 0; k < n; k++) yield* this.put(i + k, 0);
  }
  /** Address of word `i` of the argument area, as a register's value. */
  pointer(i: number): Word64 {
    return vaArg((ARGS + 4 * i) as Va);
  }

  /** Makes a hypercall; answers rax, which is a small number or a negative errno. */
  *call(nr: number, ...args: Arg[]): Steps<number> {
    args.forEach((a, i) => {
      const w = typeof a === 'number' ? fromInteger(a) : a;
      this.g.arg(i, w.lo, w.hi);
    });
    return yield* this.g.hypercall(nr);
  }

  /** The 64-bit word at `va`, or undefined when the access faulted. */
  *load(va: Va): Steps<Word64 | undefined> {
    const lo = yield* this.g.load(va);
    const hi = hi64();
    return this.g.faulted() ? undefined : { lo, hi };
  }
  /** Stores a 64-bit word; false when the access faulted. */
  *store(va: Va, value: Word64): Steps<boolean> {
    yield* this.g.store(va, value.lo, value.hi);
    return !this.g.faulted();
  }
  /** The last page fault that the handler saw. */
  lastFault(): Readonly<Fault> {
    return this.#fault;
  }

  /** Maps or unmaps a page of the kernel's own windows; `dom` undefined: a frame of its own. */
  *map(va: Va, entry: Word64, dom?: number): Steps<number> {
    if (dom === undefined) return yield* this.call(HYPERVISOR_update_va_mapping, vaArg(va), entry, UVMF_INVLPG);
    return yield* this.call(HYPERVISOR_update_va_mapping_otherdomain, vaArg(va), entry, UVMF_INVLPG, dom);
  }
  *unmap(va: Va): Steps<void> {
    const rc = yield* this.map(va, { lo: 0, hi: 0 });
    if (rc !== 0) throw new HypervisorBug(`${this.name} could not empty its window: ${String(rc)}`);
  }
}

/** Handlers of such a kernel: a page fault is noted and given up; nothing else ever comes. */
export function kernelHandlers(fault: Fault): GuestHandlers {
  return {
    *pageFault(_g, va, error): Steps<boolean> {
      fault.va = va;
      fault.error = error;
      return yield* giveUp();
    },
    *generalProtection(_g, error): Steps<void> {
      yield* giveUp();
      throw new HypervisorBug(`a release hypervisor injected #GP(${String(error)})`);
    },
    *event(): Steps<void> {
      yield* giveUp();
    },
    *ipi(): Steps<void> {
      yield* giveUp();
    },
  };
}

/** The exception table has an entry for every access of this kernel. */
function* giveUp(): Steps<false> {
  return false;
}

/** A tape's address as the processor translates it. */
export function toVa(w: Word64): Va {
  const va = canonicalVa(w.lo, w.hi);
  if (va === -1) throw new LabError('TAPE_ADDRESS', `address ${hex64(w.lo, w.hi)} is not canonical`);
  return va;
}
