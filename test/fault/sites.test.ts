/** Each site of an operation: the planned answer, and nothing of the operation done; the next attempt is as if none had been. */
import { beforeEach, describe, expect, it } from 'vitest';
import { DOMID_SELF, mfnWord, type Mfn } from '../../src/abi/frames.js';
import { GNTMAP_host_map, GTF_accept_transfer } from '../../src/abi/grant.js';
import { HYPERVISOR_event_channel_op, HYPERVISOR_memory_op } from '../../src/abi/hypercall.js';
import { EVTCHNOP_alloc_unbound, EVTCHNOP_bind_interdomain, EVTCHNOP_send } from '../../src/abi/event-channel.js';
import { SHARED_INFO_PENDING } from '../../src/abi/event-channel.js';
import { XENMEM_decrease_reservation, XENMEM_increase_reservation } from '../../src/abi/memory.js';
import { answerWord } from '../../src/fault/about.js';
import { faultCounts, faultInit, faultPlan, FAULT_WORDS } from '../../src/fault/plan.js';
import type { SiteName } from '../../src/fault/sites.js';
import { destroyDomain } from '../../src/hypervisor/domctl.js';
import { domain, findDomain, vcpuDead } from '../../src/hypervisor/domain.js';
import { sharedInfoMfn } from '../../src/hypervisor/event-port.js';
import { globals } from '../../src/hypervisor/globals.js';
import { TLBS } from '../../src/machine/layout.js';
import { words } from '../../src/ops/memory.js';
import { arenaAlloc, CHUNK } from '../../src/shm/arena.js';
import { actor, CONTROL, MODE_OFF } from '../../src/sync/actor.js';
import { peek, run } from '../../src/sync/primitives.js';
import { VcpuStopped } from '../../src/vcpu/stopped.js';
import * as grants from '../hypervisor/grant/lab.js';
import { pte, RO, RW, single } from '../hypervisor/machine.js';

/** Answers -ENOSYS, and passes the gate like any other. */
const NO_HYPERCALL = 49;

const layFaults = (): void => {
  faultInit(run(() => arenaAlloc(CONTROL, peek(globals.arena), Math.ceil(FAULT_WORDS / CHUNK))));
};

/** The machine's memory and frame records but for one frame, where arguments and answers lie. */
function picture(arguments_: number): Int32Array {
  const all = words.slice(0, TLBS);
  all.fill(0, mfnWord(arguments_ as Mfn), mfnWord(arguments_ as Mfn) + 1024);
  return all;
}

/** Addresses of the first words that differ. */
function changed(now: Int32Array, before: Int32Array): number[] {
  const out: number[] = [];
  for (let i = 0; i < now.length && out.length < 8; i++) if (now[i] !== before[i]) out.push(i);
  return out;
}

describe('grant operations', () => {
  let granter: grants.Dom;
  let mapper: grants.Dom;
  beforeEach(() => {
    grants.boot();
    granter = grants.makeDom({ domid: 1 });
    mapper = grants.makeDom({ domid: 2 });
    for (const ref of [8, 9]) grants.grant(granter, ref, 2, granter.frames[0]!);
    grants.grant(granter, 10, 2, 0, GTF_accept_transfer);
  });
  const c = (): grants.Guest => mapper.cpus[0]!;
  const map = (slot: number): { status: number; handle: number } =>
    grants.on(c(), () => c().map({ dom: 1, ref: 8, flags: GNTMAP_host_map, slot }))[0]!;
  const own = { dom: DOMID_SELF, mfn: 0, offset: 0 };

  const OPS: readonly [SiteName, string, () => () => number][] = [
    ['gnttab.map', 'no_space', () => () => map(1).status],
    [
      'gnttab.unmap',
      'eagain',
      () => {
        const { handle } = map(0);
        return () => grants.on(c(), () => c().unmap({ handle, slot: 0 }))[0]!;
      },
    ],
    [
      'gnttab.unmap_and_replace',
      'general_error',
      () => {
        const { handle } = map(0);
        return () => grants.on(c(), () => grants.replaceOp(c(), handle, 0, 3));
      },
    ],
    [
      'gnttab.copy',
      'bad_page',
      () => () =>
        grants.on(c(), () =>
          grants.copyOp(c(), [
            { source: { dom: 1, ref: 9, offset: 0 }, dest: { ...own, mfn: mapper.frames[1]! }, length: 64 },
          ]),
        )[0]!,
    ],
    ['gnttab.transfer', 'bad_page', () => () => grants.on(c(), () => grants.transferOp(c(), mapper.frames[2]!, 1, 10))],
  ];

  it.each(OPS)('%s answers %s and changes nothing; then it goes through', (site, answer, prepare) => {
    const attempt = prepare();
    layFaults();
    faultPlan(site, { status: answerWord(site, answer)!, nth: 1 });
    grants.on(c(), function* () {
      yield* c().g.hypercall(NO_HYPERCALL);
    });
    const before = picture(c().argsMfn);
    expect(attempt()).toBe(answerWord(site, answer));
    expect(changed(picture(c().argsMfn), before)).toEqual([]);
    expect(attempt()).toBe(0);
    expect(faultCounts(site)).toEqual({ seen: 2, hits: 1 });
  });

  it('one element of a batch fails, the others do not', () => {
    layFaults();
    faultPlan('gnttab.map', { status: answerWord('gnttab.map')!, nth: 2 });
    const flags = GNTMAP_host_map;
    const r = grants.on(c(), () => c().map(...[0, 1, 2].map((slot) => ({ dom: 1, ref: 8, flags, slot }))));
    expect(r.map((x) => x.status)).toEqual([0, -1, 0]);
    expect([0, 1, 2].map((i) => grants.slotEntry(mapper, i) !== 0)).toEqual([true, false, true]);
    faultPlan('gnttab.map', { status: answerWord('gnttab.map')!, ref: 9 });
    const s = grants.on(c(), () => c().map(...[8, 9, 8].map((ref, i) => ({ dom: 1, ref, flags, slot: 4 + i }))));
    expect(s.map((x) => x.status)).toEqual([0, -1, 0]);
  });

  describe('a vCPU', () => {
    it('that the plan kills dies before its n-th guest access', () => {
      layFaults();
      faultPlan('vcpu.dead', { status: 1, nth: 3 });
      const read: number[] = [];
      expect(() =>
        grants.on(c(), function* () {
          for (let i = 0; i < 5; i++) read.push(yield* c().g.load32(c().va));
        }),
      ).toThrow(VcpuStopped);
      expect([read.length, peek(actor.mode(c().g.cpu)), vcpuDead(c().g.cpu)]).toEqual([2, MODE_OFF, true]);
    });

    it('inside a hypercall dies at its next preemption check: what was done stays done', () => {
      layFaults();
      // Asked once on the way in.
      faultPlan('vcpu.dead', { status: 1, nth: 1 });
      const flags = GNTMAP_host_map;
      expect(() =>
        grants.on(c(), () => c().map(...[0, 1, 2].map((slot) => ({ dom: 1, ref: 8, flags, slot })))),
      ).toThrow(VcpuStopped);
      expect([0, 1, 2].map((i) => grants.slotEntry(mapper, i) !== 0)).toEqual([true, false, false]);
      const again = run(() => findDomain(2));
      while (run(() => destroyDomain(CONTROL, again as never)) !== 0);
      expect(peek(domain.totPages(granter.d))).toBeGreaterThan(0);
    });

    it('whose domain is to be destroyed stops there and asks the control plane', () => {
      layFaults();
      faultPlan('domain.destroy', { status: 1, nth: 2 });
      expect(() =>
        grants.on(c(), function* () {
          for (let i = 0; i < 5; i++) yield* c().g.load32(c().va);
        }),
      ).toThrow(VcpuStopped);
      expect([granter.d, mapper.d].map((d) => peek(domain.destroyAsked(d)))).toEqual([0, 1]);
    });

    it('that stands aside comes back and has lost nothing', () => {
      layFaults();
      faultPlan('vcpu.pause', { status: 10, nth: 2 });
      expect(
        grants.on(c(), function* () {
          yield* c().g.store32(c().va, 77);
          return yield* c().g.load32(c().va);
        }),
      ).toBe(77);
      expect(faultCounts('vcpu.pause').hits).toBe(1);
    });
  });

  describe('an event', () => {
    const send = (d: grants.Dom, ...w: number[]): number => {
      const g = d.cpus[0]!;
      w.slice(1).forEach((x, i) => {
        g.put(i, x);
      });
      g.g.arg(0, w[0]!, 0);
      g.g.argVa(1, g.va);
      return grants.on(g, () => g.g.hypercall(HYPERVISOR_event_channel_op));
    };
    let here: number;
    const word = (): number => mfnWord(sharedInfoMfn(granter.d)) + SHARED_INFO_PENDING;
    const pending = (): boolean => peek(word()) !== 0;
    beforeEach(() => {
      expect(send(granter, EVTCHNOP_alloc_unbound, DOMID_SELF | (2 << 16), 0)).toBe(0);
      expect(send(mapper, EVTCHNOP_bind_interdomain, 1, granter.cpus[0]!.get(1), 0)).toBe(0);
      here = mapper.cpus[0]!.get(2);
      words[word()] = 0;
      layFaults();
    });

    it('is lost: its sender is told that all went well', () => {
      faultPlan('event.lost', { status: 1, nth: 1 });
      expect([send(mapper, EVTCHNOP_send, here), pending()]).toEqual([0, false]);
      expect([send(mapper, EVTCHNOP_send, here), pending()]).toEqual([0, true]);
    });

    it('comes late: at one of the next ways out of the hypervisor, at the latest when the vCPU halts', () => {
      faultPlan('event.late', { status: 2, nth: 1 });
      expect([send(mapper, EVTCHNOP_send, here), pending()]).toEqual([0, false]);
      grants.on(c(), () => c().g.hypercall(NO_HYPERCALL));
      expect(pending()).toBe(true);
      words[word()] = 0;
      faultPlan('event.late', { status: 200, nth: 1 });
      expect([send(mapper, EVTCHNOP_send, here), pending()]).toEqual([0, false]);
      run(() => c().g.halt());
      expect(pending()).toBe(true);
    });

    it('comes twice', () => {
      faultPlan('event.duplicated', { status: 1, nth: 1 });
      faultPlan('event.late', null);
      grants.on(c(), function* () {
        yield* c().g.hypercall(NO_HYPERCALL);
      });
      expect(send(mapper, EVTCHNOP_send, here)).toBe(0);
      expect(pending()).toBe(true);
    });
  });
});

describe('page-table operations', () => {
  const layered = (): { d: ReturnType<typeof single>; table: Mfn; frame: Mfn } => {
    const d = single();
    const [table, frame] = d.frames(2) as [Mfn, Mfn];
    return { d, table, frame };
  };

  it.each([
    ['mmuext.pin', 'EBUSY', 1],
    ['mmuext.unpin', 'EINVAL', 1],
    ['mmu_update', 'EPERM', 1],
    ['update_va_mapping', 'EBUSY', 1],
  ] as const)('%s answers %s and changes nothing; then it goes through', (site, answer, nth) => {
    const { d, table, frame } = layered();
    if (site === 'mmuext.unpin' || site === 'mmu_update') expect(d.pin(1, table)).toBe(0);
    layFaults();
    faultPlan(site, { status: answerWord(site, answer)!, nth });
    const attempt = (): number => {
      if (site === 'mmuext.pin') return d.pin(1, table);
      if (site === 'mmuext.unpin') return d.unpin(table);
      return site === 'mmu_update' ? d.set(table, 3, pte(frame, RW)) : d.map(20, pte(frame, RO));
    };
    const at = (d.wordAt(0) / 1024) | 0;
    const before = picture(at);
    expect(attempt()).toBe(answerWord(site, answer));
    expect(changed(picture(at), before)).toEqual([]);
    expect(attempt()).toBe(0);
  });

  it('mmu_update stops at the request that fails, also where runs of them are made in one go', () => {
    const { d, table, frame } = layered();
    expect(d.pin(1, table)).toBe(0);
    layFaults();
    faultPlan('mmu_update', { status: answerWord('mmu_update')!, nth: 3 });
    const five = [1, 2, 3, 4, 5].map((i) => ({ t: table, i, v: pte(frame, RW) }));
    expect(d.update(five)).toEqual([-22, 2]);
  });

  it('memory_op answers how many extents came before, the heap how many frames it had', () => {
    const { d } = layered();
    layFaults();
    const reserve = (cmd: number, n: number): number => {
      d.wide(16, d.at(64));
      d.wide(18, n);
      [0, 0, DOMID_SELF, 0].forEach((v, i) => {
        d.word(20 + i, v);
      });
      return d.call(HYPERVISOR_memory_op, cmd, d.at(16));
    };
    faultPlan('memory_op', { status: 1, nth: 3 });
    expect(reserve(XENMEM_increase_reservation, 5)).toBe(2);
    faultPlan('memory_op', null);
    faultPlan('page.alloc', { status: -12, nth: 4 });
    expect(reserve(XENMEM_increase_reservation, 5)).toBe(3);
    faultPlan('memory_op', { status: 1, nth: 2 });
    expect(reserve(XENMEM_decrease_reservation, 3)).toBe(1);
  });

  it('a preemption check says yes as planned, and the call ends as if it had not', () => {
    const { d, table, frame } = layered();
    layFaults();
    expect(d.pin(1, table)).toBe(0);
    faultPlan('hypercall.preempt', { status: 1 });
    const five = [1, 2, 3, 4, 5].map((i) => ({ t: table, i, v: pte(frame, RW) }));
    expect(d.update(five)).toEqual([0, 5]);
    expect(faultCounts('hypercall.preempt').hits).toBeGreaterThanOrEqual(4);
  });
});

describe('a dying domain', () => {
  it('hands its memory back as many looks later as planned', () => {
    grants.boot();
    const d = grants.makeDom({ domid: 1 });
    layFaults();
    faultPlan('memory.late', { status: 3 });
    let looks = 0;
    while (run(() => destroyDomain(CONTROL, d.d)) !== 0) looks++;
    expect(looks).toBe(3);
    expect(run(() => findDomain(1))).toBe(0);
  });
});
