/** A small machine for the designs: a granter, a mapper with one process, and the audit of what they leave behind. */
import type { Va } from '../../../src/abi/frames.js';
import { GNTTABOP_map_grant_ref } from '../../../src/abi/grant.js';
import { HYPERVISOR_grant_table_op } from '../../../src/abi/hypercall.js';
import { auditMachine, type Violation } from '../../../src/audit/index.js';
import { peek, poke } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { gntdevMmap, gntdevNewMap, gntdevOpen } from '../../../guests/drivers/gntdev/device.js';
import { setGrant, type GrantMap } from '../../../guests/drivers/gntdev/map.js';
import { grantAccess } from '../../../guests/drivers/grants.js';
import type { TeardownDesign } from '../../../guests/designs/design.js';
import { allocZeroedPage } from '../../../guests/kernel/alloc.js';
import type { KernelCpu } from '../../../guests/kernel/context.js';
import { fileOf, installFile } from '../../../guests/kernel/file.js';
import { kernel } from '../../../guests/kernel/records.js';
import { vcpuLoop } from '../../../guests/kernel/sched.js';
import { task } from '../../../guests/kernel/task.js';
import { reportOf } from '../../../guests/report.js';
import { bootMachine, bootVcpu, makeDomain, type Call, type DomainOptions, type TestDomain } from '../machine.js';
import { makeProcess, touch, type Process } from '../process.js';

const GRANTER = 1;
export const MAPPER = 2;
/** A program number that no program has: its task ends at its next step. */
const ENDS_AT_ONCE = 999;

export interface Lab {
  readonly granter: TestDomain;
  readonly mapper: TestDomain;
  readonly g: KernelCpu;
  readonly c: KernelCpu;
  /** Free and frameless pages of the mapper before anything ran in it. */
  readonly free: number;
  readonly ballooned: number;
}

/** Both domains booted; the granter's vCPU stands aside. */
export function* openLab(design: TeardownDesign, o: DomainOptions = {}, debug = false): Steps<Lab> {
  bootMachine({ debug });
  const granter = yield* makeDomain({ domid: GRANTER, privileged: false, populated: 256 });
  const mapper = yield* makeDomain({ populated: 320, ballooned: 64, ...o, domid: MAPPER, privileged: false, design });
  const g = yield* bootVcpu(granter);
  yield* granter.vcpus[0]!.park();
  const c = yield* bootVcpu(mapper);
  return { granter, mapper, g, c, free: peek(kernel.nrFree(c.k)), ballooned: peek(kernel.nrBallooned(c.k)) };
}

/** `n` references to fresh pages of the granter. */
export function* grant(lab: Lab, n: number): Steps<number[]> {
  const refs: number[] = [];
  yield* lab.granter.vcpus[0]!.start();
  for (let i = 0; i < n; i++) {
    refs.push(yield* grantAccess(lab.g, MAPPER, yield* allocZeroedPage(lab.g), false));
  }
  yield* lab.granter.vcpus[0]!.park();
  return refs;
}

/** A process with `pages` pages of its own; its task ends when it is next run. */
export function* spawn(lab: Lab, pages: number): Steps<Process> {
  const p = yield* makeProcess(lab.c, pages);
  poke(task.program(p.t), ENDS_AT_ONCE);
  return p;
}

/** Maps `refs` at `at` in the process and touches them. */
export function* mapGrants(lab: Lab, p: Process, refs: readonly number[], at: Va): Steps<GrantMap> {
  const map = yield* newMap(lab, p, refs);
  const rc = yield* gntdevMmap(lab.c, p.m, fileOf(p.t, 0), map, at);
  if (rc !== 0) throw new Error(`mmap of grants: ${String(rc)}`);
  yield* touch(lab.c, at, refs.length);
  return map;
}

/** The same, answering what the mmap answered. */
export function* tryMapGrants(lab: Lab, p: Process, refs: readonly number[], at: Va): Steps<number> {
  const map = yield* newMap(lab, p, refs);
  return yield* gntdevMmap(lab.c, p.m, fileOf(p.t, 0), map, at);
}

function* newMap({ c }: Lab, p: Process, refs: readonly number[]): Steps<GrantMap> {
  const file = yield* gntdevOpen(c);
  if (fileOf(p.t, 0) !== 0 || (yield* installFile(p.t, file)) !== 0) throw new Error('descriptor 0 is taken');
  const map = yield* gntdevNewMap(c, file, refs.length, false);
  if (file === 0 || map === 0) throw new Error('no memory for a map');
  refs.forEach((ref, i) => {
    setGrant(map, i, GRANTER, ref);
  });
  return map;
}

/** Runs the mapper until no task lives and no work waits; then nothing runs any more. */
export function* runToEnd(lab: Lab): Steps<void> {
  poke(kernel.started(lab.c.k), 1);
  yield* vcpuLoop(lab.c, true);
  yield* lab.mapper.vcpus[0]!.park();
}

/** The audit with what the mapper's design says. */
export function audit(lab: Lab): Violation[] {
  return auditMachine([], [reportOf(lab.c.k, lab.c.design), reportOf(lab.g.k, lab.g.design)]);
}

export const broken = (found: readonly Violation[]): string[] => [...new Set(found.map((v) => v.invariant))].sort();

/** Numbers of operations of each grant unmap call, in order. */
export const unmapCalls = (calls: readonly Call[]): number[] =>
  calls
    .filter((x) => x.nr === HYPERVISOR_grant_table_op && x.args[0] !== GNTTABOP_map_grant_ref)
    .map((x) => x.args[2] ?? 0);
