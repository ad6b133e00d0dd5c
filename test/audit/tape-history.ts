/**
 * What a tape's own history says of its grants: handles by the recorded statuses, homes of their entries, implicit unmaps.
 *
 * Source: tapes FORMAT.md; [X48], [X53], [X54], [X61]: an entry lost without its unmap leaves its handle behind.
 */
import { mfnWord, type Mfn } from '../../src/abi/frames.js';
import { GNTMAP_device_map, GNTMAP_host_map, GNTMAP_readonly, INVALID_HANDLE } from '../../src/abi/grant.js';
import { applyProbes, type MutableProbeState } from '../../src/lab/tape/compare.js';
import { toVa } from '../../src/lab/tape/guest.js';
import type { MapEntry, Op, OpOf, UnmapEntry } from '../../src/lab/tape/schema.js';
import { vaWord } from '../../src/lab/tape/symbols.js';
import type { TapeMachine } from '../../src/lab/tape/tape-machine.js';
import { parseHex } from '../../src/lab/tape/value.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { peek } from '../../src/sync/primitives.js';
import { l1Owners, leafAt, slotOf } from './tape-tables.js';

export interface TapeHandle {
  readonly mapper: string;
  readonly granter: string;
  readonly number: number;
  readonly gref: number;
  /** Reference as the tape writes it. */
  readonly ref: number;
  readonly mfn: Mfn;
  readonly rw: boolean;
  host: boolean;
  device: boolean;
  /** Address of the entry it was given; 0: none. */
  readonly home: number;
  /** The entry is still there, in a table that is still one. */
  intact: boolean;
}

/** Operations that can change a granted entry, and those that can take a table's type. */
const CHANGES_ENTRIES: ReadonlySet<string> = new Set([
  'mmu_update',
  'update_va',
  'vwrite',
  'gnt_map',
  'gnt_unmap',
  'gnt_replace',
]);
const TAKES_TYPES: ReadonlySet<string> = new Set(['mmuext', 'mmu_update']);

export class TapeHistory {
  readonly m: TapeMachine;
  readonly recorded: MutableProbeState = { types: new Map(), doms: new Map(), grants: new Map() };
  readonly versions = new Map<string, number>();
  handles: TapeHandle[] = [];
  /** Entries that d0 wrote into another domain's tables, as it may ([X30]). */
  readonly byRight = new Set<number>();
  /** Grants that a crashed operation released: nobody looked at their entries afterwards. */
  readonly unrecorded = new Set<string>();
  /** Implicit unmaps that no operation explains. */
  readonly unexplained: string[] = [];

  constructor(m: TapeMachine) {
    this.m = m;
    for (const d of m.domains()) {
      for (let r = 0; r < m.tape.watch; r++) {
        this.recorded.grants.set(`${d}.${String(r)}`, { flags: 0, dom: 'd0', f: 0 });
      }
    }
    applyProbes(this.recorded, m.tape.init);
  }

  /** Neither gone nor dying. */
  alive(dom: string): boolean {
    const state = this.recorded.doms.get(dom);
    return state !== null && state?.dying !== 1;
  }
  gone(dom: string): boolean {
    return this.recorded.doms.get(dom) === null;
  }

  after(op: Op): void {
    applyProbes(this.recorded, op.expect);
    if (op.expect.outcome === undefined) this.#perform(op);
    else if (op.op === 'gnt_unmap') this.#crashedUnmap(op);
    this.handles = this.handles.filter((h) => this.alive(h.mapper) && (h.host || h.device));
    this.#lookForLosses(op);
  }

  #perform(op: Op): void {
    const by = op.by ?? 'd0';
    if (op.op === 'gnt_map') op.maps.forEach((e, k) => this.#map(by, e, op.expect.r?.[k]));
    if (op.op === 'gnt_unmap') op.unmaps.forEach((e, k) => this.#unmap(by, e, statusOf(op, k)));
    if (op.op === 'gnt_replace' && op.expect.status === 0) this.#drop(by, op, true, false);
    if (op.op === 'gnt_set_version' && op.expect.rc === 0) this.versions.set(by, op.version);
    if (op.op === 'mmu_update' && op.ptdom !== undefined) this.#noteByRight(op);
  }

  #map(by: string, e: MapEntry, r: { status: number; dev?: unknown } | undefined): void {
    if (r?.status !== 0) return;
    const host = (e.flags & GNTMAP_host_map) !== 0;
    const home = host ? this.#home(by, e) : 0;
    const { dev } = r;
    const name = typeof dev === 'object' && dev !== null && 'f' in dev ? String(dev.f) : '';
    const named = this.m.symbols.mfn(name) as Mfn;
    this.handles.push({
      mapper: by,
      granter: e.dom,
      number: this.m.handles.get(e.h) ?? INVALID_HANDLE,
      gref: this.m.grefOf(e.dom, e.ref),
      ref: e.ref,
      mfn: named >= 0 ? named : (leafAt(home)?.mfn ?? named),
      rw: (e.flags & GNTMAP_readonly) === 0,
      host,
      device: (e.flags & GNTMAP_device_map) !== 0,
      home,
      intact: host,
    });
  }

  /** The entry that a map's address names. */
  #home(by: string, e: MapEntry): number {
    if (e.pte !== undefined) return mfnWord(this.m.symbols.mfn(e.pte.f) as Mfn) + 2 * e.pte.i;
    const cpu = this.m.guests.get(by)?.g.cpu;
    if (cpu === undefined || e.va === undefined) return 0;
    return slotOf((peek(vcpu.guestTable(cpu)) - 1) as Mfn, toVa(vaWord(e.va, e.off)));
  }

  #unmap(by: string, e: UnmapEntry, status: number | undefined): void {
    if (status !== 0) return;
    const raw = e.addr === undefined ? undefined : parseHex(e.addr);
    const address = e.pte !== undefined || e.va !== undefined || (raw !== undefined && (raw.lo | raw.hi) !== 0);
    this.#drop(by, e, address, e.dev !== undefined && e.dev !== '0x0');
  }

  /** Unmaps before the one that kills the caller are done; their statuses are not recorded, but their entries are empty. */
  #crashedUnmap(op: OpOf<'gnt_unmap'>): void {
    const by = op.by ?? 'd0';
    for (const e of op.unmaps) {
      const number = this.m.handles.get(e.h ?? -1);
      const handle = this.handles.find((h) => h.mapper === by && h.number === number);
      if (handle?.intact !== true || leafAt(handle.home) !== undefined) continue;
      this.#unmap(by, e, 0);
      this.unrecorded.add(`${handle.granter}.${String(handle.ref)}`);
    }
  }

  #drop(by: string, e: { h?: number | undefined; rawh?: string | undefined }, host: boolean, device: boolean): void {
    const number = e.rawh !== undefined ? parseHex(e.rawh).lo : this.m.handles.get(e.h ?? -1);
    const handle = this.handles.find((h) => h.mapper === by && h.number === number && (h.host || h.device));
    if (handle === undefined) return;
    if (host) handle.host = false;
    if (device) handle.device = false;
  }

  #noteByRight(op: OpOf<'mmu_update'>): void {
    for (const u of op.u.slice(0, op.expect.done ?? 0)) {
      this.byRight.add(mfnWord(this.m.symbols.mfn(u.t) as Mfn) + 2 * (u.i ?? 0));
    }
  }

  /** A handle's entry is lost when its table is no L1 of the mapper's any more, or it maps something else. */
  #lookForLosses(op: Op): void {
    const owners = l1Owners(this.m, this.recorded.types);
    const taken = new Set<number>();
    for (const h of [...this.handles].reverse()) {
      if (!h.host) continue;
      const typed = owners.get((h.home >>> 10) as Mfn) === h.mapper;
      const leaf = leafAt(h.home);
      const there = leaf?.mfn === h.mfn && leaf.rw === h.rw && !taken.has(h.home);
      if (h.intact && !(typed && there) && !(typed ? CHANGES_ENTRIES : TAKES_TYPES).has(op.op)) {
        this.unexplained.push(`${op.op} lost the entry of ${h.mapper} handle ${String(h.number)}`);
      }
      h.intact = typed && there;
      if (h.intact) taken.add(h.home);
    }
  }
}

function statusOf(op: OpOf<'gnt_unmap'>, k: number): number | undefined {
  const { status } = op.expect;
  return Array.isArray(status) ? status[k] : status;
}
