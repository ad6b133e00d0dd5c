/** Deaths at random points: everything is reclaimed, the same way every time; what is not reclaimed is said. */
import { describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import type { Mfn } from '../../src/abi/frames.js';
import { HypervisorBug } from '../../src/abi/errors.js';
import { loadCatalog } from '../../src/lab/catalog.js';
import { deaths, type DeathsReport } from '../../src/lab/deaths/campaign.js';
import { DeathMachine } from '../../src/lab/deaths/machine.js';
import type { ExploreGuests, SmallDomain, SmallVcpu } from '../../src/lab/explore/guests.js';
import { runJob, type SmallBuild } from '../../src/lab/small/job.js';
import { readScenario } from '../../src/lab/scenario-file.js';
import { domain, findDomain } from '../../src/hypervisor/domain.js';
import { destroyWhole } from '../../src/lab/reclaim.js';
import { SmallRuns } from '../../src/lab/small/runs.js';
import { anyZombie, zombies, zombieSentences } from '../../src/lab/zombies.js';
import { countInfo, PGC_state, PGC_state_free } from '../../src/machine/frame.js';
import { FRAMES } from '../../src/machine/layout.js';
import type { Scenario } from '../../src/scenario/scenario.js';
import { peek, poke, run as run0 } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { smallGuests } from '../../workers/small.js';

const catalog = loadCatalog();
const file = (name: string): Scenario => readScenario(`guests/scenarios/${name}.yaml`, catalog);
const run = (s: Scenario, designs: string[], n: number, build: SmallBuild = 'controlled'): Promise<DeathsReport> =>
  deaths([{ ...s, designs }], {
    deaths: n,
    seed: 1,
    builds: [build],
    workers: 1,
    stop: new AbortController().signal,
    onProgress: () => undefined,
  });

describe('deaths', () => {
  it('of vCPUs and domains leave nothing behind, whatever the design, and are the same every time', async () => {
    const designs = ['notifier-split', 'early-unpin'];
    const r = await run(file('faults/exit'), designs, 40);
    expect(r).toMatchObject({ deaths: 40, complete: true });
    expect(r.rows.map((x) => [x.design, x.deaths, x.failure])).toEqual(designs.map((d) => [d, 20, undefined]));
    expect(Math.min(r.vcpus, r.domains, r.beside, r.lockHeld)).toBeGreaterThan(4);
    expect(r.beside).toBeLessThan(r.deaths);
    expect(await run(file('faults/exit'), designs, 40)).toEqual(r);
  });

  it('on several vCPUs of one domain, siblings and all', async () => {
    const r = await run(file('small/fork-exit'), ['zap-pte'], 40);
    expect(r).toMatchObject({ deaths: 40, complete: true });
  });

  it('do not hide a bug of the machine, whatever the design and whether anything died', () => {
    const { name, seed, hypervisor, domains, extent, checks, small } = file('faults/exit');
    if (small === undefined) throw new Error('not small');
    const inner = smallGuests();
    let broken = false;
    function* build(...args: Parameters<ExploreGuests['build']>): Steps<SmallDomain> {
      const d = yield* inner.build(...args);
      for (const v of d.vcpus) {
        const race = v.race.bind(v);
        Object.assign(v, { race: (...r: Parameters<SmallVcpu['race']>) => spoiled(race(...r)) });
      }
      return d;
    }
    const spoiled = (body: () => Steps<void>): (() => Steps<void>) =>
      function* (): Steps<void> {
        if (broken) throw new HypervisorBug('spoiled');
        yield* body();
      };
    const plan = { scenario: { name, seed, hypervisor, domains, extent, checks }, design: 'early-unpin', small };
    const m = new DeathMachine({ ...plan, stepChecks: false }, { ...inner, build }, false);
    expect(m.die(1).wrong).toEqual([]);
    broken = true;
    expect(m.die(1)).toMatchObject({ happened: false, wrong: ['spoiled'] });
  });

  it('on threads too, also where who dies has something mapped elsewhere', async () => {
    const designs = ['notifier-split', 'private-page'];
    const r = await run(file('faults/held'), designs, 120, 'parallel');
    expect(r).toMatchObject({ deaths: 120, complete: true });
    expect(r.rows.map((x) => [x.design, x.deaths, x.failure, x.lost])).toEqual(
      designs.map((d) => [d, 60, undefined, '']),
    );
    expect(Math.min(r.vcpus, r.domains, r.lockHeld, r.zombies)).toBeGreaterThan(10);
  });

  it('of which the control plane says nothing any more are no verdict', async () => {
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const silent = { build: 'parallel', entry: 'deaths', job: {}, mib: 4, stop, silenceMs: 1 } as const;
    const end = await runJob({ ...silent, progress: () => undefined });
    expect(end).toEqual({ lost: expect.stringMatching(/terminated: the machine is lost$/) as string });
  });

  it('leave a zombie as long as somebody refers to a frame of its, and no longer', () => {
    const { name, seed, hypervisor, domains, extent, checks, small } = file('faults/held');
    if (small === undefined) throw new Error('not small');
    const plan = { scenario: { name, seed, hypervisor, domains, extent, checks }, design: 'notifier-split', small };
    new SmallRuns({ ...plan, stepChecks: false }, smallGuests()).normal();
    expect(anyZombie()).toBe(false);
    expect(destroyWhole(run0(() => findDomain(1)))).toBe(0);
    // One mapping: the process's entry and the kernel's own.
    const [zombie, ...others] = zombies().found;
    expect([zombie?.domid, zombie?.holders.length, others]).toEqual([1, 2, []]);
    for (const [i, who] of (zombie?.holders ?? []).entries()) {
      expect([i, zombieSentences('now')]).toEqual([i, []]);
      // The entry goes and the count stays: what should have vanished with the last one is still there.
      const [, mfn, index] = /mfn (0x[0-9a-f]+)\[(\d+)\]/.exec(who) ?? [];
      poke(Number(mfn) * 1024 + 2 * Number(index), 0);
    }
    expect(zombieSentences('now')).toEqual(['now: d1 is a zombie though nobody refers to a frame of its']);
    poke(domain.key(run0(() => findDomain(1))), 0);
    expect(anyZombie()).toBe(false);
  });

  it("after which a frame is held behind the hypervisor's back say so", () => {
    const { name, seed, hypervisor, domains, extent, checks, small } = file('faults/exit');
    if (small === undefined) throw new Error('not small');
    const inner = smallGuests();
    let frame = 0 as Mfn;
    const guests: ExploreGuests = {
      ...inner,
      reports: (domids) => {
        if (frame !== 0) poke(countInfo(frame), peek(countInfo(frame)) + 1);
        return inner.reports(domids);
      },
    };
    const plan = { scenario: { name, seed, hypervisor, domains, extent, checks }, design: 'zap-pte', small };
    const m = new DeathMachine({ ...plan, stepChecks: false }, guests, false);
    expect(m.die(1).wrong).toEqual([]);
    for (let mfn = 1; mfn < FRAMES; mfn++) {
      if ((peek(countInfo(mfn as Mfn)) & PGC_state) === PGC_state_free) frame = mfn as Mfn;
    }
    expect(frame).toBeGreaterThan(0);
    expect(m.die(1).wrong.join()).toContain(`mfn 0x${frame.toString(16)}`);
  });
});
