/**
 * What a hostile vCPU knows: its stream of random numbers, its pages, frames, handles and ports, and what it counted.
 *
 * Invariant: the record is its vCPU's own; what a step does is a function of the stream's state, this record and what the
 * hypervisor answered. A runner may set `random` before each step, so that a program is a list of numbers.
 * Lock: none; every word is the vCPU's own.
 */
import { record, type Ref } from '../../src/shm/record.js';
import { peek, poke } from '../../src/sync/primitives.js';

/** Words of one call's argument structures, and calls that can be prepared side by side (entries of a multicall). */
export const SLOT_WORDS = 128;
export const SLOTS = 8;
/** What each list holds at most. */
export const MAX_FRAMES = 48;
export const MAX_FOREIGN = 96;
export const MAX_DOMAINS = 8;
export const MAX_HANDLES = 48;
export const MAX_PORTS = 16;
/** handle, flags, host address (two words). */
export const HANDLE_WORDS = 4;
export const KINDS = 32;
/** Grants of others that it has read of in rings: domain and reference. */
export const MAX_REFS = 32;
/** Places of the board that it has offered or claimed. */
export const MAX_RINGS = 8;

export const hostile = record('hostile', {
  /** State of the stream; never 0. */
  random: 1,
  /** Of 256 values, how many are noise. */
  wild: 1,
  /** 1: only what takes and drops references, over and over. */
  churns: 1,
  /** Address of a program, (kind, seed) for each step; 0: the stream alone decides. */
  program: 1,
  /** Version of the own grant table, as far as this vCPU knows. */
  grantVersion: 1,
  domid: 1,
  vcpu: 1,
  privileged: 1,
  /** Pages of arguments (of all vCPUs; those of this one begin at `args`), and frames behind the latter. */
  areaVa: 2,
  areaPages: 1,
  argsVa: 2,
  argsMfn: 2,
  /** A window of pages whose L1 is known, and pages in which grant frames may be seen. */
  windowVa: 2,
  windowPages: 1,
  windowL1: 1,
  grantVa: 2,
  grantPages: 1,
  homeL4: 1,
  /** Own frames with the level each likes to be (0: data); others' frames. */
  nFrames: 1,
  frames: MAX_FRAMES,
  levels: MAX_FRAMES,
  nForeign: 1,
  foreign: MAX_FOREIGN,
  nDomains: 1,
  domains: MAX_DOMAINS,
  /** Rings of what was got: the newest replaces the oldest. */
  nHandles: 1,
  handles: MAX_HANDLES * HANDLE_WORDS,
  nPorts: 1,
  ports: MAX_PORTS,
  /** The call under preparation: number, six argument registers, its structures, how many words of them. */
  op: 1,
  kind: 1,
  registers: 12,
  structureWords: 1,
  structure: SLOT_WORDS,
  slotKinds: SLOTS,
  slotWords: SLOTS,
  /** Steps taken, hypercalls made, accesses given up, and per kind: steps, and those that had an effect. */
  steps: 1,
  calls: 1,
  faults: 1,
  lost: 1,
  kinds: KINDS,
  effects: KINDS,
  /** Beside normal guests: where it counts (tally.ts), the board of their rings, a bit per normal domain; else all 0. */
  tally: 1,
  board: 1,
  normal: 1,
  /** Of each kind, how often; all 0: as the fuzzer takes them. */
  weights: KINDS,
  totalWeight: 1,
  /** 1: the call under preparation names a normal domain. */
  named: 1,
  /** How many of `foreign`, from the first, are normal guests' frames. */
  nGiven: 1,
  nRefs: 1,
  refs: 2 * MAX_REFS,
  /** Rings it has offered, and whether each was taken; rings of others that it has claimed. */
  offered: MAX_RINGS,
  taken: MAX_RINGS,
  claimed: MAX_RINGS,
});

export type Hostile = Ref<'hostile'>;

/** 32 random bits. */
export function draw(h: Hostile): number {
  let x = peek(hostile.random(h));
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  poke(hostile.random(h), x);
  return Math.imul(x, 0x9e3779b1) >>> 0;
}
/** A number in [0, n). */
export const below = (h: Hostile, n: number): number => Math.floor((draw(h) / 4294967296) * n);
/** True `n` times of 256. */
export const chance = (h: Hostile, n: number): boolean => draw(h) >>> 24 < n;
/** True where this value is to be noise. */
export const isWild = (h: Hostile): boolean => chance(h, peek(hostile.wild(h)));

/** Starts the stream anew: what follows depends on `seed` alone. */
export function seedStream(h: Hostile, seed: number): void {
  const x = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ (seed >>> 15);
  poke(hostile.random(h), x === 0 ? 1 : x);
}

export const bump = (a: number): void => {
  poke(a, peek(a) + 1);
};

/** Another own frame: in place of a random one when there are enough. */
export function learnFrame(h: Hostile, mfn: number, level: number): void {
  const n = peek(hostile.nFrames(h));
  const i = n < MAX_FRAMES ? n : below(h, MAX_FRAMES);
  if (n < MAX_FRAMES) poke(hostile.nFrames(h), n + 1);
  poke(hostile.frames(h) + i, mfn);
  poke(hostile.levels(h) + i, level);
}

/** Another frame of somebody else's. */
export function learnForeign(h: Hostile, mfn: number): void {
  const n = peek(hostile.nForeign(h));
  if (n < MAX_FOREIGN) poke(hostile.nForeign(h), n + 1);
  const given = peek(hostile.nGiven(h));
  poke(hostile.foreign(h) + (n < MAX_FOREIGN ? n : given + below(h, MAX_FOREIGN - given)), mfn);
}

export function learnDomain(h: Hostile, domid: number): void {
  const n = peek(hostile.nDomains(h));
  if (n < MAX_DOMAINS) poke(hostile.nDomains(h), n + 1);
  poke(hostile.domains(h) + (n < MAX_DOMAINS ? n : below(h, MAX_DOMAINS)), domid);
}

/** A handle that a map answered, and where it was mapped. */
export function learnHandle(h: Hostile, handle: number, flags: number, hostLo: number, hostHi: number): void {
  const n = peek(hostile.nHandles(h));
  const at = hostile.handles(h) + (n % MAX_HANDLES) * HANDLE_WORDS;
  poke(hostile.nHandles(h), n + 1);
  poke(at, handle);
  poke(at + 1, flags);
  poke(at + 2, hostLo);
  poke(at + 3, hostHi);
}

/** A grant that another domain gave to this one. */
export function learnRef(h: Hostile, domid: number, ref: number): void {
  const n = peek(hostile.nRefs(h));
  const at = hostile.refs(h) + 2 * (n % MAX_REFS);
  poke(hostile.nRefs(h), n + 1);
  poke(at, domid);
  poke(at + 1, ref);
}

export function learnPort(h: Hostile, port: number): void {
  const n = peek(hostile.nPorts(h));
  poke(hostile.nPorts(h), n + 1);
  poke(hostile.ports(h) + (n % MAX_PORTS), port);
}
