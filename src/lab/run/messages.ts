/**
 * What the main thread and the threads of a machine say to each other, and the board they meet at.
 *
 * Invariant: one task per thread at a time; a task is answered by exactly one reply, before it perhaps by `ready`.
 * Lock: none; the board is a few words of a memory of its own, so that no machine address depends on it.
 */
import type { Violation } from '../../abi/guest.js';
import type { DomainSpec, DestroyEvent, FaultSpec, Scenario } from '../../scenario/scenario.js';

/** Words of the board. */
/** Number of the last barrier that was opened. */
export const BOARD_GO = 0;
/** 1: whoever waits at the barrier leaves with `lost`. */
export const BOARD_GIVEN_UP = 1;
/** Number of the last run whose vCPUs have all ended: the control thread stops overseeing. */
export const BOARD_ENDED = 2;
export const BOARD_WORDS = 16;

export interface ThreadData {
  readonly memory: WebAssembly.Memory;
  readonly board: Int32Array;
}

/** Everything that defines a machine, for the control thread. */
export interface MachinePlan {
  readonly scenario: Pick<Scenario, 'name' | 'seed' | 'hypervisor' | 'domains' | 'extent'>;
  readonly design: string;
  /** Faults to be injected; none unless said. */
  readonly faults?: readonly FaultSpec[];
}

/** One vCPU of a booted machine. */
export interface VcpuPlace {
  /** Address of its actor record. */
  readonly cpu: number;
  readonly domain: string;
  readonly domid: number;
  /** Number within the domain. */
  readonly id: number;
  /** Of a hostile domain: the word that says which actor it is in this life; `cpu` is 0 then. */
  readonly cpuWord?: number;
}

/** Bounds of the memory's regions, in words, lowest first: what an address is said to lie in. */
export type Regions = readonly { readonly name: string; readonly from: number }[];

/** Words in which a domain's guest says how far it is; 0 where a guest has none. */
export interface DomainWords {
  readonly domain: string;
  readonly domid: number;
  /** Set to ask the guest to come to an end. */
  readonly stop: number;
  readonly rounds: number;
  /** Guest counters by name. */
  readonly counters: Readonly<Record<string, number>>;
  /** Of a hostile domain: counters, each with a word per vCPU. */
  readonly tallies?: Readonly<Record<string, readonly number[]>>;
}

export interface Booted {
  readonly kind: 'booted';
  readonly vcpus: readonly VcpuPlace[];
  /** What a vCPU thread is told of its domain besides the scenario, by domain name; plain data of the guests' side. */
  readonly starts: Readonly<Record<string, unknown>>;
  readonly control: number;
  readonly regions: Regions;
  readonly domains: readonly DomainWords[];
}

export type ControlTask =
  | { readonly kind: 'boot'; readonly plan: MachinePlan }
  | { readonly kind: 'oversee'; readonly go: number; readonly events: readonly DestroyEvent[] }
  | { readonly kind: 'audit'; readonly checks: readonly string[] };

export interface VcpuTask {
  readonly kind: 'vcpu';
  readonly go: number;
  readonly place: VcpuPlace;
  readonly plan: MachinePlan;
  readonly domain: DomainSpec;
  readonly start: unknown;
}

export type Task = ControlTask | VcpuTask;

export type Reply =
  | Booted
  /** Domains that the events destroyed, and those whose event never came; sentences about those that faults took away. */
  | {
      readonly kind: 'overseen';
      readonly destroyed: readonly string[];
      readonly missed: readonly string[];
      readonly buried: readonly string[];
    }
  /** The first violations of each invariant, and how many of each there were. */
  | {
      readonly kind: 'audited';
      readonly violations: readonly Violation[];
      readonly totals: Readonly<Record<string, number>>;
      /** Of planned faults: what was reached and injected, and which never were. */
      readonly faults: { readonly counters: Readonly<Record<string, number>>; readonly missed: readonly string[] };
    }
  /** The vCPU came to its end: of itself, or because its domain was destroyed or crashed. */
  | { readonly kind: 'ended'; readonly how: 'finished' | 'killed' | 'crashed'; readonly why: string }
  /** The design will not run under these options. */
  | { readonly kind: 'refused'; readonly why: string }
  /** The machine was given up while this thread waited. */
  | { readonly kind: 'lost' }
  /** An exception: a broken invariant of ours, or a mistake in the lab. */
  | { readonly kind: 'failed'; readonly error: string; readonly stack: string };

export type FromThread = { readonly kind: 'ready' } | Reply;
