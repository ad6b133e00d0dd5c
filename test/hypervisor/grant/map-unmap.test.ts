/** Mapping and unmapping by hypercall: statuses, counts, what an unmap needs, what overwriting an entry leaves behind. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  GNTMAP_contains_pte,
  GNTMAP_device_map,
  GNTMAP_host_map,
  GNTMAP_readonly,
  GNTST_bad_dev_addr,
  GNTST_bad_domain,
  GNTST_bad_gntref,
  GNTST_bad_handle,
  GNTST_bad_page,
  GNTST_general_error,
  GNTST_no_space,
  GNTST_okay,
  GNTTABOP_map_grant_ref,
  GNTTABOP_unmap_grant_ref,
  GTF_permit_access,
  GTF_reading,
  GTF_readonly,
  GTF_writing,
  INVALID_HANDLE,
} from '../../../src/abi/grant.js';
import { EFAULT, EINVAL, ENOSYS } from '../../../src/abi/errno.js';
import { mfnWord, type Mfn } from '../../../src/abi/frames.js';
import { PAGE_GNTTAB_HI } from '../../../src/abi/pte.js';
import { faultCounts, faultInit, faultPlan, FAULT_WORDS } from '../../../src/fault/plan.js';
import { globals } from '../../../src/hypervisor/globals.js';
import { grantTable } from '../../../src/hypervisor/grant/table.js';
import { countInfo, PGC_count_mask, PGT_count_mask, typeInfo } from '../../../src/machine/frame.js';
import { vcpu } from '../../../src/machine/cpu-record.js';
import { arenaAlloc } from '../../../src/shm/arena.js';
import { CONTROL } from '../../../src/sync/actor.js';
import { peek, poke, run } from '../../../src/sync/primitives.js';
import {
  boot,
  grant,
  makeDom,
  on,
  pteAddress,
  replaceOp,
  slotEntry,
  slotVa,
  type Dom,
  type MapOp,
  type MapResult,
} from './lab.js';
import { claimsOf, freeHandles, liveHandles, maptrackLimit, pinOf } from './tables.js';

let granter: Dom;
let mapper: Dom;

beforeEach(() => {
  boot();
  granter = makeDom({ domid: 1 });
  mapper = makeDom({ domid: 2 });
});

const RW = GNTMAP_host_map;
const RO = GNTMAP_host_map | GNTMAP_readonly;
const map = (...ops: MapOp[]): MapResult[] => on(mapper.cpus[0]!, () => mapper.cpus[0]!.map(...ops));
const unmap = (...ops: Parameters<Dom['cpus'][0]['unmap']>): number[] =>
  on(mapper.cpus[0]!, () => mapper.cpus[0]!.unmap(...ops));
const frame = (i: number) => granter.frames[i]!;
const held = (mfn: Mfn): number[] => [peek(countInfo(mfn)) & PGC_count_mask, peek(typeInfo(mfn)) & PGT_count_mask];
const refs = (i: number): number => peek(countInfo(frame(i))) & PGC_count_mask;
const types = (i: number): number => peek(typeInfo(frame(i))) & PGT_count_mask;
const mapOne = (ref: number, flags: number, slot: number): MapResult => map({ dom: 1, ref, flags, slot })[0]!;

const layFaults = (): void => {
  faultInit(run(() => arenaAlloc(CONTROL, peek(globals.arena), Math.ceil(FAULT_WORDS / 1024))));
};

describe('map and unmap', () => {
  it('give handle 0 first, and handle 0 is as good as any', () => {
    grant(granter, 8, 2, frame(0));
    expect(mapOne(8, RW, 3)).toEqual({ status: GNTST_okay, handle: 0, dev: frame(0) << 12 });
    expect(liveHandles(mapper.gt)).toEqual([0]);
    expect(unmap({ handle: 0, slot: 3 })).toEqual([GNTST_okay]);
    expect(liveHandles(mapper.gt)).toEqual([]);
    expect(unmap({ handle: 0, slot: 3 })).toEqual([GNTST_bad_handle]);
  });

  it('refuse ~0 and every number that is no live handle', () => {
    grant(granter, 8, 2, frame(0));
    mapOne(8, RW, 3);
    const statuses = unmap(
      { handle: INVALID_HANDLE | 0, slot: 3 },
      { handle: 1, slot: 3 },
      { handle: maptrackLimit(mapper.gt), slot: 3 },
      { handle: 0x7fffffff, slot: 3 },
    );
    expect(statuses).toEqual(Array(4).fill(GNTST_bad_handle));
    expect(liveHandles(mapper.gt)).toEqual([0]);
  });

  it('take one general reference, and one of type writable for a writable map, and give both back', () => {
    grant(granter, 8, 2, frame(0));
    const before = [refs(0), types(0)];
    const ro = mapOne(8, RO, 0).handle;
    expect([refs(0), types(0), claimsOf(granter.gt, 8)]).toEqual([before[0]! + 1, before[1], GTF_reading]);
    const rw = mapOne(8, RW, 1).handle;
    expect([refs(0), types(0)]).toEqual([before[0]! + 2, before[1]! + 1]);
    expect([pinOf(granter.gt, 8), claimsOf(granter.gt, 8)]).toEqual([0x0101, GTF_reading | GTF_writing]);
    expect(unmap({ handle: rw, slot: 1 })).toEqual([GNTST_okay]);
    expect([pinOf(granter.gt, 8), claimsOf(granter.gt, 8)]).toEqual([0x0100, GTF_reading]);
    expect(unmap({ handle: ro, slot: 0 })).toEqual([GNTST_okay]);
    expect([refs(0), types(0), pinOf(granter.gt, 8), claimsOf(granter.gt, 8)]).toEqual([...before, 0, 0]);
  });

  it('write the entry Xen writes: present, accessed, dirty, no-execute, for the kernel alone', () => {
    grant(granter, 8, 2, frame(0));
    mapOne(8, RW, 0);
    mapOne(8, RO, 1);
    expect([slotEntry(mapper, 0) & 0xfff, slotEntry(mapper, 1) & 0xfff]).toEqual([0x67, 0x65]);
    expect(slotEntry(mapper, 0) >>> 12).toBe(frame(0));
  });

  it('answer each operation of a batch, and a failing one stops none of the others', () => {
    grant(granter, 8, 2, frame(0));
    grant(granter, 9, 2, 0x7fffff);
    grant(granter, 10, 1, frame(1));
    const results = map(
      { dom: 1, ref: 8, flags: RW, slot: 0 },
      { dom: 1, ref: 8, flags: GNTMAP_readonly, slot: 1 },
      { dom: 5, ref: 8, flags: RW, slot: 1 },
      { dom: 1, ref: 9, flags: RW, slot: 1 },
      { dom: 1, ref: 10, flags: RW, slot: 1 },
      { dom: 1, ref: 1024, flags: RW, slot: 1 },
      { dom: 1, ref: 8, flags: RW, slot: 2 },
    );
    expect(results.map((r) => r.status)).toEqual([
      GNTST_okay,
      GNTST_bad_gntref,
      GNTST_bad_domain,
      GNTST_bad_page,
      GNTST_general_error,
      GNTST_bad_gntref,
      GNTST_okay,
    ]);
    expect([pinOf(granter.gt, 9), claimsOf(granter.gt, 9), pinOf(granter.gt, 10)]).toEqual([0, 0, 0]);
    const handles = [results[0]!.handle, results[6]!.handle];
    expect(liveHandles(mapper.gt).sort()).toEqual([...handles].sort());
    expect(unmap({ handle: handles[0]!, slot: 5 }, { handle: 99, slot: 0 }, { handle: handles[1]!, slot: 2 })).toEqual([
      GNTST_general_error,
      GNTST_bad_handle,
      GNTST_okay,
    ]);
    expect(liveHandles(mapper.gt)).toEqual([handles[0]]);
  });

  it('refuse the 129th pin of a kind, other kinds have their own count', () => {
    grant(granter, 8, 2, frame(0));
    const many = Array.from({ length: 128 }, (_, i) => ({ dom: 1, ref: 8, flags: RO, slot: i }));
    expect(new Set(map(...many).map((r) => r.status))).toEqual(new Set([GNTST_okay]));
    expect(mapOne(8, RO, 200).status).toBe(GNTST_general_error);
    expect(pinOf(granter.gt, 8)).toBe(128 << 8);
    expect(slotEntry(mapper, 200)).toBe(0);
    expect(mapOne(8, RW, 200).status).toBe(GNTST_okay);
    expect(pinOf(granter.gt, 8)).toBe((128 << 8) | 1);
    expect(liveHandles(mapper.gt)).toHaveLength(129);
  });

  it('answer no_space when the handles are used up, with nothing taken or lost', () => {
    poke(grantTable.maxMaptrackFrames(mapper.gt), 1);
    for (let r = 8; r < 11; r++) grant(granter, r, 2, frame(0));
    const before = refs(0);
    const many = Array.from({ length: 120 }, (_, i) => i);
    map(...many.map((i) => ({ dom: 1, ref: 8, flags: RO, slot: i })));
    map(...many.map((i) => ({ dom: 1, ref: 9, flags: RO, slot: 120 + i })));
    const last = map(...many.slice(0, 20).map((i) => ({ dom: 1, ref: 10, flags: RO, slot: 240 + i })));
    expect(last.map((r) => r.status)).toEqual([
      ...(Array(15).fill(GNTST_okay) as number[]),
      ...(Array(5).fill(GNTST_no_space) as number[]),
    ]);
    expect([refs(0), pinOf(granter.gt, 10)]).toEqual([before + 255, 15 << 8]);
    expect([liveHandles(mapper.gt).length, freeHandles(mapper.gt).length]).toEqual([255, 1]);
    expect(unmap({ handle: last[0]!.handle, slot: 240 })).toEqual([GNTST_okay]);
    expect(mapOne(10, RO, 240).status).toBe(GNTST_okay);
  });

  it('answer no_space when the machine has no memory for the maptrack, and work again when it has', () => {
    grant(granter, 8, 2, frame(0));
    const arena = peek(globals.arena);
    const chunks: number[] = [];
    for (let c = run(() => arenaAlloc(CONTROL, arena, 1)); c !== 0; c = run(() => arenaAlloc(CONTROL, arena, 1))) {
      chunks.push(c);
    }
    expect(mapOne(8, RO, 0).status).toBe(GNTST_no_space);
    expect([refs(0), pinOf(granter.gt, 8), maptrackLimit(mapper.gt)]).toEqual([1, 0, 0]);
  });

  it('undo device and host halves one at a time; the handle dies with the second', () => {
    grant(granter, 8, 2, frame(0));
    const both = mapOne(8, GNTMAP_host_map | GNTMAP_device_map, 0);
    expect([refs(0), types(0), pinOf(granter.gt, 8)]).toEqual([3, 2, 0x10001]);
    expect(unmap({ handle: both.handle, dev: both.dev ^ 0x1000 })).toEqual([GNTST_bad_dev_addr]);
    expect(unmap({ handle: both.handle, slot: 0 })).toEqual([GNTST_okay]);
    expect([refs(0), types(0), pinOf(granter.gt, 8), claimsOf(granter.gt, 8)]).toEqual([
      2,
      1,
      0x10000,
      GTF_reading | GTF_writing,
    ]);
    expect(liveHandles(mapper.gt)).toEqual([both.handle]);
    expect(unmap({ handle: both.handle, dev: both.dev })).toEqual([GNTST_okay]);
    expect([refs(0), types(0), pinOf(granter.gt, 8), claimsOf(granter.gt, 8)]).toEqual([1, 0, 0, 0]);
    expect(liveHandles(mapper.gt)).toEqual([]);
  });

  it('take no notice of an unmap without addresses: the handle stays', () => {
    grant(granter, 8, 2, frame(0));
    const { handle } = mapOne(8, RW, 0);
    expect(unmap({ handle })).toEqual([GNTST_okay]);
    expect(liveHandles(mapper.gt)).toEqual([handle]);
    expect(unmap({ handle, slot: 0 })).toEqual([GNTST_okay]);
  });

  it('by machine address want an aligned entry of a frame that is the caller’s and an L1 now', () => {
    grant(granter, 8, 2, frame(0));
    const flags = RW | GNTMAP_contains_pte;
    const before = held(mapper.l4);
    const at = (pte: number): number => map({ dom: 1, ref: 8, flags, pte })[0]!.status;
    expect(at(pteAddress(mapper.l1, 7))).toBe(GNTST_okay);
    expect(at(pteAddress(mapper.l1, 7) + 4)).toBe(GNTST_general_error);
    expect(at(pteAddress(mapper.l4, 7))).toBe(GNTST_general_error);
    expect(at(pteAddress(mapper.frames[0]!, 7))).toBe(GNTST_general_error);
    expect(at(pteAddress(granter.l1, 7))).toBe(GNTST_general_error);
    expect(pinOf(granter.gt, 8)).toBe(1);
    // Looking at what is no L1 has left no reference on it.
    expect(held(mapper.l4)).toEqual(before);
    expect(held(mapper.frames[0]!)).toEqual([1, 0]);
    const [handle] = liveHandles(mapper.gt);
    expect(unmap({ handle: handle!, slot: 7 })).toEqual([GNTST_general_error]);
    expect(unmap({ handle: handle!, pte: pteAddress(mapper.l1, 7) })).toEqual([GNTST_okay]);
  });

  it('leave a grant busy whose entry was overwritten; only an entry that maps the frame again lets it go', () => {
    grant(granter, 8, 2, frame(0));
    const { handle } = mapOne(8, RW, 0);
    expect(on(mapper.cpus[0]!, () => mapper.cpus[0]!.updateVa(slotVa(0), 0))).toBe(0);
    expect([refs(0), types(0)]).toEqual([1, 0]);
    expect([pinOf(granter.gt, 8), claimsOf(granter.gt, 8)]).toEqual([1, GTF_reading | GTF_writing]);
    expect(unmap({ handle, slot: 0 })).toEqual([GNTST_general_error]);
    expect(liveHandles(mapper.gt)).toEqual([handle]);
    const again = mapOne(8, RW, 1).handle;
    expect(unmap({ handle, slot: 1 })).toEqual([GNTST_okay]);
    expect([liveHandles(mapper.gt), pinOf(granter.gt, 8)]).toEqual([[again], 1]);
  });

  it('over a granted entry drop what it held, and keep its pin and handle', () => {
    grant(granter, 8, 2, frame(0));
    grant(granter, 9, 2, frame(1));
    const first = mapOne(8, RW, 0).handle;
    const second = mapOne(9, RW, 0).handle;
    expect([refs(0), types(0), pinOf(granter.gt, 8)]).toEqual([1, 0, 1]);
    expect(unmap({ handle: first, slot: 0 }, { handle: second, slot: 0 })).toEqual([GNTST_general_error, GNTST_okay]);
    expect(liveHandles(mapper.gt)).toEqual([first]);
  });

  it('undo nothing where the entry found differs in frame or in being writable (XSA-234)', () => {
    grant(granter, 8, 2, frame(0));
    grant(granter, 9, 2, frame(1));
    const rw = mapOne(8, RW, 0).handle;
    const ro = mapOne(8, RO, 1).handle;
    mapOne(9, RW, 2);
    expect(
      unmap({ handle: rw, slot: 1 }, { handle: ro, slot: 0 }, { handle: rw, slot: 2 }, { handle: rw, slot: 9 }),
    ).toEqual(Array(4).fill(GNTST_general_error));
    expect([refs(0), types(0), pinOf(granter.gt, 8)]).toEqual([3, 1, 0x0101]);
    expect(unmap({ handle: rw, slot: 0 }, { handle: ro, slot: 1 })).toEqual([GNTST_okay, GNTST_okay]);
  });

  it('with a replacement move the other entry there, and lose it when that fails', () => {
    const c = mapper.cpus[0]!;
    grant(granter, 8, 2, frame(0));
    const { handle } = mapOne(8, RW, 0);
    const own = mapper.frames[0]!;
    const mapOwn = (slot: number): number => on(c, () => c.updateVa(slotVa(slot), (own << 12) | 0x67));
    expect([mapOwn(4), held(own)]).toEqual([0, [2, 1]]);
    expect(on(c, () => replaceOp(c, handle, 0, 4))).toBe(GNTST_okay);
    expect([slotEntry(mapper, 0) >>> 12, slotEntry(mapper, 4)]).toEqual([own, 0]);
    expect([held(own), refs(0), types(0), liveHandles(mapper.gt)]).toEqual([[2, 1], 1, 0, []]);
    const again = mapOne(8, RW, 1).handle;
    expect([mapOwn(4), held(own)]).toEqual([0, [3, 2]]);
    expect(on(c, () => replaceOp(c, again, 7, 4))).toBe(GNTST_general_error);
    expect([slotEntry(mapper, 4), held(own), liveHandles(mapper.gt)]).toEqual([0, [2, 1], [again]]);
    expect(on(c, () => replaceOp(c, again, 1, undefined))).toBe(GNTST_okay);
    expect([refs(0), types(0), pinOf(granter.gt, 8)]).toEqual([1, 0, 0]);
  });

  it('do not look at the shared entry again while it is in use, but for the first that writes', () => {
    grant(granter, 8, 2, frame(0), GTF_permit_access | GTF_readonly);
    mapOne(8, RO, 0);
    grant(granter, 8, 0, 0x7fffff, 0);
    expect(mapOne(8, RO, 1).status).toBe(GNTST_okay);
    expect(slotEntry(mapper, 1) >>> 12).toBe(frame(0));
    grant(granter, 8, 2, frame(1), GTF_permit_access | GTF_readonly);
    expect(mapOne(8, RW, 2).status).toBe(GNTST_general_error);
  });

  it('fail an unmap as the plan says, at the place where Xen could refuse, and change nothing', () => {
    grant(granter, 8, 2, frame(0));
    const { handle } = mapOne(8, RW, 0);
    layFaults();
    faultPlan('gnttab.unmap', { status: GNTST_general_error, nth: 2 });
    expect(unmap({ handle: 77, slot: 0 }, { handle, slot: 5 })).toEqual([GNTST_bad_handle, GNTST_general_error]);
    const before = [refs(0), types(0), pinOf(granter.gt, 8), slotEntry(mapper, 0)];
    expect(unmap({ handle, slot: 0 })).toEqual([GNTST_general_error]);
    expect([refs(0), types(0), pinOf(granter.gt, 8), slotEntry(mapper, 0)]).toEqual(before);
    expect(faultCounts('gnttab.unmap')).toEqual({ seen: 2, hits: 1 });
    expect(unmap({ handle, slot: 0 })).toEqual([GNTST_okay]);
    expect([refs(0), types(0), pinOf(granter.gt, 8), slotEntry(mapper, 0)]).toEqual([1, 0, 0, 0]);
  });

  it('fail a map as the plan says, and give everything back', () => {
    grant(granter, 8, 2, frame(0));
    mapOne(8, RO, 0);
    layFaults();
    faultPlan('gnttab.map.install', { status: GNTST_general_error, nth: 1 });
    const before = [refs(0), types(0), pinOf(granter.gt, 8), claimsOf(granter.gt, 8), freeHandles(mapper.gt).length];
    expect(mapOne(8, RW | GNTMAP_device_map, 1).status).toBe(GNTST_general_error);
    expect([refs(0), types(0), pinOf(granter.gt, 8), claimsOf(granter.gt, 8), freeHandles(mapper.gt).length]).toEqual(
      before,
    );
    expect(slotEntry(mapper, 1)).toBe(0);
    expect(mapOne(8, RW | GNTMAP_device_map, 1).status).toBe(GNTST_okay);
  });

  it('in a debug hypervisor mark the entry, and punish whoever overwrites it', () => {
    boot({ debug: true });
    granter = makeDom({ domid: 1 });
    mapper = makeDom({ domid: 2 });
    grant(granter, 8, 2, frame(0));
    const { handle } = mapOne(8, RW, 0);
    mapOne(8, RW, 1);
    expect(peek(mfnWord(mapper.l1) + 1) & PAGE_GNTTAB_HI).not.toBe(0);
    expect(unmap({ handle, slot: 0 })).toEqual([GNTST_okay]);
    const c = mapper.cpus[0]!;
    expect(c.protections).toBe(0);
    expect(on(c, () => c.updateVa(slotVa(1), 0))).toBe(0);
    expect([c.protections, slotEntry(mapper, 1), pinOf(granter.gt, 8)]).toEqual([1, 0, 1]);
  });

  it('flush once for up to 32 operations of an unmap, and count what they did', () => {
    for (let r = 8; r < 78; r++) grant(granter, r, 2, frame(0));
    const slots = Array.from({ length: 70 }, (_, i) => i);
    const handles = map(...slots.map((i) => ({ dom: 1, ref: 8 + i, flags: RO, slot: i }))).map((r) => r.handle);
    const { cpu } = mapper.cpus[0]!.g;
    const before = peek(vcpu.nFlushes(cpu));
    expect(new Set(unmap(...slots.map((i) => ({ handle: handles[i]!, slot: i }))))).toEqual(new Set([GNTST_okay]));
    expect(peek(vcpu.nFlushes(cpu)) - before).toBe(3);
    expect([peek(vcpu.nGrantMaps(cpu)), peek(vcpu.nGrantUnmaps(cpu))]).toEqual([70, 70]);
    expect(refs(0)).toBe(1);
  });

  it('continue a preempted batch where it stopped, however often', () => {
    boot({ quantum: 1 });
    granter = makeDom({ domid: 1 });
    mapper = makeDom({ domid: 2 });
    for (let r = 8; r < 78; r++) grant(granter, r, 2, frame(0));
    const slots = Array.from({ length: 70 }, (_, i) => i);
    const { cpu } = mapper.cpus[0]!.g;
    const before = peek(vcpu.nContinuations(cpu));
    const results = map(...slots.map((i) => ({ dom: 1, ref: 8 + i, flags: RO, slot: i })));
    expect(new Set(results.map((r) => r.handle)).size).toBe(70);
    expect(peek(vcpu.nContinuations(cpu)) - before).toBe(69);
    const statuses = unmap(...slots.map((i) => ({ handle: results[i]!.handle, slot: i })));
    expect(new Set(statuses)).toEqual(new Set([GNTST_okay]));
    expect(peek(vcpu.nContinuations(cpu)) - before).toBe(71);
    expect(pinOf(granter.gt, 40)).toBe(0);
  });

  it('answer errnos for what is wrong with the call itself', () => {
    const c = mapper.cpus[0]!;
    const call = (cmd: number, count: number, at = 0): number => on(c, () => c.grantOp(cmd, count, at));
    expect(call(GNTTABOP_map_grant_ref, -1)).toBe(-EINVAL);
    expect(call(GNTTABOP_map_grant_ref | 0x1000, 1)).toBe(-EINVAL);
    expect(call(GNTTABOP_map_grant_ref, 1, 1024)).toBe(-EFAULT);
    expect(call(GNTTABOP_map_grant_ref, 0)).toBe(0);
    expect(call(3, 1)).toBe(-ENOSYS);
    expect(call(99, 1)).toBe(-ENOSYS);
  });

  it('complete what was undone before an argument faulted', () => {
    grant(granter, 8, 2, frame(0));
    const { handle } = mapOne(8, RW, 0);
    const c = mapper.cpus[0]!;
    // The first structure ends with the mapped page, the second lies beyond it.
    const at = 1024 - 6;
    c.put(at, slotVa(0) | 0);
    c.put(at + 1, Math.floor(slotVa(0) / 4294967296) | 0xffff0000 | 0);
    c.put(at + 2, 0);
    c.put(at + 3, 0);
    c.put(at + 4, handle);
    expect(on(c, () => c.grantOp(GNTTABOP_unmap_grant_ref, 2, at))).toBe(-EFAULT);
    expect([refs(0), types(0), pinOf(granter.gt, 8), claimsOf(granter.gt, 8)]).toEqual([1, 0, 0, 0]);
    expect(liveHandles(mapper.gt)).toEqual([]);
  });
});
