/** A machine with guests for tests: boots, builds domains, and notes every hypercall a vCPU makes. */
import type { Domid, Va } from '../../src/abi/frames.js';
import { HYPERVISOR_multicall } from '../../src/abi/hypercall.js';
import { MULTICALL_ARGS, MULTICALL_WORDS } from '../../src/abi/mmu.js';
import { hypervisorBoot } from '../../src/hypervisor/boot.js';
import { buildGuest } from '../../src/lab/run/build-guest.js';
import { FRAMES } from '../../src/machine/layout.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { CONTROL } from '../../src/sync/actor.js';
import { peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GuestCpu, Vcpu } from '../../src/vcpu/guest-cpu.js';
import { makeGuestCpu } from '../../src/vcpu/vcpu.js';
import type { TeardownDesign } from '../../guests/designs/design.js';
import { notifierAsync } from '../../guests/designs/notifier-async.js';
import { makeKernelCpu, makeTraps, prepareKernel, startVcpu } from '../../guests/guest.js';
import type { KernelParams } from '../../guests/kernel/boot.js';
import type { KernelCpu } from '../../guests/kernel/context.js';
import { image, layImage, type ImageSpec } from '../../guests/kernel/domain-image.js';

/** One hypercall: its number, its first arguments, and of a multicall the entries' numbers with their second argument. */
export interface Call {
  /** vCPU that made it. */
  readonly by: number;
  readonly nr: number;
  readonly args: readonly number[];
  readonly entries: readonly { readonly nr: number; readonly count: number }[];
}

export interface TestDomain {
  readonly params: KernelParams;
  readonly cpus: readonly KernelCpu[];
  readonly vcpus: readonly Vcpu[];
  /** Hypercalls since the list was last emptied, of all vCPUs. */
  readonly calls: Call[];
  /** Called after each hypercall. */
  readonly after: ((call: Call) => void)[];
}

export interface DomainOptions {
  readonly domid?: number;
  readonly privileged?: boolean;
  readonly vcpus?: number;
  readonly populated?: number;
  readonly ballooned?: number;
  readonly exitOrder?: number;
  readonly design?: TeardownDesign;
  readonly board?: number;
  readonly splitPteLocks?: boolean;
  readonly lazyMmu?: boolean;
  readonly backing?: number;
  readonly vmapStacks?: boolean;
  readonly seed?: number;
  readonly rounds?: number;
}

export function bootMachine(options: { debug?: boolean; quantum?: number } = {}): void {
  hypervisorBoot(options);
}

/** A built domain whose kernel is prepared; no vCPU has run yet. */
export function* makeDomain(o: DomainOptions = {}): Steps<TestDomain> {
  const populated = o.populated ?? 256;
  const spec: ImageSpec = {
    populated,
    maxPfn: populated + 3 + (o.ballooned ?? 128),
    vcpus: o.vcpus ?? 1,
    areaPages: 4,
    grantFrames: 2,
  };
  const built = yield* buildGuest({
    domid: o.domid ?? 0,
    privileged: o.privileged ?? true,
    vcpus: spec.vcpus,
    populated,
    maxPfn: spec.maxPfn,
    arenaChunks: 64,
    maxGrantFrames: 4,
    maxMaptrackFrames: 8,
    l4: image.l4,
    lay: (frame, put) => {
      layImage(spec, frame, put);
    },
  });
  const params: KernelParams = {
    domid: (o.domid ?? 0) as Domid,
    spec,
    frames: FRAMES,
    arena: built.arena,
    p2m: built.p2m,
    actors: built.vcpus,
    sharedInfo: built.sharedInfo,
    board: o.board ?? 0,
    exitOrder: o.exitOrder ?? 0,
    splitPteLocks: o.splitPteLocks ?? true,
    lazyMmu: o.lazyMmu ?? true,
    backing: o.backing ?? 0,
    vmapStacks: o.vmapStacks ?? false,
    seed: o.seed ?? 1,
    rounds: o.rounds ?? 1,
  };
  const k = yield* prepareKernel(CONTROL, params);
  if (k === 0) throw new Error('arena too small for the kernel');
  const calls: Call[] = [];
  const after: ((call: Call) => void)[] = [];
  const vcpus: Vcpu[] = [];
  const cpus = built.vcpus.map((cpu, id) => {
    const traps = makeTraps();
    const g = makeGuestCpu(cpu, traps.handlers);
    vcpus.push(g);
    return makeKernelCpu(noting(g, id, calls, after), traps, k, id, o.design ?? notifierAsync);
  });
  return { params, cpus, vcpus, calls, after };
}

/** Boots vCPU `id` and leaves it in guest mode. */
export function* bootVcpu(d: TestDomain, id = 0): Steps<KernelCpu> {
  const c = d.cpus[id];
  const g = d.vcpus[id];
  if (c === undefined || g === undefined) throw new Error('no such vCPU');
  yield* g.start();
  if (!(yield* startVcpu(c, d.params))) throw new Error('the kernel did not boot');
  d.calls.length = 0;
  return c;
}

/** The same processor, each hypercall noted before it is made. */
function noting(g: Vcpu, by: number, calls: Call[], after: readonly ((call: Call) => void)[]): GuestCpu {
  const noted = {
    *hypercall(nr: number): Steps<number> {
      const args = [0, 1, 2, 3].map((i) => peek(vcpu.argLo(g.cpu, i)));
      const entries: { nr: number; count: number }[] = [];
      if (nr === HYPERVISOR_multicall) {
        const base = vaOf(args[0] ?? 0, peek(vcpu.argHi(g.cpu, 0)));
        for (let i = 0; i < (args[1] ?? 0); i++) {
          const at = base + i * 4 * MULTICALL_WORDS;
          const op = yield* g.load32(at as Va);
          entries.push({ nr: op, count: yield* g.load32((at + 4 * (MULTICALL_ARGS + 2)) as Va) });
        }
        g.arg(0, args[0] ?? 0, peek(vcpu.argHi(g.cpu, 0)));
      }
      const call = { by, nr, args, entries };
      calls.push(call);
      const r = yield* g.hypercall(nr);
      for (const look of after) look(call);
      return r;
    },
  };
  return new Proxy(g, {
    get: (target, key): unknown => {
      if (key === 'hypercall') return noted.hypercall;
      const value: unknown = Reflect.get(target, key);
      return typeof value === 'function' ? (value as (...a: unknown[]) => unknown).bind(target) : value;
    },
  });
}

const vaOf = (lo: number, hi: number): number => (hi & 0xffff) * 4294967296 + (lo >>> 0);
