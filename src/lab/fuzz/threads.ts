/**
 * Episodes in the parallel build: the control plane on one thread, every vCPU on another; they meet at a board of words
 * beside the machine.
 *
 * Invariant: the machine is built and judged while every vCPU thread waits for the next episode.
 * Lock: none; waits are bounded and look whether the campaign is over.
 */
import { words } from '../../ops/memory.js';
import { actor, REQ_ABORT, type Cpu } from '../../sync/actor.js';
import { or, run, wake } from '../../sync/primitives.js';
import type { FuzzGuests } from './guests.js';
import { buildFuzzMachine, vcpuLife, type FuzzBoard, type FuzzMachine, type FuzzVcpu } from './machine.js';
import { regions } from '../run/control.js';
import { Whereabouts } from '../run/whereabouts.js';
import { oversee } from './oversee.js';
import { episodePlan, type EpisodePlan, type FuzzFixed } from './plan.js';
import { digestOf, episodeResult, type EpisodeResult } from './result.js';
import { judge, textOf } from './verdict.js';

/** Words of the board: number of the episode, end of all, threads that are done, a thread that threw (its place + 1). */
const GO = 0;
const STOP = 1;
const DONE = 2;
const THREW = 3;
const SEED = 4;
const VCPUS = 5;
const BOARD = 6;
const PLACES = 8;
const PLACE_WORDS = 5;
export const FUZZ_BOARD_WORDS = 64;

const WAIT_MS = 50;
/** An episode takes far less than a second; on a busy machine some. */
const HANG_MS = 120_000;
/** How often the control plane looks whether a call has no end. */
const ALARM_MS = 1_500;

/** Serves vCPU `index` of every episode, until the campaign is over; `threw` hears of what should never be thrown. */
export function fuzzVcpuThread(
  board: Int32Array,
  index: number,
  fixed: FuzzFixed,
  guests: FuzzGuests,
  threw: (text: string) => void,
): void {
  for (let seen = 0; ;) {
    Atomics.wait(board, GO, seen, WAIT_MS);
    if (Atomics.load(board, STOP) !== 0) return;
    if (Atomics.load(board, GO) === seen) continue;
    seen = Atomics.load(board, GO);
    if (index >= Atomics.load(board, VCPUS)) continue;
    try {
      const plan = episodePlan(Atomics.load(board, SEED), fixed);
      run(() => vcpuLife(plan, guests, placeOf(board, index), Atomics.load(board, BOARD) as FuzzBoard));
    } catch (e) {
      threw(textOf(e));
      Atomics.store(board, THREW, index + 1);
    }
    Atomics.add(board, DONE, 1);
    Atomics.notify(board, DONE);
  }
}

function placeOf(board: Int32Array, index: number): FuzzVcpu {
  const at = PLACES + index * PLACE_WORDS;
  const word = (i: number): number => Atomics.load(board, at + i);
  return { cpu: word(0) as Cpu, record: word(1), domid: word(2), id: word(3), privileged: word(4) !== 0 };
}

/** One episode on the control thread. After a failure the machine and its threads are good for nothing more. */
export function parallelEpisode(plan: EpisodePlan, guests: FuzzGuests, board: Int32Array): EpisodeResult {
  const m = buildFuzzMachine(plan, guests);
  publish(board, plan, m);
  const problem = supervise(board, m);
  const digest = m.vcpus.length === 1 ? digestOf() : 0;
  const verdict = problem === '' ? judge(plan, m) : { wrong: [problem], forgotten: false };
  return episodeResult(plan, guests, m, digest, verdict);
}

function publish(board: Int32Array, plan: EpisodePlan, m: FuzzMachine): void {
  const set = (i: number, v: number): void => {
    Atomics.store(board, i, v);
  };
  set(DONE, 0);
  set(THREW, 0);
  set(SEED, plan.seed);
  set(VCPUS, m.vcpus.length);
  set(BOARD, m.board);
  m.vcpus.forEach((v, i) => {
    [v.cpu, v.record, v.domid, v.id, v.privileged ? 1 : 0].forEach((w, k) => {
      set(PLACES + i * PLACE_WORDS + k, w);
    });
  });
  Atomics.add(board, GO, 1);
  Atomics.notify(board, GO);
}

/** Until every thread is done: '' or what went wrong. */
function supervise(board: Int32Array, m: FuzzMachine): string {
  const end = Date.now() + HANG_MS;
  let alarm = Date.now() + ALARM_MS;
  try {
    run(() =>
      oversee(m, () => {
        look(board, end);
        const due = Date.now() >= alarm;
        if (due) alarm = Date.now() + ALARM_MS;
        return due;
      }),
    );
    while (Atomics.load(board, DONE) < m.vcpus.length) {
      look(board, end);
      Atomics.wait(board, DONE, Atomics.load(board, DONE), WAIT_MS);
    }
    look(board, end);
    return '';
  } catch (e) {
    const where = whereabouts(m);
    giveUp(m);
    return [textOf(e), ...where].join('\n      ');
  }
}

function look(board: Int32Array, end: number): void {
  const threw = Atomics.load(board, THREW);
  if (threw !== 0) throw new Error(`the thread of vCPU ${String(threw - 1)} threw`);
  if (Date.now() > end) throw new Error(`hang: no end after ${String(HANG_MS / 1000)} s`);
}

/** Where each vCPU is, what it waits for and holds. */
function whereabouts(m: FuzzMachine): string[] {
  const places = m.vcpus.map((v) => ({ cpu: v.cpu, domain: `d${String(v.domid)}`, domid: v.domid, id: v.id }));
  const seen = new Whereabouts(words, regions(), places);
  return places.map((p) => seen.describe(p));
}

/** Every wait and poll of the machine ends by an exception. */
function giveUp(m: FuzzMachine): void {
  for (const { cpu } of m.vcpus) {
    run(() => or(actor.request(cpu), REQ_ABORT));
    wake(actor.request(cpu));
  }
}

/** Ends the vCPU threads' service. */
export function stopFuzzThreads(board: Int32Array): void {
  Atomics.store(board, STOP, 1);
  Atomics.notify(board, GO);
}
