/**
 * The lives of a hostile domain: the control plane builds it, its vCPUs run until one of them has had enough, it is
 * destroyed while the others run, and is built anew under another number; until all is over.
 *
 * Invariant: a life is published when the domain is complete; it is over for the control plane when each of its vCPUs has
 * said so. The number of a life's domain is the first one's and a multiple of 32, as the rings' board wants it.
 * Lock: none; words are counted up by vCPUs, the rest is the control plane's.
 */
import { vcpu } from '../../machine/cpu-record.js';
import { record, type Ref } from '../../shm/record.js';
import type { Cpu } from '../../sync/actor.js';
import { add, ldOnce, peek, st, wake } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { VcpuStopped } from '../../vcpu/stopped.js';
import { makeGuestCpu } from '../../vcpu/vcpu.js';
import { mix } from '../fuzz/plan.js';
import type { BesideGuests } from './guests.js';

export const HOSTILE_VCPUS = 8;
/** Between the numbers of two lives. */
export const DOMIDS_APART = 32;

/** Domains that are remembered to have had a table forgotten: each stays a zombie, and takes one of the machine's places. */
const MAX_FORGETFUL = 64;

export const lives = record('hostileLives', {
  /** 1: no further life. */
  over: 1,
  /** Number of the life that was published last, its domain's number and seed. */
  life: 1,
  domid: 1,
  seed: 1,
  /** Steps of a vCPU, about. */
  steps: 1,
  vcpus: 1,
  /** vCPUs whose part of this life is over. */
  ended: 1,
  /** Address of a word that goes up at every change. */
  turnAt: 1,
  /** Looks of the control plane since the life began, and since all is over. */
  looks: 1,
  looksOver: 1,
  /** The last life whose domain was destroyed. */
  destroyed: 1,
  /** Lives in which Xen forgot a table, as the real one does (src/hypervisor/validate.ts), and their domains' numbers. */
  forgotten: 1,
  forgetful: MAX_FORGETFUL,
  /** Per vCPU of the life: its actor; its record and tally, the same in every life. */
  cpus: HOSTILE_VCPUS,
  records: HOSTILE_VCPUS,
  tallies: HOSTILE_VCPUS,
});
export type Lives = Ref<'hostileLives'>;

/** A life is there, and some of its vCPUs run. */
export const isRunning = (l: Lives): boolean =>
  peek(lives.destroyed(l)) !== peek(lives.life(l)) && peek(lives.ended(l)) < peek(lives.vcpus(l));

/** Something changed. */
export function* turnOf(l: Lives): Steps<void> {
  yield* add(peek(lives.turnAt(l)), 1);
  wake(peek(lives.turnAt(l)));
}

/** How a vCPU without a life waits for the next one. */
export type AwaitTurn = (l: Lives, id: number, turn: number) => Steps<void>;

/** vCPU `id` in all lives of its domain. */
export function* hostileVcpu(l: Lives, id: number, guests: BesideGuests, awaitTurn: AwaitTurn): Steps<void> {
  for (let seen = 0; ;) {
    const turn = yield* ldOnce(peek(lives.turnAt(l))); // raced on purpose: others count up
    const life = yield* ldOnce(lives.life(l)); // raced on purpose: published last
    if (life !== seen) {
      seen = life;
      yield* oneLife(l, id, guests);
    } else if ((yield* ldOnce(lives.over(l))) !== 0) return;
    else yield* awaitTurn(l, id, turn);
  }
}

function* oneLife(l: Lives, id: number, guests: BesideGuests): Steps<void> {
  const cpu = peek(lives.cpus(l) + id) as Cpu;
  const at = peek(lives.records(l) + id);
  const seed = mix(peek(lives.seed(l)), 200 + id);
  const g = makeGuestCpu(cpu, guests.handlers());
  try {
    yield* g.start();
    yield* guests.life(g, at, spanOf(l, seed), lives.over(l), seed % 2 === 0);
    yield* g.halt();
  } catch (e) {
    if (!(e instanceof VcpuStopped)) throw e;
  }
  guests.settle(at, peek(vcpu.nMet(cpu)));
  if (peek(vcpu.nLostTables(cpu)) !== 0) {
    const n = yield* add(lives.forgotten(l), 1);
    if (n < MAX_FORGETFUL) yield* st(lives.forgetful(l) + n, peek(lives.domid(l)));
  }
  yield* add(lives.ended(l), 1);
  yield* turnOf(l);
}

/** From a quarter of what is said to seven quarters. */
const spanOf = (l: Lives, seed: number): number =>
  Math.ceil(peek(lives.steps(l)) * (0.25 + ((seed >>> 8) % 1000) / 667));

/** Numbers of the domains that had a table forgotten. */
export const forgetfulOf = (l: Lives): number[] =>
  Array.from({ length: Math.min(peek(lives.forgotten(l)), MAX_FORGETFUL) }, (_, i) => peek(lives.forgetful(l) + i));
