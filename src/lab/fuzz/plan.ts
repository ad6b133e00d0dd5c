/**
 * What an episode is: a machine, its domains, how long, how noisy, how scheduled; a function of its seed alone.
 *
 * An episode begins with a fresh machine and ends with every domain destroyed; a campaign is episodes of seeds in a row.
 */

export interface FuzzDomain {
  readonly domid: number;
  readonly privileged: boolean;
  readonly vcpus: number;
}

export interface EpisodePlan {
  readonly seed: number;
  readonly debug: boolean;
  /** Preemption checks per hypercall entry; 0: never by count. */
  readonly quantum: number;
  /** Of 256 values of arguments, how many are noise. */
  readonly wild: number;
  readonly domains: readonly FuzzDomain[];
  /** Steps of each vCPU. */
  readonly steps: number;
  /** Controlled build: steps a vCPU runs on before the next one does; 0: anyone goes on at every point. */
  readonly slice: number;
  /** Guests give a kernel stack and text, without which they are ended. */
  readonly checked: boolean;
  /** Frames that the heap has. */
  readonly heap: number;
}

/** Memory of a fuzzed machine. */
export const FUZZ_MEMORY_MIB = 4;
/** vCPUs such a machine has room for, less those of domains that guests create. */
export const FUZZ_MAX_VCPUS = 6;

const WILD = [0, 2, 8, 24, 96, 255];
const QUANTA = [0, 0, 1, 2, 5, 20];
const SLICES = [0, 3, 40, 400, 5000];
const HEAPS = [220, 300, 600];

/** A good mix of 32 bits. */
export function mix(seed: number, n: number): number {
  let x = Math.imul(seed ^ Math.imul(n + 1, 0x9e3779b1), 0x85ebca6b);
  x ^= x >>> 13;
  x = Math.imul(x, 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** What the seed would choose, fixed. */
export interface FuzzFixed {
  readonly vcpus?: number | undefined;
  readonly wild?: number | undefined;
}

/** The episode of a seed. */
export function episodePlan(seed: number, fixed: FuzzFixed = {}): EpisodePlan {
  const pick = (n: number, list: readonly number[]): number => list[mix(seed, n) % list.length] as number;
  const vcpus = fixed.vcpus ?? 1 + (mix(seed, 1) % FUZZ_MAX_VCPUS);
  return {
    seed,
    debug: mix(seed, 2) % 4 === 0,
    quantum: pick(3, QUANTA),
    wild: fixed.wild ?? pick(4, WILD),
    domains: domainsOf(vcpus, mix(seed, 5)),
    steps: Math.ceil(1200 / vcpus),
    slice: pick(6, SLICES),
    checked: mix(seed, 7) % 2 === 0,
    heap: pick(8, HEAPS),
  };
}

/** Up to three domains, the first of them the control domain unless `r` says otherwise. */
function domainsOf(vcpus: number, r: number): FuzzDomain[] {
  const n = Math.min(vcpus, 1 + (r % 3));
  return Array.from({ length: n }, (_, i) => ({
    domid: i + (r % 5 === 0 ? 1 : 0),
    privileged: i === 0 && r % 5 !== 0,
    vcpus: Math.floor(vcpus / n) + (i < vcpus % n ? 1 : 0),
  }));
}
