/**
 * A small guest for tests of the processor: a machine, one domain, tables laid by hand, handlers that note what they saw.
 *
 * Kernel half at KERNEL: text, stack, data pages, and read-only aliases of its own tables. User half at USER, reached from
 * both roots. The L4s become tables when the vCPUs take them as bases, as a domain builder does it.
 */
import { makeVa, mfnWord, type Mfn, type Va } from '../../src/abi/frames.js';
import { entryLo } from '../../src/abi/pte.js';
import { newGuestCr3, newGuestUserBase } from '../../src/hypervisor/base.js';
import { buildDomain, hypervisorBoot, type BootOptions } from '../../src/hypervisor/boot.js';
import { vcpuOf, type DomainRef } from '../../src/hypervisor/domain.js';
import { ownerOf, ownerWord } from '../../src/machine/frame.js';
import { FRAMES } from '../../src/machine/layout.js';
import { words } from '../../src/ops/memory.js';
import { CONTROL, type Cpu } from '../../src/sync/actor.js';
import { peek, run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GuestCpu, GuestHandlers, Vcpu } from '../../src/vcpu/guest-cpu.js';
import { makeGuestCpu } from '../../src/vcpu/vcpu.js';

const KERNEL_L4 = 300;
/** Kernel pages by their index in the kernel's one L1. */
export const TEXT = 0;
export const STACK = 1;
export const DATA = 2;
export const DATA2 = 3;
export const ALIAS_L1 = 8;
export const ALIAS_L2 = 9;
export const HOLE = 20;
export const NX = 21;
const SECOND_STACK = 4;
const READ_ONLY_DATA = 5;
export const RO = READ_ONLY_DATA;
export const kernelVa = (page: number, offset = 0): Va => makeVa(KERNEL_L4, 0, 0, page, offset);
export const userVa = (page: number, offset = 0): Va => makeVa(0, 0, 0, page, offset);
export const stackTop = (vcpuNumber: number): Va => kernelVa(vcpuNumber === 0 ? STACK + 1 : SECOND_STACK + 1);

export interface Image {
  readonly d: DomainRef;
  readonly cpus: readonly Cpu[];
  readonly kernel: Mfn;
  readonly user: Mfn;
  readonly l1: Mfn;
  readonly l2: Mfn;
  readonly userL1: Mfn;
  /** Frames by kernel page. */
  readonly page: (n: number) => Mfn;
  readonly userPage: Mfn;
  /** Frames of the domain that nothing uses. */
  readonly spare: readonly Mfn[];
}

const RW = 0x67;
const RO_FLAGS = 0x65;
const KERNEL_RW = 0x63;
const KERNEL_RO = 0x61;
const NX_HI = 1 << 31;

const put = (table: Mfn, index: number, mfn: Mfn, flags: number, hi = 0): void => {
  words[mfnWord(table) + 2 * index] = entryLo(mfn, flags);
  words[mfnWord(table) + 2 * index + 1] = hi;
};

/** Boots, builds domain 1 with `vcpus` vCPUs on the image, all in kernel mode. */
export function bootGuest(vcpus = 1, options: BootOptions = {}): Image {
  hypervisorBoot(options);
  return run(function* () {
    const d = yield* buildDomain(CONTROL, { domid: 1, vcpus, pages: 40 });
    const image = layTables(d, vcpus);
    for (const cpu of image.cpus) {
      expectZero(yield* newGuestCr3(cpu, image.kernel, 0));
      expectZero(yield* newGuestUserBase(cpu, image.user, 0));
    }
    return image;
  });
}

function expectZero(rc: number): void {
  if (rc !== 0) throw new Error(`the image's tables are refused: ${String(rc)}`);
}

function layTables(d: DomainRef, vcpus: number): Image {
  const free: Mfn[] = [];
  for (let m = 1; m < FRAMES; m++) if (ownerOf(peek(ownerWord(m as Mfn))) === 1) free.push(m as Mfn);
  const take = (): Mfn => free.pop() as Mfn;
  const pages = Array.from({ length: 8 }, take);
  const page = (n: number): Mfn => pages[n] as Mfn;
  const [kernel, user, l3, l2, l1] = [take(), take(), take(), take(), take()];
  const [userL3, userL2, userL1, userPage] = [take(), take(), take(), take()];
  put(kernel, KERNEL_L4, l3, RW);
  put(l3, 0, l2, RW);
  put(l2, 0, l1, RW);
  put(l1, TEXT, page(TEXT), KERNEL_RO);
  for (const n of [STACK, DATA, DATA2, SECOND_STACK]) put(l1, n, page(n), KERNEL_RW);
  put(l1, RO, page(RO), KERNEL_RO);
  put(l1, ALIAS_L1, l1, KERNEL_RO);
  put(l1, ALIAS_L2, l2, KERNEL_RO);
  put(l1, NX, page(RO), KERNEL_RO, NX_HI);
  for (const root of [kernel, user]) put(root, 0, userL3, RW);
  put(userL3, 0, userL2, RW);
  put(userL2, 0, userL1, RW);
  put(userL1, 1, userPage, RW);
  put(userL1, 2, page(RO), RO_FLAGS);
  const cpus = Array.from({ length: vcpus }, (_, i) => vcpuOf(d, i));
  return { d, cpus, kernel, user, l1, l2, userL1, page, userPage, spare: free };
}

/** What handlers saw, in order; `onFault` decides what a page fault does (absent: gives up). */
export class Noted implements GuestHandlers {
  readonly log: string[] = [];
  onFault: (g: GuestCpu, va: Va, error: number) => Steps<boolean>;

  constructor() {
    this.onFault = function* () {
      return yield* no();
    };
  }

  *pageFault(g: GuestCpu, va: Va, error: number): Steps<boolean> {
    this.log.push(`fault ${where(va)} ${String(error)}${g.userMode() ? ' in user mode' : ''}`);
    return yield* this.onFault(g, va, error);
  }
  *generalProtection(_g: GuestCpu, error: number): Steps<void> {
    yield* note(this.log, `gp ${String(error)}`);
  }
  *event(g: GuestCpu): Steps<void> {
    yield* note(this.log, `event${g.eventsMasked() ? '' : ' unmasked'}`);
  }
  *ipi(): Steps<void> {
    yield* note(this.log, 'ipi');
  }
}

export function* no(): Steps<boolean> {
  yield* note([], '');
  return false;
}
export function* note(log: string[], line: string): Steps<void> {
  log.push(line);
  return yield* nothing();
}
export function* nothing(): Steps<void> {
  return;
}

const where = (va: Va): string => {
  const base = va >= kernelVa(0) ? kernelVa(0) : userVa(0);
  const name = va >= kernelVa(0) ? 'kernel' : 'user';
  return `${name} ${String(Math.floor((va - base) / 4096))}+${String((va - base) % 4096)}`;
};

/** The vCPU's processor, its kernel's stack and text installed. */
export function processor(image: Image, number: number, handlers: GuestHandlers): Vcpu {
  const g = makeGuestCpu(image.cpus[number] as Cpu, handlers);
  g.setKernel(stackTop(number), kernelVa(TEXT));
  return g;
}
