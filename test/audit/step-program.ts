/**
 * Random lives of vCPUs for tests of the checks after a step: a granter of one vCPU, a mapper of two, which map, unmap, store
 * through what they mapped, change entries, pin, unpin and balloon frames; and a vandal, which stores nonsense.
 */
import { DOMID_SELF, mfnWord, type Mfn } from '../../src/abi/frames.js';
import * as gnt from '../../src/abi/grant.js';
import { HYPERVISOR_memory_op, HYPERVISOR_mmu_update, HYPERVISOR_mmuext_op } from '../../src/abi/hypercall.js';
import { XENMEM_decrease_reservation } from '../../src/abi/memory.js';
import * as mmu from '../../src/abi/mmu.js';
import { entryLo } from '../../src/abi/pte.js';
import * as f from '../../src/machine/frame.js';
import { CONTROL, type Cpu } from '../../src/sync/actor.js';
import { ldOnce, stOnce } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { boot, grant, makeDom, slotVa, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { entryWord } from '../hypervisor/grant/tables.js';
import { life, type Body } from '../hypervisor/grant/walks.js';

export interface Cast {
  readonly granter: Dom;
  readonly mapper: Dom;
}
export const REF = 8;
/** Slots 4 to 7: pages 0 to 3 share TLB slots with the arguments. */
const SLOTS = 4;
const FIRST_SLOT = 4;
const RW = 0x67;
const RO = 0x65;

export function build(quantum = 0): Cast {
  boot({ quantum });
  const granter = makeDom({ domid: 1, frames: 4 });
  const mapper = makeDom({ domid: 2, vcpus: 2, frames: 4 });
  grant(granter, REF, 2, granter.frames[0]!);
  grant(granter, REF + 1, 2, granter.frames[1]!, gnt.GTF_permit_access | gnt.GTF_readonly);
  return { granter, mapper };
}

/** One operation of MMUEXT_*. */
export function* mmuext(c: Guest, cmd: number, arg: number): Steps<number> {
  for (let i = 0; i < mmu.MMUEXT_OP_WORDS; i++) c.put(i, 0);
  c.put(0, cmd);
  c.put(mmu.MMUEXT_ARG1, arg);
  c.g.argVa(0, c.va);
  c.g.arg(1, 1, 0);
  c.g.arg(2, 0, 0);
  c.g.arg(3, DOMID_SELF, 0);
  return yield* c.g.hypercall(HYPERVISOR_mmuext_op);
}

/** One request of mmu_update on an L1 entry named by its machine address. */
export function* mmuUpdate(c: Guest, ptr: number, lo: number): Steps<number> {
  [ptr, 0, lo, 0].forEach((w, i) => {
    c.put(i, w);
  });
  c.g.argVa(0, c.va);
  c.g.arg(1, 1, 0);
  c.g.arg(2, 0, 0);
  c.g.arg(3, DOMID_SELF, 0);
  return yield* c.g.hypercall(HYPERVISOR_mmu_update);
}

/** Gives one frame back to Xen. */
export function* balloon(c: Guest, mfn: number): Steps<number> {
  const list = 16;
  c.putVa(0, (c.va + 4 * list) as never);
  c.put(2, 1);
  c.put(3, 0);
  c.put(4, 0);
  c.put(5, 0);
  c.put(6, DOMID_SELF);
  c.put(7, 0);
  c.put(list, mfn);
  c.put(list + 1, 0);
  c.g.arg(0, XENMEM_decrease_reservation, 0);
  c.g.argVa(1, c.va);
  return yield* c.g.hypercall(HYPERVISOR_memory_op);
}

/** A vCPU's random life of `n` operations; slots 4 to 7 of its domain are what it maps into. */
export function wanderer(d: Dom, v: number, random: () => number, n: number): Body {
  const c = d.cpus[v]!;
  return life(c, function* () {
    for (let i = 0; i < n; i++) {
      yield* oneOperation(d, c, random);
      yield* c.g.poll();
    }
  });
}

function* oneOperation(d: Dom, c: Guest, random: () => number): Steps<void> {
  const slot = FIRST_SLOT + (random() % SLOTS);
  const mfn = d.frames[random() % d.frames.length]!;
  switch (random() % 12) {
    case 0:
    case 1:
      yield* c.map({ dom: 1, ref: REF, flags: gnt.GNTMAP_host_map, slot });
      return;
    case 2:
      yield* c.map({ dom: 1, ref: REF + 1, flags: gnt.GNTMAP_host_map | gnt.GNTMAP_readonly, slot });
      return;
    case 3:
    case 4:
      yield* c.unmap({ handle: random() % 4, slot });
      return;
    case 5:
    case 6:
      yield* c.g.store32(slotVa(slot), random());
      c.g.faulted();
      return;
    case 7:
      yield* c.updateVa(slotVa(slot), entryLo(mfn, RW));
      return;
    case 8:
      yield* c.updateVa(slotVa(slot), random() % 2 === 0 ? 0 : entryLo(mfn, RO));
      return;
    case 9:
      yield* mmuext(c, mmu.MMUEXT_PIN_L1_TABLE, mfn);
      return;
    case 10:
      yield* mmuext(c, mmu.MMUEXT_UNPIN_TABLE, mfn);
      return;
    default:
      if (random() % 4 === 0) yield* balloon(c, mfn);
      else yield* c.g.load32(slotVa(slot));
      c.g.faulted();
  }
}

/** The actors of bodies [granter, mapper 0, mapper 1, vandal]. */
export const actorsOf = ({ granter, mapper }: Cast): Cpu[] => [
  granter.cpus[0]!.g.cpu,
  mapper.cpus[0]!.g.cpu,
  mapper.cpus[1]!.g.cpu,
  CONTROL,
];

/** Waits for `after` looks, then stores one wrong word. */
export function vandal({ granter, mapper }: Cast, random: () => number, after: number): Body {
  const frames = [...granter.frames, ...mapper.frames, granter.l1, mapper.l1, mapper.l4];
  const any = (): Mfn => frames[random() % frames.length]!;
  return function* () {
    for (let i = 0; i < after; i++) yield* ldOnce(f.countInfo(0 as Mfn));
    const mfn = any();
    const bit = (bits: readonly number[]): number => bits[random() % bits.length]!;
    switch (random() % 5) {
      case 0: {
        const a = f.countInfo(mfn);
        const mask = bit([1, 2, f.PGC_allocated, f.PGT_locked, f.PGC_state_free]);
        yield* stOnce(a, (yield* ldOnce(a)) ^ mask);
        return;
      }
      case 1: {
        const a = f.typeInfo(mfn);
        const mask = bit([1, 2, f.PGT_validated, f.PGT_partial, f.PGT_pinned, 1 << 26, 1 << 27, 1 << 28]);
        yield* stOnce(a, (yield* ldOnce(a)) ^ mask);
        return;
      }
      case 2: {
        const a = f.ownerWord(mfn);
        const was = yield* ldOnce(a);
        // Another owner, or the same one's other frame.
        yield* stOnce(a, random() % 2 === 0 ? was + 0x10000 : (was & ~0xffff) | bit([1, 2, 0xffff]));
        return;
      }
      case 3: {
        const slot = mfnWord(mapper.l1) + 2 * (FIRST_SLOT + (random() % SLOTS));
        yield* stOnce(slot, entryLo(any(), bit([RW, RO])));
        return;
      }
      default:
        yield* stOnce(entryWord(granter.gt, REF + (random() % 2)), gnt.GTF_permit_access | (2 << 16));
    }
  };
}
