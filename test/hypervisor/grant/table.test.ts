/** The table itself: growth, versions, swaps, queries, cache flushes, and its end. */
import { beforeEach, describe, expect, it } from 'vitest';
import { EAGAIN, EBUSY, EINVAL, ENOSYS, EOPNOTSUPP, ERANGE } from '../../../src/abi/errno.js';
import { DOMID_SELF, mfnWord, vaHi, vaLo, type Va } from '../../../src/abi/frames.js';
import * as gnt from '../../../src/abi/grant.js';
import { arenaAvailable } from '../../../src/shm/arena.js';
import { destroyDomain } from '../../../src/hypervisor/domctl.js';
import { domain, findDomain } from '../../../src/hypervisor/domain.js';
import { globals } from '../../../src/hypervisor/globals.js';
import { grantTable, statusFramesFor } from '../../../src/hypervisor/grant/table.js';
import { reapDomains } from '../../../src/hypervisor/reap.js';
import { countInfo, ownerOf, ownerWord, PGC_count_mask } from '../../../src/machine/frame.js';
import { vcpu } from '../../../src/machine/cpu-record.js';
import { CONTROL } from '../../../src/sync/actor.js';
import { peek, poke, run } from '../../../src/sync/primitives.js';
import { argsVa, boot, grant, makeDom, on, setVersion, slotVa, transferOp, type Dom } from './lab.js';
import { claimsOf, entriesOf, entryWord, liveHandles, pinOf } from './tables.js';

let d: Dom;
beforeEach(() => {
  boot();
  d = makeDom({ domid: 1, maxGrantFrames: 20 });
});

const LIST = 512;
/** setup_table or get_status_frames for `nr` frames of the caller's; answers the status and the list. */
function frames(
  who: Dom,
  cmd: number,
  nr: number,
  dom: number = DOMID_SELF,
): { rc: number; status: number; list: number[] } {
  const c = who.cpus[0]!;
  const list = (argsVa(0) + 4 * LIST) as Va;
  const [lo, hi] = [vaLo(list), vaHi(list)];
  const setup = cmd === gnt.GNTTABOP_setup_table;
  (setup ? [dom, nr, 0, 0, lo, hi] : [nr, dom, lo, hi]).forEach((v, i) => {
    c.put(i, v);
  });
  const rc = on(c, () => c.grantOp(cmd, 1));
  const status = setup ? (c.get(2) << 16) >> 16 : c.get(1) >> 16;
  return { rc, status, list: Array.from({ length: Math.min(nr, 64) }, (_, i) => c.get(LIST + 2 * i)) };
}
const setup = (who: Dom, nr: number, dom?: number) => frames(who, gnt.GNTTABOP_setup_table, nr, dom);
const statusFrames = (who: Dom, nr: number) => frames(who, gnt.GNTTABOP_get_status_frames, nr);

describe('a grant table', () => {
  it('grows to what is asked, each frame the domain’s own, and keeps what was in it', () => {
    grant(d, 9, 2, d.frames[0]!);
    const { rc, status, list } = setup(d, 5);
    expect([rc, status, new Set(list).size]).toEqual([0, gnt.GNTST_okay, 5]);
    for (const mfn of list) expect(ownerOf(peek(ownerWord(mfn as never)))).toBe(1);
    expect(entriesOf(d.gt)).toBe(5 * 512);
    expect(peek(entryWord(d.gt, 9) + 1)).toBe(d.frames[0]);
    expect(setup(d, 2).list).toEqual(list.slice(0, 2));
    expect(entriesOf(d.gt)).toBe(5 * 512);
    expect(setup(d, 21).status).toBe(gnt.GNTST_general_error);
  });

  it('serves grants of every frame it has grown to', () => {
    const m = makeDom({ domid: 2 });
    setup(d, 3);
    grant(d, 1300, 2, d.frames[0]!);
    const op = { dom: 1, ref: 1300, flags: gnt.GNTMAP_host_map, slot: 0 };
    expect(on(m.cpus[0]!, () => m.cpus[0]!.map(op))[0]!.status).toBe(0);
    expect(pinOf(d.gt, 1300)).toBe(1);
    expect(on(m.cpus[0]!, () => m.cpus[0]!.map({ ...op, ref: 1536 }))[0]!.status).toBe(gnt.GNTST_bad_gntref);
  });

  it('stays as it was when the machine has no frames to grow by', () => {
    const arena = arenaAvailable(peek(globals.arena));
    const head = peek(globals.freeHead);
    poke(globals.freeHead, 0);
    expect(setup(d, 4).status).toBe(gnt.GNTST_general_error);
    poke(globals.freeHead, head);
    expect([entriesOf(d.gt), arenaAvailable(peek(globals.arena))]).toEqual([512, arena]);
    expect(setup(d, 4).status).toBe(gnt.GNTST_okay);
  });

  it('is told to its owner, and to the control domain, not to others', () => {
    const other = makeDom({ domid: 2 });
    const control = makeDom({ domid: 0, privileged: true });
    expect(setup(other, 1, 1).status).toBe(gnt.GNTST_permission_denied);
    expect(setup(control, 1, 1).list).toEqual(setup(d, 1).list);
    expect(setup(control, 1, 77).status).toBe(gnt.GNTST_bad_domain);
  });
});

describe('a change of version', () => {
  it('to 2 gives status frames, keeps the first eight entries with their claims, and empties the rest', () => {
    const m = makeDom({ domid: 2 });
    setup(d, 9);
    grant(d, 3, 2, d.frames[0]!);
    grant(d, 20, 2, d.frames[1]!);
    on(m.cpus[0]!, () => m.cpus[0]!.map({ dom: 1, ref: 3, flags: gnt.GNTMAP_host_map, slot: 0 }));
    expect(setVersion(d, 2)).toBe(0);
    expect([entriesOf(d.gt), peek(grantTable.nrStatusFrames(d.gt))]).toEqual([9 * 256, statusFramesFor(9)]);
    const at = entryWord(d.gt, 3);
    expect([peek(at), peek(at + 2), peek(at + 3)]).toEqual([gnt.GTF_permit_access | (2 << 16), d.frames[0], 0]);
    expect(claimsOf(d.gt, 3)).toBe(gnt.GTF_reading | gnt.GTF_writing);
    expect(peek(entryWord(d.gt, 20))).toBe(0);
    expect(setVersion(d, 1)).toBe(0);
    const flags = gnt.GTF_permit_access | gnt.GTF_reading | gnt.GTF_writing;
    expect([peek(entryWord(d.gt, 3)), peek(entryWord(d.gt, 3) + 1)]).toEqual([flags | (2 << 16), d.frames[0]]);
    const [handle] = liveHandles(m.gt);
    expect(on(m.cpus[0]!, () => m.cpus[0]!.unmap({ handle: handle!, slot: 0 }))).toEqual([0]);
    expect(claimsOf(d.gt, 3)).toBe(0);
  });

  it('is refused while an entry from 8 on is in use', () => {
    const m = makeDom({ domid: 2 });
    grant(d, 8, 2, d.frames[0]!);
    const [r] = on(m.cpus[0]!, () => m.cpus[0]!.map({ dom: 1, ref: 8, flags: gnt.GNTMAP_host_map, slot: 0 }));
    expect(setVersion(d, 2)).toBe(-EBUSY);
    on(m.cpus[0]!, () => m.cpus[0]!.unmap({ handle: r!.handle, slot: 0 }));
    expect(setVersion(d, 2)).toBe(0);
  });

  it('back to 1 is refused while a status frame is mapped, and the frame stays the domain’s (XSA-255)', () => {
    expect(setVersion(d, 2)).toBe(0);
    const [mfn] = statusFrames(d, 1).list;
    const c = d.cpus[0]!;
    expect(on(c, () => c.updateVa(slotVa(0), (mfn! << 12) | 0x67))).toBe(0);
    expect(setVersion(d, 1)).toBe(-EBUSY);
    expect(peek(countInfo(mfn as never)) & PGC_count_mask).toBe(2);
    expect(statusFrames(d, 1)).toEqual({ rc: 0, status: 0, list: [mfn] });
    expect(on(c, () => c.updateVa(slotVa(0), 0))).toBe(0);
    expect(setVersion(d, 1)).toBe(0);
    expect(statusFrames(d, 1).status).toBe(gnt.GNTST_general_error);
  });

  it('back to 1 that is refused for a later status frame leaves the earlier ones as they were', () => {
    setup(d, 9);
    expect(setVersion(d, 2)).toBe(0);
    const { list } = statusFrames(d, 2);
    const c = d.cpus[0]!;
    expect(on(c, () => c.updateVa(slotVa(0), (list[1]! << 12) | 0x67))).toBe(0);
    expect(setVersion(d, 1)).toBe(-EBUSY);
    expect(
      list.map((mfn) => [ownerOf(peek(ownerWord(mfn as never))), peek(countInfo(mfn as never)) & PGC_count_mask]),
    ).toEqual([
      [1, 1],
      [1, 2],
    ]);
    expect(on(c, () => c.updateVa(slotVa(1), (list[0]! << 12) | 0x67))).toBe(0);
  });

  it('back to 1 is refused for what version 1 cannot say, and while a version 2 copy runs', () => {
    expect(setVersion(d, 2)).toBe(0);
    poke(entryWord(d.gt, 2), gnt.GTF_transitive);
    expect(setVersion(d, 1)).toBe(-ERANGE);
    poke(entryWord(d.gt, 2), gnt.GTF_permit_access);
    poke(entryWord(d.gt, 2) + 3, 1);
    expect(setVersion(d, 1)).toBe(-ERANGE);
    poke(entryWord(d.gt, 2) + 3, 0);
    poke(grantTable.nrV2Ops(d.gt), 1);
    expect(setVersion(d, 1)).toBe(-EAGAIN);
    poke(grantTable.nrV2Ops(d.gt), 0);
    expect(setVersion(d, 1)).toBe(0);
  });

  it('to another number is refused, and to 2 where the domain may not have it', () => {
    expect([setVersion(d, 3), setVersion(d, 0), setVersion(d, 1)]).toEqual([-EINVAL, -EINVAL, 0]);
    poke(grantTable.maxVersion(d.gt), 1);
    expect(setVersion(d, 2)).toBe(-ENOSYS);
  });
});

describe('a swap', () => {
  const swap = (a: number, b: number): number => {
    const c = d.cpus[0]!;
    c.put(0, a);
    c.put(1, b);
    expect(on(c, () => c.grantOp(gnt.GNTTABOP_swap_grant_ref, 1))).toBe(0);
    return (c.get(2) << 16) >> 16;
  };

  it('changes two idle entries, in both versions', () => {
    grant(d, 9, 2, d.frames[0]!);
    expect([swap(9, 11), swap(9, 9), swap(9, 512)]).toEqual([0, 0, gnt.GNTST_bad_gntref]);
    expect([peek(entryWord(d.gt, 9)), peek(entryWord(d.gt, 11) + 1)]).toEqual([0, d.frames[0]]);
    setVersion(d, 2);
    poke(entryWord(d.gt, 9) + 2, 77);
    expect(swap(9, 11)).toBe(0);
    expect(peek(entryWord(d.gt, 11) + 2)).toBe(77);
  });

  it('is put off while one of them is in use', () => {
    const m = makeDom({ domid: 2 });
    grant(d, 9, 2, d.frames[0]!);
    on(m.cpus[0]!, () => m.cpus[0]!.map({ dom: 1, ref: 9, flags: gnt.GNTMAP_host_map, slot: 0 }));
    expect([swap(9, 11), swap(11, 9)]).toEqual([gnt.GNTST_eagain, gnt.GNTST_eagain]);
  });
});

describe('a transfer', () => {
  const offer = (ref: number, from: number): void => {
    poke(entryWord(d.gt, ref) + 1, 0x123);
    poke(entryWord(d.gt, ref), gnt.GTF_accept_transfer | (from << 16));
  };
  const totals = (...doms: Dom[]): number[] => doms.map((x) => peek(domain.totPages(x.d)));

  it('hands the frame over, and tells the taker which', () => {
    const m = makeDom({ domid: 2 });
    const [giver = 0, taker = 0] = totals(m, d);
    offer(9, 2);
    expect(on(m.cpus[0]!, () => transferOp(m.cpus[0]!, m.frames[0]!, 1, 9))).toBe(gnt.GNTST_okay);
    expect([ownerOf(peek(ownerWord(m.frames[0]!))), totals(m, d)]).toEqual([1, [giver - 1, taker + 1]]);
    const done = gnt.GTF_accept_transfer | gnt.GTF_transfer_committed | gnt.GTF_transfer_completed;
    expect([peek(entryWord(d.gt, 9)), peek(entryWord(d.gt, 9) + 1)]).toEqual([done | (2 << 16), m.frames[0]]);
  });

  it('that nobody accepts loses the frame, and the taker has room for as many as before', () => {
    const m = makeDom({ domid: 2 });
    const [giver = 0, taker = 0] = totals(m, d);
    const free = peek(globals.freeFrames);
    offer(9, 3);
    const give = (i: number, dom: number, ref: number): number =>
      on(m.cpus[0]!, () => transferOp(m.cpus[0]!, m.frames[i]!, dom, ref));
    expect([give(0, 1, 9), give(1, 1, 4000), give(2, 77, 9)]).toEqual([
      gnt.GNTST_general_error,
      gnt.GNTST_general_error,
      gnt.GNTST_bad_domain,
    ]);
    expect([totals(m, d), peek(globals.freeFrames)]).toEqual([[giver - 3, taker], free + 3]);
  });

  it('of a frame that is mapped, or somebody else’s, is refused and leaves it', () => {
    const m = makeDom({ domid: 2 });
    offer(9, 2);
    const c = m.cpus[0]!;
    on(c, () => c.updateVa(slotVa(0), (m.frames[0]! << 12) | 0x65));
    expect(on(c, () => transferOp(c, m.frames[0]!, 1, 9))).toBe(gnt.GNTST_bad_page);
    expect(on(c, () => transferOp(c, d.frames[0]!, 1, 9))).toBe(gnt.GNTST_bad_page);
    expect(peek(countInfo(m.frames[0]!)) & PGC_count_mask).toBe(2);
  });
});

describe('a cache flush', () => {
  const flush = (who: Dom, mfn: number, how: number, offset = 0, length = 64): number => {
    const c = who.cpus[0]!;
    [mfn << 12, mfn >>> 20, offset | (length << 16), how].forEach((v, i) => {
      c.put(i, v);
    });
    return on(c, () => c.grantOp(gnt.GNTTABOP_cache_flush, 1));
  };

  it('of one’s own frame is done, of another’s only while it is mapped', () => {
    const m = makeDom({ domid: 2 });
    grant(d, 9, 2, d.frames[0]!);
    expect([flush(d, d.frames[0]!, 1), flush(d, d.frames[0]!, 2)]).toEqual([0, -EOPNOTSUPP]);
    expect(flush(m, d.frames[0]!, 1)).toBe(-EINVAL);
    on(m.cpus[0]!, () => m.cpus[0]!.map({ dom: 1, ref: 9, flags: gnt.GNTMAP_host_map, slot: 0 }));
    expect([flush(m, d.frames[0]!, 1), flush(m, d.frames[0]!, 3), flush(m, d.frames[1]!, 1)]).toEqual([0, 0, -EINVAL]);
    expect(flush(d, d.frames[0]!, 1, 4090, 10)).toBe(-EINVAL);
  });

  it('goes on where its search was preempted', () => {
    boot({ quantum: 1 });
    d = makeDom({ domid: 1, maxGrantFrames: 20 });
    const m = makeDom({ domid: 2 });
    setup(d, 20);
    grant(d, 9000, 2, d.frames[0]!);
    on(m.cpus[0]!, () => m.cpus[0]!.map({ dom: 1, ref: 9000, flags: gnt.GNTMAP_host_map, slot: 0 }));
    const { cpu } = m.cpus[0]!.g;
    const before = peek(vcpu.nContinuations(cpu));
    expect(flush(m, d.frames[0]!, 1)).toBe(0);
    expect(peek(vcpu.nContinuations(cpu)) - before).toBe(2);
  });
});

describe('the end of a domain', () => {
  it('gives back its table, its maptrack and its event channels, to the last chunk and frame', () => {
    const arena = arenaAvailable(peek(globals.arena));
    const free = peek(globals.freeFrames);
    const m = makeDom({ domid: 2 });
    setup(m, 2);
    setVersion(m, 2);
    grant(d, 9, 2, d.frames[0]!);
    on(m.cpus[0]!, () => m.cpus[0]!.map({ dom: 1, ref: 9, flags: gnt.GNTMAP_host_map, slot: 0 }));
    m.cpus.forEach((c) => {
      run(() => c.g.halt());
    });
    expect(run(() => destroyDomain(CONTROL, m.d))).toBe(0);
    expect(run(() => findDomain(2))).toBe(0);
    run(() => reapDomains(CONTROL));
    expect([arenaAvailable(peek(globals.arena)), peek(globals.freeFrames)]).toEqual([arena, free]);
    expect([pinOf(d.gt, 9), claimsOf(d.gt, 9), peek(countInfo(d.frames[0]!)) & PGC_count_mask]).toEqual([0, 0, 1]);
    expect(mfnWord(d.frames[0]!)).toBeGreaterThan(0);
  });
});
