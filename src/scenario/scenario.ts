/**
 * A checked scenario: every default filled in, every name resolved, sizes in MiB.
 *
 * Invariant: plain data that survives a structured clone; nothing in it is optional where a reader would have to guess.
 */
import type { DesignStepName } from '../abi/design-step.js';
import { HOSTILE_GROUPS, HOSTILE_USUAL, type HostileGroup } from '../abi/hostile.js';
import type { TwinName } from '../abi/twins.js';
import type { SiteName } from '../fault/sites.js';
import type {
  CHOICE_NAMES,
  Check,
  Finding,
  OutcomeName,
  RawExpectation,
  RawFault,
  RawKernel,
  RawScenario,
  REQUIRABLE,
} from './schema.js';

export type Require = Partial<Record<(typeof REQUIRABLE)[number], number>>;
export type KernelOptions = { readonly [K in keyof RawKernel]-?: NonNullable<RawKernel[K]> };
export type ParameterValue = number | string | boolean | readonly string[];

export interface Workload {
  readonly program: string;
  readonly processes: number;
  readonly threads: number;
  readonly with: Readonly<Record<string, ParameterValue>>;
}

/** A domain without a kernel, whose vCPUs do what they like. */
export interface HostileSpec {
  /** Names of the domains it aims at. */
  readonly peers: readonly string[];
  /** Of 256 values, how many are noise. */
  readonly noise: number;
  readonly mix: Readonly<Record<HostileGroup, number>>;
  /** Steps of a vCPU's life, about. */
  readonly life: number;
}

export interface DomainSpec {
  readonly name: string;
  readonly domid: number;
  readonly privileged: boolean;
  readonly memoryMib: number;
  readonly vcpus: number;
  readonly kernel: KernelOptions;
  readonly workloads: readonly Workload[];
  readonly hostile?: HostileSpec;
}

export interface DestroyEvent {
  readonly destroy: string;
  readonly whenRounds: number;
  readonly of: string;
}

/** What a design must show: nothing, a refusal, or exactly these broken invariants (and perhaps some of `may`). */
export type Expectation =
  | { readonly kind: 'clean' }
  | { readonly kind: 'refused' }
  | { readonly kind: 'breaks'; readonly breaks: readonly Finding[]; readonly may: readonly Finding[] };

/** How long a run lasts. */
export type Extent =
  { readonly kind: 'rounds'; readonly rounds: number } | { readonly kind: 'seconds'; readonly seconds: number };

/** One step of a small scenario; domains among its arguments are numbers by now. */
export interface SmallStep {
  readonly name: string;
  readonly args: readonly number[];
  /** As the file says it. */
  readonly text: string;
}

/** What one vCPU does; the domain '' is the control plane. */
export interface SmallList {
  readonly domain: string;
  readonly vcpu: number;
  readonly steps: readonly SmallStep[];
}

/** What `explore` searches: a setup that is run once, and a race whose schedules are searched. */
export interface Small {
  readonly setup: readonly SmallList[];
  readonly race: readonly SmallList[];
  /** Names of the choices that a schedule takes; the machine takes the others by itself. */
  readonly choices: readonly (typeof CHOICE_NAMES)[number][];
  /** Most faults of an execution, where a schedule chooses them. */
  readonly faults: number;
  /** Steps of an execution above which it counts as a livelock. */
  readonly bound: number;
}

export const DEFAULT_FAULTS = 1;
export const DEFAULT_BOUND = 200_000;

/** A fault to be injected. Everything but the site is optional; names are the scenario's. */
export interface FaultSpec {
  readonly site: SiteName;
  readonly status?: string;
  readonly nth?: number;
  readonly after?: number;
  readonly interval?: number;
  readonly times?: number;
  readonly space?: number;
  readonly probability?: number;
  readonly seed?: number;
  readonly domain?: string;
  readonly vcpu?: number;
  readonly step?: DesignStepName;
  readonly ref?: number;
  readonly handle?: number;
  /** First and last frame. */
  readonly frames?: readonly [number, number];
}

/** What the occurrences of a site end as besides clean; `none`: without a fault; `default`: at every site not named. */
export type SweepExpectation = Readonly<Partial<Record<SiteName | 'none' | 'default', readonly OutcomeName[]>>>;
/** By design, or `default` for what a design's own words leave open. */
export type SweepExpectations = Readonly<Record<string, SweepExpectation>>;

export function completeFault(raw: RawFault): FaultSpec {
  return Object.fromEntries(Object.entries(raw).filter(([, v]) => v !== undefined)) as unknown as FaultSpec;
}

export interface Scenario {
  readonly name: string;
  readonly description: string;
  readonly seed: number;
  readonly memoryMib: number;
  readonly hypervisor: {
    readonly build: 'release' | 'debug';
    readonly quantum: number;
    /** The rule that the hypervisor breaks on purpose; '': none. */
    readonly twin: TwinName | '';
  };
  readonly domains: readonly DomainSpec[];
  readonly events: readonly DestroyEvent[];
  readonly extent: Extent;
  readonly designs: readonly string[];
  readonly checks: readonly Check[];
  readonly expect: Readonly<Record<string, Expectation>>;
  readonly require: Require;
  readonly small?: Small;
  readonly faults: readonly FaultSpec[];
  readonly sweep: { readonly expect: SweepExpectations; readonly persistent: SweepExpectations };
}

export const DEFAULT_ROUNDS = 100;
const KERNEL: KernelOptions = { exitOrder: 'today', splitPteLocks: true, lazyMmu: true, restore: 'balloon' };

const HOSTILE_NOISE = 24;
const HOSTILE_LIFE = 4000;

type RawHostile = NonNullable<RawScenario['domains'][number]['hostile']>;

/** `raw` with every default; its peers, unless said, are the domains `others`. */
export function hostileOf(raw: RawHostile, others: readonly string[]): HostileSpec {
  const o = raw === true ? {} : raw;
  const mix = Object.fromEntries(HOSTILE_GROUPS.map((g) => [g, o.mix?.[g] ?? HOSTILE_USUAL]));
  return {
    peers: o.peers ?? others,
    noise: o.noise ?? HOSTILE_NOISE,
    mix: mix as Record<HostileGroup, number>,
    life: o.life ?? HOSTILE_LIFE,
  };
}

export function expectationOf(raw: RawExpectation | undefined): Expectation {
  if (raw === undefined || raw === 'clean') return { kind: 'clean' };
  if (raw === 'refused') return { kind: 'refused' };
  return Array.isArray(raw)
    ? { kind: 'breaks', breaks: raw, may: [] }
    : { kind: 'breaks', breaks: raw.breaks, may: raw.may ?? [] };
}

/** Options of a domain's kernel: its own, else the scenario's, else the defaults. */
export function kernelOptions(common: RawKernel | undefined, own: RawKernel | undefined): KernelOptions {
  const merged: KernelOptions = { ...KERNEL };
  for (const layer of [common, own]) {
    for (const [key, v] of Object.entries(layer ?? {})) if (v !== undefined) Object.assign(merged, { [key]: v });
  }
  return merged;
}

export function sizeMib(text: string): number {
  const n = Number.parseInt(text, 10);
  return text.endsWith('GiB') ? n * 1024 : n;
}

/** The privileged domain is 0; the others count from 1 in the order of the file. */
export function domids(raw: RawScenario['domains']): number[] {
  let next = 1;
  return raw.map((d) => (d.privileged === true ? 0 : next++));
}
