/**
 * What an episode is: a machine, its domains, how long, how noisy, how scheduled; a function of its seed alone.
 *
 * An episode begins with a fresh machine and ends with every domain destroyed; a campaign is episodes of seeds in a row.
 */

import { EBUSY, EINVAL, ENOMEM } from '../../abi/errno.js';
import { GNTST_bad_page, GNTST_eagain, GNTST_general_error } from '../../abi/grant.js';
import type { SiteName } from '../../fault/sites.js';

export interface FuzzDomain {
  readonly domid: number;
  readonly privileged: boolean;
  readonly vcpus: number;
  /** The one domain it may act upon beside itself. */
  readonly target?: number;
}

/** A site that fails now and then. */
export interface FuzzFault {
  readonly site: SiteName;
  readonly status: number;
  readonly probability: number;
}

export interface EpisodePlan {
  readonly seed: number;
  readonly debug: boolean;
  /** Preemption checks per hypercall entry; 0: never by count. */
  readonly quantum: number;
  /** Of 256 values of arguments, how many are noise. */
  readonly wild: number;
  /** Guests only take and drop references, four times as long. */
  readonly churns: boolean;
  readonly domains: readonly FuzzDomain[];
  /** Steps of each vCPU. */
  readonly steps: number;
  /** Controlled build: steps a vCPU runs on before the next one does; 0: anyone goes on at every point. */
  readonly slice: number;
  /** Guests give a kernel stack and text, without which they are ended. */
  readonly checked: boolean;
  readonly faults: readonly FuzzFault[];
  /** Frames that the heap has. */
  readonly heap: number;
}

/** Memory of a fuzzed machine. */
export const FUZZ_MEMORY_MIB = 4;
/** vCPUs such a machine has room for, less those of domains that guests create. */
export const FUZZ_MAX_VCPUS = 6;

const FAULTS = [
  ['gnttab.map', GNTST_eagain],
  ['gnttab.map.install', GNTST_general_error],
  ['gnttab.unmap', GNTST_general_error],
  ['gnttab.unmap_and_replace', GNTST_eagain],
  ['gnttab.copy', GNTST_general_error],
  ['gnttab.transfer', GNTST_bad_page],
  ['mmuext.pin', -EBUSY],
  ['mmuext.unpin', -EINVAL],
  ['mmu_update', -EINVAL],
  ['update_va_mapping', -EBUSY],
  ['memory_op', 1],
  ['page.alloc', -ENOMEM],
  ['flush.late', 8],
  ['hypercall.preempt', 1],
  ['memory.late', 2],
] as const satisfies readonly (readonly [SiteName, number])[];
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
  readonly churns?: boolean | undefined;
  readonly vcpus?: number | undefined;
  readonly wild?: number | undefined;
}

/** The episode of a seed. */
export function episodePlan(seed: number, fixed: FuzzFixed = {}): EpisodePlan {
  const pick = (n: number, list: readonly number[]): number => list[mix(seed, n) % list.length] as number;
  const vcpus = fixed.vcpus ?? 1 + (mix(seed, 1) % FUZZ_MAX_VCPUS);
  const churns = fixed.churns ?? mix(seed, 20) % 8 === 0;
  return {
    seed,
    debug: mix(seed, 2) % 4 === 0,
    quantum: pick(3, QUANTA),
    wild: fixed.wild ?? pick(4, WILD),
    domains: domainsOf(vcpus, mix(seed, 5)),
    churns,
    steps: Math.ceil((churns ? 4800 : 1200) / vcpus),
    slice: pick(6, SLICES),
    checked: mix(seed, 7) % 2 === 0,
    faults: mix(seed, 9) % 3 === 0 ? faultsOf(seed) : [],
    heap: pick(8, HEAPS),
  };
}

/** Up to three sites of those that answer what the real operation could. */
function faultsOf(seed: number): FuzzFault[] {
  const first = mix(seed, 10);
  return Array.from({ length: 1 + (first % 3) }, (_, i) => {
    const [site, status] = FAULTS[(first + 5 * i) % FAULTS.length] as (typeof FAULTS)[number];
    return { site, status, probability: [0.02, 0.1, 0.5][mix(seed, 11 + i) % 3] as number };
  });
}

/** Up to three domains, the first of them the control domain unless `r` says otherwise. */
function domainsOf(vcpus: number, r: number): FuzzDomain[] {
  const n = Math.min(vcpus, 1 + (r % 3));
  return Array.from({ length: n }, (_, i) => ({
    domid: i + (r % 5 === 0 ? 1 : 0),
    privileged: i === 0 && r % 5 !== 0,
    vcpus: Math.floor(vcpus / n) + (i < vcpus % n ? 1 : 0),
    ...(i === 2 && r % 7 === 0 ? { target: 1 } : {}),
  }));
}
