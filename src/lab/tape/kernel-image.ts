/**
 * The domain builder's part of a running domain: special frames, kernel image, the page tables over them, as raw words.
 *
 * Invariant: only frames that nobody has typed or mapped yet are written directly; the tables become tables when a
 * kernel pins them through the gate.
 * Source: tapes FORMAT.md (special frames); xen/arch/x86/pv/dom0_build.c (what a builder lays out).
 */
import { HypervisorBug } from '../../abi/errors.js';
import { l1Index, l2Index, l3Index, l4Index, mfnWord, type Mfn } from '../../abi/frames.js';
import { entryLo, PAGE_GUEST_KERNEL_HI } from '../../abi/pte.js';
import { allocDomainFrame } from '../../hypervisor/allocation.js';
import type { DomainRef } from '../../hypervisor/domain.js';
import { vcpu } from '../../machine/cpu-record.js';
import { CONTROL, type Cpu } from '../../sync/actor.js';
import { poke } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { KERNEL_PAGES, KERNEL_TEXT, SCRATCH_VA } from './guest.js';
import { SPECIALS, specialName } from './names.js';
import type { TapeMachine } from './tape-machine.js';

const TABLE = 0x67;
const READ_ONLY = 0x25;
const KL2 = 'KL2';
const KL1 = 'KL1';

/** Pages of the image that are no special frames: two tables and the mapped pages. */
export const IMAGE_PAGES = KERNEL_PAGES.length + 2;

/** Gives the domain its frames and lays its tables; answers the L4. */
export function* buildKernel(m: TapeMachine, number: number, d: DomainRef): Steps<Mfn> {
  const at = new Map<string, Mfn>();
  for (const name of [...SPECIALS, KL2, KL1, ...KERNEL_PAGES]) {
    const mfn = yield* allocDomainFrame(CONTROL, d);
    if (mfn < 0) throw new HypervisorBug('no frame for the kernel of a tape');
    at.set(name, mfn);
  }
  const frame = (name: string): Mfn => at.get(name) ?? (0 as Mfn);
  for (const name of SPECIALS) m.symbols.define(specialName(number, name), frame(name));
  put(frame('CR3'), l4Index(SCRATCH_VA), frame('SL3'), TABLE);
  put(frame('SL3'), 0, frame('SL2'), TABLE);
  put(frame('SL2'), 0, frame('SL1'), TABLE);
  put(frame('CR3'), l4Index(KERNEL_TEXT), frame('KL3'), TABLE);
  put(frame('KL3'), l3Index(KERNEL_TEXT), frame(KL2), TABLE);
  put(frame(KL2), l2Index(KERNEL_TEXT), frame(KL1), TABLE);
  KERNEL_PAGES.forEach((name, i) => {
    put(frame(KL1), l1Index(KERNEL_TEXT) + i, frame(name), name === 'text' ? READ_ONLY : TABLE, PAGE_GUEST_KERNEL_HI);
  });
  return frame('CR3');
}

/** One entry of a table that is no table yet. */
function put(table: Mfn, index: number, mfn: Mfn, flags: number, hi = 0): void {
  poke(mfnWord(table) + 2 * index, entryLo(mfn, flags));
  poke(mfnWord(table) + 2 * index + 1, hi);
}

/** The vCPU's registers as its first instruction finds them: kernel mode, walking the new tables. */
export function setContext(cpu: Cpu, l4: Mfn): void {
  poke(vcpu.kernelMode(cpu), 1);
  poke(vcpu.cr3(cpu), l4 + 1);
}
