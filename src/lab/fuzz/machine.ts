/**
 * The machine of an episode: booted, its domains built, a record and a place for every vCPU.
 *
 * Invariant: everything that a thread needs to run a vCPU is two numbers, its record and its board, besides the plan.
 * Lock: none; the machine is still.
 */
import { HypervisorBug } from '../../abi/errors.js';
import { mfnWord, type Mfn } from '../../abi/frames.js';
import { allocDomainFrame } from '../../hypervisor/allocation.js';
import { newGuestCr3 } from '../../hypervisor/base.js';
import { buildDomain, hypervisorBoot } from '../../hypervisor/boot.js';
import { FAULT_WORDS, faultInit, faultPlan } from '../../fault/plan.js';
import { sharedInfoMfn } from '../../hypervisor/event-port.js';
import { domain, vcpuOf, type DomainRef } from '../../hypervisor/domain.js';
import { globals } from '../../hypervisor/globals.js';
import { grantTable, type GrantTable } from '../../hypervisor/grant/table.js';
import { FRAMES } from '../../machine/layout.js';
import { arenaAlloc } from '../../shm/arena.js';
import { record, type Ref } from '../../shm/record.js';
import { add, peek, poke, run, wake } from '../../sync/primitives.js';
import { CONTROL, type Cpu } from '../../sync/actor.js';
import type { Steps } from '../../sync/steps.js';
import { VcpuStopped } from '../../vcpu/stopped.js';
import { makeGuestCpu } from '../../vcpu/vcpu.js';
import type { FuzzGuest, FuzzGuests } from './guests.js';
import { mix, type EpisodePlan, type FuzzDomain } from './plan.js';

/** From here on sites fail as the plan says. */
function layFaults(plan: EpisodePlan): void {
  if (plan.faults.length === 0) return;
  faultInit(chunk(FAULT_WORDS));
  for (const f of plan.faults) faultPlan(f.site, { status: f.status, probability: f.probability, seed: plan.seed });
}

/** Nothing fails on purpose any more. */
export function endFaults(plan: EpisodePlan): void {
  for (const f of plan.faults) faultPlan(f.site, null);
}

const CHUNK_WORDS = 1024;

/**
 * How far the vCPUs are, beside the machine: those that have ended, those of control domains among them; `turn` changes when
 * there is something to look at; domains that were destroyed for a call without end.
 */
export const fuzzBoard = record('fuzzBoard', { ended: 1, controllers: 1, turn: 1, endless: 1 });
export type FuzzBoard = Ref<'fuzzBoard'>;

/** A vCPU's place. */
export interface FuzzVcpu {
  readonly cpu: Cpu;
  readonly record: number;
  readonly domid: number;
  readonly id: number;
  readonly privileged: boolean;
}

export interface FuzzMachine {
  readonly board: FuzzBoard;
  readonly vcpus: readonly FuzzVcpu[];
  /** Frames free before the first domain was built, and the first of them. */
  readonly freeFrames: number;
  readonly firstFrame: number;
  readonly domids: readonly number[];
}

/** Boots the machine of `plan` and builds its domains. */
export function buildFuzzMachine(plan: EpisodePlan, guests: FuzzGuests): FuzzMachine {
  hypervisorBoot({ debug: plan.debug, quantum: 0, firstFrame: firstFrame(plan) });
  const freeFrames = peek(globals.freeFrames);
  const board = chunk(fuzzBoard.words) as FuzzBoard;
  const built = plan.domains.map((d) => buildGuest(d, guests));
  const vcpus = built.flatMap(({ guest, d }) =>
    Array.from({ length: guest.vcpus }, (_, id): FuzzVcpu => {
      const at = chunk(guests.recordWords);
      const all = built.map((b) => b.guest);
      const seed = mix(plan.seed, 100 + 10 * guest.domid + id);
      guests.tell(at, guest, id, all, { seed, wild: plan.wild, churns: plan.churns });
      return { cpu: vcpuOf(d, id), record: at, domid: guest.domid, id, privileged: guest.privileged };
    }),
  );
  poke(globals.quantum, plan.quantum);
  layFaults(plan);
  return { board, vcpus, freeFrames, firstFrame: firstFrame(plan), domids: built.map((b) => b.guest.domid) };
}

/** The machine's own tables need some frames at the top. */
const firstFrame = (plan: EpisodePlan): number => Math.max(1, FRAMES - plan.heap);

function chunk(words: number): number {
  const a = run(() => arenaAlloc(CONTROL, peek(globals.arena), Math.ceil(words / CHUNK_WORDS)));
  if (a === 0) throw new HypervisorBug('no room for the records of an episode');
  return a;
}

function buildGuest(o: FuzzDomain, guests: FuzzGuests): { guest: FuzzGuest; d: DomainRef } {
  const { domid, privileged, vcpus } = o;
  const target = o.target === undefined ? {} : { target: o.target };
  const d = run(() =>
    buildDomain(CONTROL, { domid, privileged, vcpus, ...target, maxGrantFrames: 2, maxMaptrackFrames: 1 }),
  );
  const frames = Array.from({ length: guests.pages(vcpus) }, () => {
    const mfn = run(() => allocDomainFrame(CONTROL, d));
    if (mfn < 0) throw new HypervisorBug('an episode has too few frames for its domains');
    return mfn;
  });
  const grantFrame = peek(peek(grantTable.sharedList(peek(domain.grantTable(d)) as GrantTable)));
  const guest: FuzzGuest = { ...o, frames, grantFrame, sharedInfo: sharedInfoMfn(d) };
  guests.lay(guest, put);
  for (let v = 0; v < vcpus; v++) {
    const rc = run(() => newGuestCr3(vcpuOf(d, v), guests.base(guest), 0));
    if (rc !== 0) throw new HypervisorBug(`the tables of a fuzzed guest are refused: ${String(rc)}`);
  }
  return { guest, d };
}

function put(table: Mfn, index: number, lo: number, hi: number): void {
  poke(mfnWord(table) + 2 * index, lo);
  poke(mfnWord(table) + 2 * index + 1, hi);
}

/** One vCPU from its start to its last step, or to its death; then it says so on the board. */
export function* vcpuLife(plan: EpisodePlan, guests: FuzzGuests, v: FuzzVcpu, board: FuzzBoard): Steps<void> {
  const g = makeGuestCpu(v.cpu, guests.handlers());
  try {
    yield* g.start();
    yield* guests.life(g, v.record, plan.steps, plan.checked);
    yield* g.park();
  } catch (e) {
    if (!(e instanceof VcpuStopped)) throw e;
  }
  if (v.privileged) yield* add(fuzzBoard.controllers(board), 1);
  yield* add(fuzzBoard.ended(board), 1);
  yield* add(fuzzBoard.turn(board), 1);
  wake(fuzzBoard.turn(board));
}
