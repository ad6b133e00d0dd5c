/** Life of domains: creation, pauses, destruction, zombies, what the control domain sees ([X64], [X65]; tapes RULES). */
import { beforeEach, describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import * as ctl from '../../src/abi/domctl.js';
import { EACCES, EEXIST, EINVAL, EPERM, ESRCH } from '../../src/abi/errno.js';
import { DOMID_SELF, type Mfn } from '../../src/abi/frames.js';
import { HYPERVISOR_domctl } from '../../src/abi/hypercall.js';
import { buildDomain } from '../../src/hypervisor/boot.js';
import { domainCreate } from '../../src/hypervisor/create.js';
import { domain, domainCrash, CRASH_BY_GUEST, findDomain, vcpuDead } from '../../src/hypervisor/domain.js';
import { globals } from '../../src/hypervisor/globals.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { NO_OWNER } from '../../src/machine/frame.js';
import { actor, CONTROL, cpuAt, MODE_BLOCKED, MODE_OFF, REQ_KILL } from '../../src/sync/actor.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import { BAD_MFN, machine, owner, pair, pte, put, refs, RO, RW, state, type Dom } from './machine.js';
import { recount, totals } from './recount.js';

let p: Dom;
let q: Dom;
beforeEach(() => {
  [p, q] = pair();
});
const clean = (): void => {
  expect(recount()).toEqual([]);
  expect(totals()).toEqual([]);
};
const find = (domid: number): number => run(() => findDomain(domid));

function domctl(by: Dom, cmd: number, domid: number, version = ctl.XEN_DOMCTL_INTERFACE_VERSION): number {
  by.word(16 + ctl.DOMCTL_CMD, cmd);
  by.word(16 + ctl.DOMCTL_VERSION, version);
  by.word(16 + ctl.DOMCTL_DOMAIN, domid);
  return by.call(HYPERVISOR_domctl, by.at(16));
}
const destroy = (domid: number, by = p): number => domctl(by, ctl.XEN_DOMCTL_destroydomain, domid);
const info = (i: number): number => peek(p.wordAt(16 + ctl.DOMCTL_U + i));
/** Types of frames as getpageframeinfo3 tells them. */
function types(domid: number, frames: readonly (Mfn | typeof BAD_MFN)[]): number[] {
  frames.forEach((f, i) => {
    p.wide(400 + 2 * i, f);
  });
  p.wide(16 + ctl.DOMCTL_U + ctl.FRAMEINFO_NUM, frames.length);
  p.wide(16 + ctl.DOMCTL_U + ctl.FRAMEINFO_ARRAY, p.at(400));
  expect(domctl(p, ctl.XEN_DOMCTL_getpageframeinfo3, domid)).toBe(0);
  return frames.map((_, i) => peek(p.wordAt(400 + 2 * i)) >>> 28);
}

describe('destruction', () => {
  it('drops pins, tables, bases and frames, and the id is free again', () => {
    const [l1, l2, x] = q.frames(3) as [Mfn, Mfn, Mfn];
    put(l1, 0, pte(x, RW));
    put(l2, 0, pte(l1, RW));
    expect([q.pin(2, l2), q.pin(1, l1)]).toEqual([0, 0]);
    expect(destroy(1)).toBe(0);
    expect(find(1)).toBe(0);
    for (const f of [l1, l2, x, q.l4, q.l1]) expect([owner(f), refs(f)]).toEqual([NO_OWNER, 0]);
    expect(destroy(1)).toBe(-ESRCH);
    clean();
  });

  it('breaks circles of linear tables', () => {
    for (const level of [2, 3, 4]) {
      const [a, b] = q.frames(2) as [Mfn, Mfn];
      expect([q.pin(level, a), q.pin(level, b)]).toEqual([0, 0]);
      expect(q.set(a, 0, pte(b, RO))).toBe(0);
      expect(q.set(a, 1, pte(a, RO))).toBe(0);
      expect(q.set(b, 1, pte(b, RO))).toBe(0);
    }
    expect(destroy(1)).toBe(0);
    expect(find(1)).toBe(0);
    clean();
  });

  it('is for the control domain, on others only', () => {
    expect(destroy(0)).toBe(-EINVAL);
    expect(destroy(0, q)).toBe(-EPERM);
    expect(destroy(9, q)).toBe(-ESRCH);
    expect(destroy(0x7ff0)).toBe(-ESRCH);
    expect(domctl(p, ctl.XEN_DOMCTL_destroydomain, 1, 0x14)).toBe(-EACCES);
    expect(find(1)).not.toBe(0);
  });

  it('leaves a zombie while somebody else maps a frame of it; it goes with the last mapping', () => {
    const [f, g] = q.frames(2) as [Mfn, Mfn];
    expect(p.mapForeign(8, pte(f, RW), 1)).toBe(0);
    expect(destroy(1)).toBe(0);
    expect(find(1)).not.toBe(0);
    expect([owner(f), state(f), owner(g)]).toEqual([1, 'ref 1 writable 1', NO_OWNER]);
    expect(domctl(p, ctl.XEN_DOMCTL_getdomaininfo, 1)).toBe(0);
    expect(info(ctl.INFO_FLAGS) & ctl.XEN_DOMINF_dying).toBe(ctl.XEN_DOMINF_dying);
    expect(info(ctl.INFO_TOT_PAGES)).toBe(1);
    expect(destroy(1)).toBe(0);
    clean();
    // What is left of it can still be mapped, but not pinned, and it gets nothing new.
    expect(p.mapForeign(9, pte(f, RO), 1)).toBe(0);
    expect(p.pin(1, f, 1)).toBe(-EINVAL);
    expect(p.map(8, 0)).toBe(0);
    expect(find(1)).not.toBe(0);
    expect(p.map(9, 0)).toBe(0);
    expect(find(1)).toBe(0);
    expect(owner(f)).toBe(NO_OWNER);
    clean();
  });

  it('gives record and vCPU back when the vCPU is off, and they serve again', () => {
    const before = peek(globals.freeFrames);
    const v = q.cpu;
    poke(actor.mode(v), MODE_BLOCKED);
    expect(destroy(1)).toBe(0);
    expect(peek(globals.reapable)).toBe(1);
    expect(peek(vcpu.domain(v))).not.toBe(0);
    expect(peek(actor.request(v)) & REQ_KILL).toBe(REQ_KILL);
    poke(actor.mode(v), MODE_OFF);
    expect(domctl(p, ctl.XEN_DOMCTL_getdomaininfo, 0)).toBe(0);
    expect([peek(globals.reapable), peek(vcpu.domain(v))]).toEqual([0, 0]);
    expect(peek(globals.freeFrames)).toBe(before + 8);
    const d = run(() => buildDomain(CONTROL, { domid: 1, maxGrantFrames: 1, maxMaptrackFrames: 1 }));
    expect(d).toBe(q.d);
    expect(peek(domain.vcpuBase(d))).toBe(2);
    expect(peek(actor.request(v))).toBe(0);
    clean();
  });

  it('does not give the record back while an actor that could know it is inside the hypervisor', () => {
    poke(actor.doing(cpuAt(2)), 0);
    const r = run(() => buildDomain(CONTROL, { domid: 2, maxGrantFrames: 1, maxMaptrackFrames: 1 }));
    expect(r).not.toBe(0);
    poke(actor.doing(cpuAt(3)), 1);
    expect(destroy(1)).toBe(0);
    poke(actor.mode(q.cpu), MODE_OFF);
    expect(domctl(p, ctl.XEN_DOMCTL_getdomaininfo, 0)).toBe(0);
    expect(peek(globals.reapable)).toBe(1);
    poke(actor.doing(cpuAt(3)), 0);
    expect(domctl(p, ctl.XEN_DOMCTL_getdomaininfo, 0)).toBe(0);
    expect(peek(globals.reapable)).toBe(0);
  });
});

describe('creation', () => {
  const create = (config: Parameters<typeof domainCreate>[1]): number => run(() => domainCreate(CONTROL, config));
  it('refuses ids in use and ids that are none', () => {
    expect(create({ domid: 1 })).toBe(-EEXIST);
    expect([create({ domid: 0x7ff0 }), create({ domid: -1 })]).toEqual([-EINVAL, -EINVAL]);
    expect(create({ domid: 3, vcpus: 0 })).toBe(-EINVAL);
  });

  it('gives each domain vCPUs of its own, in a row', () => {
    expect(create({ domid: 7, vcpus: 3, maxGrantFrames: 1, maxMaptrackFrames: 1 })).toBe(0);
    const d = run(() => findDomain(7));
    expect([peek(domain.vcpuBase(d)), peek(domain.vcpuCount(d))]).toEqual([3, 3]);
    expect([0, 1, 2].map((i) => peek(vcpu.id(cpuAt(3 + i))))).toEqual([0, 1, 2]);
    expect(create({ domid: 8, vcpus: 4, maxGrantFrames: 1, maxMaptrackFrames: 1 })).toBe(-12);
    expect(run(() => findDomain(8))).toBe(0);
    clean();
  });

  it('does not leave anything behind when there is no room', () => {
    while (peek(globals.freeFrames) > 0) p.frames(1);
    expect(create({ domid: 7, maxGrantFrames: 1, maxMaptrackFrames: 1 })).toBe(-12);
    expect([find(7), peek(globals.freeFrames)]).toEqual([0, 0]);
    clean();
  });
});

describe('the control domain', () => {
  it('creates domains by hypercall, under an id of its choice or a free one, and sets their limit', () => {
    const fill = (vcpus: number): void => {
      for (let i = 0; i < 12; i++) p.word(16 + ctl.DOMCTL_U + i, 0);
      p.word(16 + ctl.DOMCTL_U + ctl.CREATE_MAX_VCPUS, vcpus);
      p.word(16 + ctl.DOMCTL_U + ctl.CREATE_MAX_GRANT_FRAMES, 1);
      p.word(16 + ctl.DOMCTL_U + ctl.CREATE_MAX_MAPTRACK_FRAMES, 1);
    };
    const got = (): number => peek(p.wordAt(16 + ctl.DOMCTL_DOMAIN)) & 0xffff;
    fill(2);
    expect([domctl(p, ctl.XEN_DOMCTL_createdomain, 0), got()]).toEqual([0, 2]);
    expect(peek(vcpu.pauseCount(cpuAt(3)))).toBe(1);
    fill(1);
    expect(domctl(p, ctl.XEN_DOMCTL_createdomain, 2)).toBe(-EEXIST);
    expect([domctl(p, ctl.XEN_DOMCTL_createdomain, 9), got()]).toEqual([0, 9]);
    expect(domctl(q, ctl.XEN_DOMCTL_createdomain, 3)).toBe(-EPERM);
    fill(0);
    expect(domctl(p, ctl.XEN_DOMCTL_createdomain, 3)).toBe(-EINVAL);
    p.wide(16 + ctl.DOMCTL_U, 4 * 7);
    expect(domctl(p, ctl.XEN_DOMCTL_max_mem, 2)).toBe(0);
    expect(peek(domain.maxPages(run(() => findDomain(2))))).toBe(7);
    expect(destroy(2)).toBe(0);
    expect(destroy(9)).toBe(0);
    fill(1);
    // An id that was just freed does not come back at once: free ones are given in turn.
    expect([domctl(p, ctl.XEN_DOMCTL_createdomain, 0), got()]).toEqual([0, 3]);
    expect(domctl(p, ctl.XEN_DOMCTL_createdomain, 2)).toBe(0);
    expect([domctl(p, ctl.XEN_DOMCTL_createdomain, 0), got()]).toEqual([0, 4]);
    for (const id of [2, 3, 4]) expect(destroy(id)).toBe(0);
    clean();
  });
});

describe('pauses', () => {
  it('are counted, for others only', () => {
    const pause = (domid: number): number => domctl(p, ctl.XEN_DOMCTL_pausedomain, domid);
    const unpause = (domid: number): number => domctl(p, ctl.XEN_DOMCTL_unpausedomain, domid);
    expect([pause(1), pause(1)]).toEqual([0, 0]);
    expect(peek(vcpu.pauseCount(q.cpu))).toBe(2);
    expect([unpause(1), unpause(1), unpause(1)]).toEqual([0, 0, -EINVAL]);
    expect(peek(vcpu.pauseCount(q.cpu))).toBe(0);
    expect(pause(0)).toBe(-EINVAL);
  });
});

describe('what is seen', () => {
  it('types and pins of a domain’s frames, nothing at type count 0, XTAB for others’', () => {
    const [l1, l2, x] = q.frames(3) as [Mfn, Mfn, Mfn];
    put(l2, 0, pte(l1, RW));
    expect(q.pin(2, l2)).toBe(0);
    expect(types(1, [l2, l1, x, q.l4, p.l4, BAD_MFN])).toEqual([10, 1, 0, 4, 15, 15]);
    expect(q.unpin(l2)).toBe(0);
    expect(types(1, [l2, l1])).toEqual([0, 0]);
    clean();
  });

  it('the next domain when the id asked for is none', () => {
    run(() => buildDomain(CONTROL, { domid: 5, maxGrantFrames: 1, maxMaptrackFrames: 1 }));
    expect(domctl(p, ctl.XEN_DOMCTL_getdomaininfo, 2)).toBe(0);
    expect(info(ctl.INFO_DOMAIN)).toBe(5);
    expect(peek(p.wordAt(16 + ctl.DOMCTL_DOMAIN))).toBe(5);
    expect(domctl(p, ctl.XEN_DOMCTL_getdomaininfo, 6)).toBe(-ESRCH);
    expect(domctl(p, ctl.XEN_DOMCTL_getdomaininfo, DOMID_SELF)).toBe(-EINVAL);
  });

  it('a crash: shut down with its code, its vCPU dead at the border', () => {
    run(() => domainCrash(p.cpu, q.d, CRASH_BY_GUEST));
    expect(vcpuDead(q.cpu)).toBe(true);
    expect(vcpuDead(p.cpu)).toBe(false);
    expect(domctl(p, ctl.XEN_DOMCTL_getdomaininfo, 1)).toBe(0);
    expect(info(ctl.INFO_FLAGS) & ctl.XEN_DOMINF_shutdown).not.toBe(0);
    expect(info(ctl.INFO_FLAGS) >>> ctl.XEN_DOMINF_shutdownshift).toBe(3);
    expect(peek(domain.crashSite(q.d))).toBe(CRASH_BY_GUEST);
  });

  it('a stub domain may act upon its target and on nobody else', () => {
    const [, target, stub] = machine({}, [{ domid: 1 }, { domid: 2, target: 1 }]) as [Dom, Dom, Dom];
    const [f] = target.frames(1) as [Mfn];
    expect(stub.mapForeign(8, pte(f, RO), 1)).toBe(0);
    expect(stub.mapForeign(9, pte(f, RO), 0)).toBe(-EPERM);
    expect(target.mapForeign(9, pte(f, RO), 2)).toBe(-EPERM);
    clean();
  });
});
