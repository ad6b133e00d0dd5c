/**
 * Sets a machine up for one tape: boots, builds d0, the guests or puppets, and all frames as FORMAT.md describes them.
 *
 * Invariant: the builder writes only frames that nobody uses yet; from the moment d0 runs, everything is d0's and the
 * guests' hypercalls. No two tapes share a machine's past.
 * Source: tapes FORMAT.md (initial state).
 */
import { HypervisorBug } from '../../abi/errors.js';
import { GRANT_V1_PER_FRAME } from '../../abi/grant.js';
import { DOMID_SELF } from '../../abi/frames.js';
import { HYPERVISOR_memory_op, HYPERVISOR_mmu_update, HYPERVISOR_mmuext_op } from '../../abi/hypercall.js';
import * as mem from '../../abi/memory.js';
import * as mmu from '../../abi/mmu.js';
import { buildDomain, hypervisorBoot } from '../../hypervisor/boot.js';
import { CRASH_SITES, domain, findDomain, vcpuOf, type DomainRef } from '../../hypervisor/domain.js';
import { FRAMES } from '../../machine/layout.js';
import { CONTROL } from '../../sync/actor.js';
import { peek, run } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { makeGuestCpu } from '../../vcpu/vcpu.js';
import {
  kernelHandlers,
  KERNEL_STACK_TOP,
  KERNEL_TEXT,
  OWN_GRANTS_VA,
  TapeGuest,
  WINDOW_VA,
  type Fault,
} from './guest.js';
import { buildKernel, IMAGE_PAGES, setContext } from './kernel-image.js';
import { SPECIALS, specialName, TAPE_MEMORY_MIB } from './names.js';
import { readDomain } from './probes.js';
import type { Tape } from './schema.js';
import { domidOf } from './symbols.js';
import { listedFrame, setupTable } from './table-ops.js';
import { TapeMachine } from './tape-machine.js';
import { fromInteger, type Word64 } from './value.js';

const D0_GRANT_FRAMES = 32;
/**
 * Frame numbers lie above every grant reference of d0, as on any machine of some size: some tapes give a frame's number
 * where a reference is expected, and Xen answered that there is no such reference.
 */
const FIRST_FRAME = D0_GRANT_FRAMES * GRANT_V1_PER_FRAME;
const D0_MAX_GRANT_FRAMES = 64;
/** Frames that are enough for any tape. */
const FREE_FRAMES = 1024;
const GUEST_GRANT_FRAMES = 4;
const GUEST_MAPTRACK_FRAMES = 4;
const D0_MAPTRACK_FRAMES = 1024;
const RW_ENTRY = 0x67;

/** A fresh machine in the tape's initial state; `quantum`: see BootOptions. */
export function setUp(tape: Tape, quantum = 0): TapeMachine {
  const m = new TapeMachine(tape);
  if (FRAMES < FIRST_FRAME + FREE_FRAMES)
    throw new HypervisorBug(`a tape's machine has ${String(TAPE_MEMORY_MIB)} MiB`);
  hypervisorBoot({ firstFrame: FIRST_FRAME, quantum });
  run(function* () {
    yield* buildAll(m);
    for (const name of m.domains()) yield* prepareGrants(m, name);
    yield* numberSpecials(m);
    for (const [i, owner] of tape.frames.entries()) if (owner !== null) yield* giveFrame(m, `f${String(i)}`, owner);
    const info = yield* readDomain(m, 'd0');
    m.basePages.set('d0', info?.tot ?? 0);
    yield* m.d0.g.park();
  });
  return m;
}

/** d0 first, then the others; d0 runs when this ends. */
function* buildAll(m: TapeMachine): Steps<void> {
  for (const [i, name] of m.domains().entries()) {
    const privileged = i === 0;
    const runs = privileged || m.tape.agents === true;
    const d = yield* buildDomain(CONTROL, {
      domid: i,
      privileged,
      vcpus: 1,
      paused: !runs,
      maxGrantFrames: privileged ? D0_MAX_GRANT_FRAMES : GUEST_GRANT_FRAMES,
      maxMaptrackFrames: privileged ? D0_MAPTRACK_FRAMES : GUEST_MAPTRACK_FRAMES,
    });
    if (runs) yield* bringUp(m, name, i, d);
  }
}

/** A running domain: its kernel, the pin of its L4 by d0, its own switch to it. */
function* bringUp(m: TapeMachine, name: string, number: number, d: DomainRef): Steps<void> {
  const cpu = vcpuOf(d, 0);
  const l4 = yield* buildKernel(m, number, d);
  setContext(cpu, l4);
  const fault: Fault = { va: WINDOW_VA, error: 0 };
  const guest = new TapeGuest(name, number, makeGuestCpu(cpu, kernelHandlers(fault)), fault);
  m.guests.set(name, guest);
  if (number !== 0) m.basePages.set(name, IMAGE_PAGES);
  if (number === 0) yield* guest.g.start();
  must(yield* mmuext(m.d0, mmu.MMUEXT_PIN_L4_TABLE, fromInteger(l4), number === 0 ? DOMID_SELF : number), 'pin');
  yield* runInstead(m, guest);
  must(yield* mmuext(guest, mmu.MMUEXT_NEW_BASEPTR, fromInteger(l4), DOMID_SELF), 'switch of base');
  guest.g.setKernel(KERNEL_STACK_TOP, KERNEL_TEXT);
  yield* runAgain(m, guest);
}

/** One thread plays all vCPUs: d0 steps aside for a guest, */
function* runInstead(m: TapeMachine, guest: TapeGuest): Steps<void> {
  if (guest === m.d0) return;
  yield* m.d0.g.park();
  yield* guest.g.start();
}
/** and comes back. */
function* runAgain(m: TapeMachine, guest: TapeGuest): Steps<void> {
  if (guest === m.d0) return;
  yield* guest.g.park();
  yield* m.d0.g.start();
}

function must(rc: number, what: string, wanted = 0): void {
  if (rc !== wanted) throw new HypervisorBug(`setting a tape up: ${what} answered ${String(rc)}`);
}

/** One mmuext operation. */
function* mmuext(by: TapeGuest, cmd: number, arg1: Word64, dom: number): Steps<number> {
  yield* by.clear(0, mmu.MMUEXT_OP_WORDS);
  yield* by.put(0, cmd);
  yield* by.put64(mmu.MMUEXT_ARG1, arg1);
  return yield* by.call(HYPERVISOR_mmuext_op, by.pointer(0), 1, 0, dom);
}

/** Learns where the domain's grant table lies; a running domain maps its own. */
function* prepareGrants(m: TapeMachine, name: string): Steps<void> {
  const owner = m.guests.get(name);
  const nr = name === 'd0' ? D0_GRANT_FRAMES : 1;
  const { rc, status } = yield* setupTable(m.d0, domidOf(name), nr);
  must(rc, 'setup_table');
  must(status, 'status of setup_table');
  const mfn = yield* listedFrame(m.d0, 0);
  m.grantFrames.set(name, mfn);
  if (owner === undefined) return;
  yield* runInstead(m, owner);
  must(yield* owner.map(OWN_GRANTS_VA, { lo: (mfn << 12) | RW_ENTRY, hi: 0 }), 'mapping of the grant table');
  yield* runAgain(m, owner);
}

/** Machine-to-physical entries of the special frames. */
function* numberSpecials(m: TapeMachine): Steps<void> {
  const { d0 } = m;
  for (const [i, name] of m.domains().entries()) {
    if (m.guests.get(name) === undefined) continue;
    for (const special of SPECIALS) {
      const f = specialName(i, special);
      yield* d0.put64(0, m.symbols.machineAddress(f, mmu.MMU_MACHPHYS_UPDATE));
      yield* d0.put64(2, fromInteger(m.pfnOf(f)));
      const rc = yield* d0.call(HYPERVISOR_mmu_update, d0.pointer(0), 1, 0, i === 0 ? DOMID_SELF : i);
      must(rc, 'machine-to-physical update');
    }
  }
}

/** Populates `f` and zeroes it through a writable mapping, which leaves its last type writable. */
function* giveFrame(m: TapeMachine, f: string, owner: string): Steps<void> {
  const { d0 } = m;
  const dom = owner === 'd0' ? undefined : domidOf(owner);
  const list = mem.RESERVATION_WORDS;
  yield* d0.clear(0, mem.RESERVATION_WORDS);
  yield* d0.put64(list, fromInteger(m.pfnOf(f)));
  yield* d0.put64(mem.RESERVATION_EXTENTS, d0.pointer(list));
  yield* d0.put64(mem.RESERVATION_NR, fromInteger(1));
  yield* d0.put(mem.RESERVATION_DOMID, dom ?? DOMID_SELF);
  must(yield* d0.call(HYPERVISOR_memory_op, mem.XENMEM_populate_physmap, d0.pointer(0)), 'populate_physmap', 1);
  const mfn = yield* d0.get(list);
  m.symbols.define(f, mfn);
  must(yield* d0.map(WINDOW_VA, { lo: (mfn << 12) | RW_ENTRY, hi: 0 }, dom), 'window');
  yield* d0.g.clearPage(WINDOW_VA);
  yield* d0.unmap(WINDOW_VA);
}

/** Where Xen crashed the domain, as tapes say it. */
export function crashSiteOf(domid: number): string {
  return run(function* () {
    const d = yield* findDomain(domid);
    return d === 0 ? 'domain gone' : (CRASH_SITES[peek(domain.crashSite(d))] ?? 'unknown');
  });
}
