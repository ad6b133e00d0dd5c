/** The world of the twins' races: a granter of two vCPUs, a mapper of two, and what their kernels do in a line. */
import { mfnWord, type Va } from '../../src/abi/frames.js';
import * as gnt from '../../src/abi/grant.js';
import { entryLo } from '../../src/abi/pte.js';
import { destroyDomain } from '../../src/hypervisor/domctl.js';
import type { BootOptions } from '../../src/hypervisor/boot.js';
import { ERESTART } from '../../src/abi/errno.js';
import { CONTROL } from '../../src/sync/actor.js';
import { poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import {
  boot,
  grant,
  GRANTS_VA,
  makeDom,
  on,
  slotVa,
  type Dom,
  type DomOptions,
  type Guest,
} from '../hypervisor/grant/lab.js';
import { life } from '../hypervisor/grant/walks.js';
import { mmuUpdate } from '../audit/step-program.js';
import type { Side } from './harness.js';

export const REF = 8;
export const RW = gnt.GNTMAP_host_map;
export const RO = gnt.GNTMAP_host_map | gnt.GNTMAP_readonly;
export const DEV = gnt.GNTMAP_device_map;
/** Flags of an ordinary entry. */
export const PTE_RW = 0x67;
/** The first slots share TLB slots with the arguments. */
export const SLOT = 4;

export interface World {
  readonly granter: Dom;
  readonly mapper: Dom;
}

/** d1 grants its first two frames to d2, writable, as references 8 and 9. */
export function world(options: BootOptions = {}, mapper: Partial<DomOptions> = {}): World {
  boot(options);
  const d1 = makeDom({ domid: 1, vcpus: 2, frames: 4, maxGrantFrames: 1, maxMaptrackFrames: 1 });
  const d2 = makeDom({ domid: 2, vcpus: 2, frames: 6, maxGrantFrames: 1, maxMaptrackFrames: 1, ...mapper });
  grant(d1, REF, 2, d1.frames[0]!);
  grant(d1, REF + 1, 2, d1.frames[1]!);
  return { granter: d1, mapper: d2 };
}

/** A vCPU as a side of a race. */
export function side(d: Dom, v: number, body: (c: Guest) => Steps<unknown>): Side {
  const c = d.cpus[v]!;
  const run = life(c, function* () {
    yield* body(c);
  });
  return { cpu: c.g.cpu, body: run };
}

/** The control plane destroys the domain. */
export const destroyer = (d: Dom): Side => ({
  cpu: CONTROL,
  body: function* () {
    while ((yield* destroyDomain(CONTROL, d.d)) === -ERESTART) continue;
  },
});

/** Runs steps of a vCPU before the race. */
export const before = (d: Dom, v: number, body: (c: Guest) => Steps<unknown>): void => {
  const c = d.cpus[v]!;
  on(c, () => body(c));
};

/** Maps a reference before the race; answers the handle. */
export function mapped(m: Dom, ref: number, flags: number, slot: number): number {
  const c = m.cpus[0]!;
  const [r] = on(c, () => c.map({ dom: 1, ref, flags, slot }));
  if (r?.status !== gnt.GNTST_okay) throw new Error(`the setup's map answered ${String(r?.status)}`);
  return r.handle;
}

/** Stores through the mapping at a slot, faults or not. */
export function* store(c: Guest, slot: number): Steps<void> {
  yield* c.g.store32(slotVa(slot), 6); // no present entry: the frame may become a table
  c.g.faulted();
}

/** Sets entry `i` of a table by mmu_update: nothing is flushed. */
export const setEntry = (c: Guest, table: number, i: number, mfn: number, flags: number): Steps<number> =>
  mmuUpdate(c, table * 4096 + 8 * i, flags === 0 ? 0 : entryLo(mfn as never, flags));

/** A raw entry of a frame that nobody uses yet. */
export function put(table: number, i: number, mfn: number, flags: number): void {
  poke(mfnWord(table as never) + 2 * i, entryLo(mfn as never, flags));
}

/** Where the granter's kernel sees a version 1 entry. */
export const entryVa = (ref: number): Va => (GRANTS_VA + ref * 8) as Va;
