/**
 * A small machine for tests of grants: domains with as many vCPUs as wanted, each kernel as small as a kernel can be.
 *
 * A domain has one tree of tables in slot 300 of its L4: page v holds vCPU v's arguments, page 32 its first grant frame,
 * and the 512 pages from `slotVa(0)` on are empty entries of one L1 to map grants into. The vCPUs share the tree.
 */
import { DOMID_SELF, makeVa, mfnWord, vaHi, vaLo, type Mfn, type Va } from '../../../src/abi/frames.js';
import * as gnt from '../../../src/abi/grant.js';
import {
  HYPERVISOR_grant_table_op,
  HYPERVISOR_mmuext_op,
  HYPERVISOR_update_va_mapping,
} from '../../../src/abi/hypercall.js';
import { MMUEXT_ARG1, MMUEXT_NEW_BASEPTR, MMUEXT_OP_WORDS, UVMF_INVLPG } from '../../../src/abi/mmu.js';
import { entryLo } from '../../../src/abi/pte.js';
import { allocDomainFrame } from '../../../src/hypervisor/allocation.js';
import { buildDomain, hypervisorBoot, type BootOptions } from '../../../src/hypervisor/boot.js';
import { domain, vcpuOf, type DomainRef } from '../../../src/hypervisor/domain.js';
import { grantTable, type GrantTable } from '../../../src/hypervisor/grant/table.js';
import { vcpu } from '../../../src/machine/cpu-record.js';
import { CONTROL, type Cpu } from '../../../src/sync/actor.js';
import { peek, poke, run } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import type { GuestHandlers, Vcpu } from '../../../src/vcpu/guest-cpu.js';
import { makeGuestCpu } from '../../../src/vcpu/vcpu.js';
import { entryWord } from './tables.js';

const SLOT = 300;
const GRANT_PAGE = 32;
const TABLE = 0x67;

export const argsVa = (v: number): Va => makeVa(SLOT, 0, 0, v);
/** Where a domain's kernel sees its first grant frame. */
export const GRANTS_VA = makeVa(SLOT, 0, 0, GRANT_PAGE);
export const slotVa = (i: number): Va => makeVa(SLOT, 0, 1, i);

export interface DomOptions {
  readonly domid: number;
  readonly vcpus?: number;
  readonly privileged?: boolean;
  /** Data frames. */
  readonly frames?: number;
  readonly maxGrantFrames?: number;
  readonly maxMaptrackFrames?: number;
}

export interface Dom {
  readonly domid: number;
  readonly d: DomainRef;
  readonly gt: GrantTable;
  readonly frames: readonly Mfn[];
  /** The L1 of the 512 slots, and the L4 over all. */
  readonly l1: Mfn;
  readonly l4: Mfn;
  readonly cpus: readonly Guest[];
}

const give = (d: DomainRef): Mfn => {
  const mfn = run(() => allocDomainFrame(CONTROL, d));
  if (mfn < 0) throw new Error('no frame left for a test domain');
  return mfn;
};

function put(table: Mfn, i: number, mfn: number): void {
  poke(mfnWord(table) + 2 * i, entryLo(mfn as Mfn, TABLE));
  poke(mfnWord(table) + 2 * i + 1, 0);
}

export const boot = (options: BootOptions = {}): void => {
  hypervisorBoot(options);
};

/** Builds and starts a domain; its vCPUs are parked. */
export function makeDom(o: DomOptions): Dom {
  const vcpus = o.vcpus ?? 1;
  const d = run(() =>
    buildDomain(CONTROL, {
      domid: o.domid,
      vcpus,
      privileged: o.privileged ?? false,
      maxGrantFrames: o.maxGrantFrames ?? 2,
      maxMaptrackFrames: o.maxMaptrackFrames ?? 4,
    }),
  );
  const gt = peek(domain.grantTable(d)) as GrantTable;
  const [l4, l3, l2, kernel, l1] = [give(d), give(d), give(d), give(d), give(d)];
  put(l4, SLOT, l3);
  put(l3, 0, l2);
  put(l2, 0, kernel);
  put(l2, 1, l1);
  const args = Array.from({ length: vcpus }, () => give(d));
  args.forEach((mfn, v) => {
    put(kernel, v, mfn);
  });
  put(kernel, GRANT_PAGE, peek(peek(grantTable.sharedList(gt))));
  const frames = Array.from({ length: o.frames ?? 4 }, () => give(d));
  const cpus = args.map((mfn, v) => new Guest(vcpuOf(d, v), mfn, argsVa(v)));
  for (const c of cpus) {
    poke(vcpu.kernelMode(c.g.cpu), 1);
    poke(vcpu.cr3(c.g.cpu), l4 + 1);
    on(c, () => c.newBase(l4));
  }
  return { domid: o.domid, d, gt, frames, l1, l4, cpus };
}

function* never(): Steps<false> {
  return false;
}

/** Runs a body alone on one vCPU. */
export const on = <T>(c: Guest, body: () => Steps<T>): T =>
  run(function* () {
    yield* c.g.start();
    const r = yield* body();
    yield* c.g.park();
    return r;
  });

export interface MapOp {
  readonly dom: number;
  readonly ref: number;
  readonly flags: number;
  /** A slot of the mapper's, by virtual address; or an entry by machine address; or none. */
  readonly slot?: number;
  readonly pte?: number;
}
export interface MapResult {
  readonly status: number;
  readonly handle: number;
  readonly dev: number;
}
export interface UnmapOp {
  readonly handle: number;
  readonly slot?: number;
  readonly pte?: number;
  readonly dev?: number;
}

/** Machine address of an entry of a table, as two words would carry it (below 4 GiB here). */
export const pteAddress = (table: Mfn, i: number): number => table * 4096 + 8 * i;

/** One vCPU's kernel. */
export class Guest {
  readonly g: Vcpu;
  /** Where this vCPU's arguments lie. */
  readonly va: Va;
  readonly argsMfn: Mfn;
  /** Upcalls and general protection faults so far. */
  events = 0;
  protections = 0;
  readonly #args: number;

  constructor(cpu: Cpu, argsMfn: Mfn, va: Va) {
    this.g = makeGuestCpu(cpu, this.#handlers());
    this.argsMfn = argsMfn;
    this.#args = mfnWord(argsMfn);
    this.va = va;
  }

  /** Faults are given up; upcalls are counted. */
  #handlers(): GuestHandlers {
    const guest = this as { events: number; protections: number };
    return {
      *pageFault(): Steps<boolean> {
        return yield* never();
      },
      *generalProtection(): Steps<void> {
        guest.protections++;
        yield* never();
      },
      *event(): Steps<void> {
        guest.events++;
        yield* never();
      },
      *ipi(): Steps<void> {
        yield* never();
      },
    };
  }

  /** Word `i` of this vCPU's argument page: nobody else's, so no point. */
  put(i: number, v: number): void {
    poke(this.#args + i, v);
  }
  get(i: number): number {
    return peek(this.#args + i);
  }
  /** A pointer at word `i`. */
  putVa(i: number, va: Va): void {
    this.put(i, vaLo(va));
    this.put(i + 1, vaHi(va));
  }
  #putAddress(i: number, o: { readonly slot?: number; readonly pte?: number }): void {
    if (o.slot !== undefined) {
      this.putVa(i, slotVa(o.slot));
      return;
    }
    this.put(i, (o.pte ?? 0) | 0);
    this.put(i + 1, 0);
  }

  *grantOp(cmd: number, count: number, at = 0): Steps<number> {
    this.g.arg(0, cmd, 0);
    this.g.argVa(1, (this.va + 4 * at) as Va);
    this.g.arg(2, count, 0);
    return yield* this.g.hypercall(HYPERVISOR_grant_table_op);
  }

  *newBase(l4: Mfn): Steps<void> {
    for (let i = 0; i < MMUEXT_OP_WORDS; i++) this.put(i, 0);
    this.put(0, MMUEXT_NEW_BASEPTR);
    this.put(MMUEXT_ARG1, l4);
    this.g.argVa(0, this.va);
    this.g.arg(1, 1, 0);
    this.g.arg(2, 0, 0);
    this.g.arg(3, DOMID_SELF, 0);
    const rc = yield* this.g.hypercall(HYPERVISOR_mmuext_op);
    if (rc !== 0) throw new Error(`a test domain's tables do not validate: ${String(rc)}`);
  }

  *updateVa(va: Va, lo: number): Steps<number> {
    this.g.argVa(0, va);
    this.g.arg(1, lo, 0);
    this.g.arg(2, UVMF_INVLPG, 0);
    return yield* this.g.hypercall(HYPERVISOR_update_va_mapping);
  }

  /** A batch of maps; throws when the call itself fails. */
  *map(...ops: MapOp[]): Steps<MapResult[]> {
    ops.forEach((o, k) => {
      const at = k * gnt.MAP_GRANT_WORDS;
      this.#putAddress(at, o);
      this.put(at + gnt.MAP_FLAGS, o.flags);
      this.put(at + gnt.MAP_REF, o.ref);
      this.put(at + gnt.MAP_DOM, o.dom);
      this.put(at + gnt.MAP_HANDLE, -1);
      this.put(at + gnt.MAP_DEV, 0);
      this.put(at + gnt.MAP_DEV + 1, 0);
    });
    const rc = yield* this.grantOp(gnt.GNTTABOP_map_grant_ref, ops.length);
    if (rc !== 0) throw new Error(`map answered ${String(rc)}`);
    return ops.map((_, k) => {
      const at = k * gnt.MAP_GRANT_WORDS;
      const status = this.get(at + gnt.MAP_DOM) >> 16;
      return { status, handle: this.get(at + gnt.MAP_HANDLE), dev: this.get(at + gnt.MAP_DEV) };
    });
  }

  /** A batch of unmaps; answers the statuses. */
  *unmap(...ops: UnmapOp[]): Steps<number[]> {
    ops.forEach((o, k) => {
      const at = k * gnt.UNMAP_GRANT_WORDS;
      this.#putAddress(at, o);
      this.put(at + gnt.UNMAP_DEV, (o.dev ?? 0) | 0);
      this.put(at + gnt.UNMAP_DEV + 1, 0);
      this.put(at + gnt.UNMAP_HANDLE, o.handle);
      this.put(at + gnt.UNMAP_STATUS, 0x7fff);
    });
    const rc = yield* this.grantOp(gnt.GNTTABOP_unmap_grant_ref, ops.length);
    if (rc !== 0) throw new Error(`unmap answered ${String(rc)}`);
    return ops.map((_, k) => (this.get(k * gnt.UNMAP_GRANT_WORDS + gnt.UNMAP_STATUS) << 16) >> 16);
  }
}

/** unmap_and_replace of one handle at `slot` by what is at `by` (none: a plain unmap); answers the status. */
export function* replaceOp(c: Guest, handle: number, slot: number, by: number | undefined): Steps<number> {
  c.putVa(0, slotVa(slot));
  if (by === undefined) {
    c.put(gnt.REPLACE_NEW, 0);
    c.put(gnt.REPLACE_NEW + 1, 0);
  } else c.putVa(gnt.REPLACE_NEW, slotVa(by));
  c.put(gnt.REPLACE_HANDLE, handle);
  const rc = yield* c.grantOp(gnt.GNTTABOP_unmap_and_replace, 1);
  if (rc !== 0) throw new Error(`replace answered ${String(rc)}`);
  return (c.get(gnt.REPLACE_STATUS) << 16) >> 16;
}

/** Transfers a frame of the caller's; answers the status. */
export function* transferOp(c: Guest, mfn: number, dom: number, ref: number): Steps<number> {
  [mfn, 0, dom, ref, 0, 0].forEach((v, i) => {
    c.put(i, v);
  });
  const rc = yield* c.grantOp(gnt.GNTTABOP_transfer, 1);
  if (rc !== 0) throw new Error(`transfer answered ${String(rc)}`);
  return (c.get(gnt.TRANSFER_STATUS) << 16) >> 16;
}

/** The granter stores a version 1 entry: frame first, then flags and domain. */
export function grant(granter: Dom, ref: number, to: number, mfn: number, flags: number = gnt.GTF_permit_access): void {
  const at = entryWord(granter.gt, ref);
  poke(at + 1, mfn);
  poke(at, flags | (to << 16));
}

/** Entry `i` of a domain's slots, low word. */
export const slotEntry = (d: Dom, i: number): number => peek(mfnWord(d.l1) + 2 * i);

export interface CopySide {
  readonly dom: number;
  readonly ref?: number;
  readonly mfn?: number;
  readonly offset: number;
}
export interface CopyOp {
  readonly source: CopySide;
  readonly dest: CopySide;
  readonly length: number;
}

/** A batch of copies; answers the statuses. */
export function* copyOp(c: Guest, ops: readonly CopyOp[]): Steps<number[]> {
  ops.forEach((o, k) => {
    const at = k * gnt.COPY_WORDS;
    [o.source, o.dest].forEach((s, i) => {
      c.put(at + 4 * i, s.ref ?? s.mfn ?? 0);
      c.put(at + 4 * i + 1, 0);
      c.put(at + 4 * i + gnt.COPY_PTR_WHERE, s.dom | (s.offset << 16));
    });
    const flags =
      (o.source.ref === undefined ? 0 : gnt.GNTCOPY_source_gref) |
      (o.dest.ref === undefined ? 0 : gnt.GNTCOPY_dest_gref);
    c.put(at + gnt.COPY_LEN, o.length | (flags << 16));
  });
  const rc = yield* c.grantOp(gnt.GNTTABOP_copy, ops.length);
  if (rc !== 0) throw new Error(`copy answered ${String(rc)}`);
  return ops.map((_, k) => (c.get(k * gnt.COPY_WORDS + gnt.COPY_STATUS) << 16) >> 16);
}

export function setVersion(d: Dom, version: number): number {
  const c = d.cpus[0]!;
  c.put(0, version);
  return on(c, () => c.grantOp(gnt.GNTTABOP_set_version, 1));
}
