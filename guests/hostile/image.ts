/**
 * A hostile domain's memory: a small kernel that stays mapped, argument pages, a window, and a pool of frames that begin as
 * tables of all levels; and what each of its vCPUs is told of it.
 *
 * Invariant: laid before anybody types or maps a frame; every L4 of the pool maps the kernel, so that it can be a base.
 * Lock: none; the machine is still.
 */
import { makeVa, type Mfn, type Va } from '../../src/abi/frames.js';
import { entryLo, PAGE_GUEST_KERNEL_HI, PAGE_NX_HI } from '../../src/abi/pte.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { pokeVa } from '../kernel/words.js';
import { hostile, learnDomain, learnForeign, learnFrame, seedStream, type Hostile } from './record.js';

/** Levels that the frames of the pool like to be, most wanted first. */
const LEVELS: readonly number[] = Object.freeze([
  1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
]);
const RW = 0x67;
const RO = 0x25;
const SLOT = 272;
const FIRST_STACK = 1;
const FIRST_ARGS = 16;
const GRANTS = 64;
const WINDOW_PAGES = 40;
/** The window shows its own L1 there, read-only. */
const OWN_ALIAS = WINDOW_PAGES - 1;
const INDICES: readonly number[] = [0, 1, 2, 255, 258, 510];

const L4 = 0;
const L3 = 1;
const L2 = 2;
const KERNEL = 3;
const WINDOW = 4;
const TEXT = 5;
const stackOf = (v: number): number => 6 + v;
const argsOf = (vcpus: number, v: number): number => 6 + vcpus + 2 * v;
const poolOf = (vcpus: number): number => 6 + 3 * vcpus;

const kernelVa = (page: number): Va => makeVa(SLOT, 0, 0, page);
const windowVa = (page: number): Va => makeVa(SLOT, 0, 1, page);
export const textVa: Va = kernelVa(0);
export const stackTop = (v: number): Va => kernelVa(FIRST_STACK + v + 1);

/** What the builder hands over: the domain's frames, its first grant frame and its shared-info page (-1: none). */
export interface HostileDomain {
  readonly domid: number;
  readonly privileged: boolean;
  readonly vcpus: number;
  readonly frames: readonly Mfn[];
  readonly grantFrame: number;
  readonly sharedInfo: number;
}

/** Frames a domain of `vcpus` vCPUs needs. */
export const hostilePages = (vcpus: number): number => poolOf(vcpus) + LEVELS.length;
export const homeL4 = (d: HostileDomain): Mfn => d.frames[L4] as Mfn;
/** The pool's frames, and those of the kernel whose entries are worth an attack. */
const pool = (d: HostileDomain): readonly Mfn[] => d.frames.slice(poolOf(d.vcpus));

type Put = (table: Mfn, index: number, lo: number, hi: number) => void;

export function layHostile(d: HostileDomain, put: Put): void {
  const at = (i: number): Mfn => d.frames[i] as Mfn;
  const map = (table: number, i: number, frame: number, flags: number): void => {
    put(at(table), i, entryLo(at(frame), flags), 0);
  };
  map(L4, SLOT, L3, RW);
  map(L3, 0, L2, RW);
  map(L2, 0, KERNEL, RW);
  map(L2, 1, WINDOW, RW);
  put(at(KERNEL), 0, entryLo(at(TEXT), RO), PAGE_GUEST_KERNEL_HI);
  for (let v = 0; v < d.vcpus; v++) {
    map(KERNEL, FIRST_STACK + v, stackOf(v), RW);
    for (let i = 0; i < 2; i++)
      put(at(KERNEL), FIRST_ARGS + 2 * v + i, entryLo(at(argsOf(d.vcpus, v) + i), RW), PAGE_NX_HI);
  }
  if (d.grantFrame >= 0) put(at(KERNEL), GRANTS, entryLo(d.grantFrame as Mfn, RW), PAGE_NX_HI);
  layPool(d, put);
}

/** Tables of the pool name those one level lower; the window shows every frame, tables read-only. */
function layPool(d: HostileDomain, put: Put): void {
  const frames = pool(d);
  frames.forEach((m, i) => {
    const level = LEVELS[i] ?? 0;
    put(d.frames[WINDOW] as Mfn, i, entryLo(m, level === 0 ? RW : RO), 0);
    if (level === 0) return;
    const lower = frames.filter((_, k) => LEVELS[k] === level - 1).slice(0, INDICES.length);
    lower.forEach((target, k) => {
      put(m, INDICES[k] as number, entryLo(target, level === 1 && k === 0 ? RO : RW), 0);
    });
    if (level === 4) put(m, SLOT, entryLo(d.frames[L3] as Mfn, RW), 0);
  });
  put(d.frames[WINDOW] as Mfn, OWN_ALIAS, entryLo(d.frames[WINDOW] as Mfn, RO), 0);
}

/** Tells vCPU `v` of `d` where everything is; `others` are the domains it has heard of. */
export function tellHostile(h: Hostile, d: HostileDomain, v: number, others: readonly HostileDomain[]): void {
  poke(hostile.domid(h), d.domid);
  poke(hostile.vcpu(h), v);
  poke(hostile.privileged(h), d.privileged ? 1 : 0);
  pokeVa(hostile.areaVa(h), kernelVa(FIRST_ARGS));
  poke(hostile.areaPages(h), 2 * d.vcpus);
  pokeVa(hostile.argsVa(h), kernelVa(FIRST_ARGS + 2 * v));
  for (let i = 0; i < 2; i++) poke(hostile.argsMfn(h) + i, d.frames[argsOf(d.vcpus, v) + i] as Mfn);
  pokeVa(hostile.windowVa(h), windowVa(0));
  poke(hostile.windowPages(h), WINDOW_PAGES);
  poke(hostile.windowL1(h), d.frames[WINDOW] as Mfn);
  pokeVa(hostile.grantVa(h), kernelVa(GRANTS));
  poke(hostile.grantPages(h), d.grantFrame >= 0 ? 1 : 0);
  poke(hostile.homeL4(h), homeL4(d));
  pool(d).forEach((m, i) => {
    learnFrame(h, m, LEVELS[i] ?? 0);
  });
  for (const o of others) {
    learnDomain(h, o.domid);
    for (const m of [o.grantFrame, o.sharedInfo]) if (m >= 0) learnForeign(h, m);
    if (o.domid !== d.domid) for (const m of pool(o)) if (peek(hostile.nForeign(h)) < 64) learnForeign(h, m);
  }
}

/** Starts the vCPU's stream; `wild` of 256 values will be noise, and it may only churn. */
export function startStream(h: Hostile, seed: number, wild: number, churns: boolean): void {
  seedStream(h, seed);
  poke(hostile.churns(h), churns ? 1 : 0);
  poke(hostile.wild(h), wild);
}

/** A normal domain as a hostile one sees it: its number and frames whose numbers it has found out. */
export interface Neighbour {
  readonly domid: number;
  readonly frames: readonly number[];
}

/** What a hostile vCPU beside normal guests is given to do. */
export interface Beside {
  readonly board: number;
  readonly tally: number;
  readonly weights: readonly number[];
  readonly neighbours: readonly Neighbour[];
}

/** Tells vCPU `v` of `d` of its neighbours, after it was told of its own domain. */
export function tellBeside(h: Hostile, b: Beside): void {
  poke(hostile.board(h), b.board);
  poke(hostile.tally(h), b.tally);
  b.weights.forEach((w, k) => {
    poke(hostile.weights(h) + k, w);
  });
  poke(
    hostile.totalWeight(h),
    b.weights.reduce((n, w) => n + w, 0),
  );
  for (const n of b.neighbours) {
    learnDomain(h, n.domid);
    poke(hostile.normal(h), peek(hostile.normal(h)) | (1 << n.domid));
    for (const m of n.frames) learnForeign(h, m);
  }
  poke(hostile.nGiven(h), peek(hostile.nForeign(h)));
}
