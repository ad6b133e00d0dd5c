/**
 * The guest as one piece: which drivers, programs and designs its kernel is made of, and how a vCPU starts.
 *
 * The builder calls `prepareKernel` once per domain while the machine is still; each vCPU's thread then makes its own
 * GuestCpu over `makeTraps().handlers`, a KernelCpu over that, and runs `startVcpu`.
 * Lock: none. Source: DESIGN decisions 6 and 7.
 */
import { DESIGN_STEP } from '../src/abi/design-step.js';
import { arenaAlloc } from '../src/shm/arena.js';
import type { Cpu } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import type { GuestCpu } from '../src/vcpu/guest-cpu.js';
import type { TeardownDesign } from './designs/design.js';
import { gntdevFileOps, gntdevVmOps, gntdevWorker, keptWorker } from './drivers/gntdev/device.js';
import { setupGrantTable } from './drivers/grants.js';
import {
  awaitKernel,
  bootFirst,
  bootOther,
  KERNEL_CHUNKS,
  layKernel,
  percpuOf,
  type KernelParams,
} from './kernel/boot.js';
import type { KernelCpu, Program } from './kernel/context.js';
import { fileVmOps } from './kernel/file-map.js';
import type { Kernel } from './kernel/records.js';
import { enterStep } from './kernel/design-step.js';
import { image } from './kernel/domain-image.js';
import { makeTraps, type Traps } from './kernel/traps.js';
import { anonVmOps } from './kernel/vm-ops.js';
import { ioWorker } from './workloads/io-hold.js';
import { PROGRAMS } from './workloads/programs.js';

const VM_OPS = Object.freeze([anonVmOps, gntdevVmOps, fileVmOps]);
const FILE_OPS = Object.freeze([gntdevFileOps]);
const WORKERS = Object.freeze([gntdevWorker, ioWorker, keptWorker]);

/** The kernel record of a domain, its bookkeeping laid; 0 when the arena is too small. */
export function* prepareKernel(cpu: Cpu, p: KernelParams): Steps<Kernel> {
  const k = (yield* arenaAlloc(cpu, p.arena, KERNEL_CHUNKS)) as Kernel;
  return k !== 0 && (yield* layKernel(cpu, k, p)) ? k : (0 as Kernel);
}

/** The context of vCPU `id` of kernel `k`; from then on `traps` act on its behalf. */
export function makeKernelCpu(
  g: GuestCpu,
  traps: Traps,
  k: Kernel,
  id: number,
  design: TeardownDesign,
  programs: readonly Program[] = PROGRAMS,
): KernelCpu {
  const c: KernelCpu = Object.freeze({
    g,
    cpu: g.cpu,
    k,
    pc: percpuOf(k, id),
    id,
    design,
    vmOps: VM_OPS,
    fileOps: FILE_OPS,
    workers: WORKERS,
    programs,
  });
  traps.attach(c);
  return c;
}

/** Brings the vCPU up in its kernel; false when Xen refused its tables or its grant table. */
export function* startVcpu(c: KernelCpu, p: KernelParams): Steps<boolean> {
  const up = c.id === 0 ? yield* startFirst(c, p) : yield* startOther(c, p);
  enterStep(c, DESIGN_STEP.run);
  return up;
}

function* startFirst(c: KernelCpu, p: KernelParams): Steps<boolean> {
  const { grantFrames } = p.spec;
  return (yield* bootFirst(c, p)) && (yield* setupGrantTable(c, image.grantTable(p.spec), grantFrames));
}

function* startOther(c: KernelCpu, p: KernelParams): Steps<boolean> {
  yield* awaitKernel(c.g, c.k);
  return yield* bootOther(c, p);
}

export { makeTraps };
