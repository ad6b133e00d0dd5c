/**
 * Says where a vCPU is: what it does, what it waits for, who has that, and what it holds itself.
 *
 * Invariant: reads only; takes no lock. For people: nothing parses these sentences.
 * Lock: none.
 */
import * as numbers from '../../abi/hypercall.js';
import {
  actor,
  HELD_MAX,
  MODE_ACCESS,
  MODE_BLOCKED,
  MODE_GUEST,
  MODE_HYPERVISOR,
  MODE_OFF,
  type Cpu,
} from '../../sync/actor.js';
import { rankName } from '../../sync/lock-order.js';
import type { Regions, VcpuPlace } from './messages.js';

const HYPERCALLS = new Map<number, string>(
  Object.entries(numbers).map(([name, nr]) => [nr, name.replace('HYPERVISOR_', '')]),
);
const MODES = new Map<number, string>([
  [MODE_OFF, 'off'],
  [MODE_GUEST, 'in guest code'],
  [MODE_HYPERVISOR, 'in the hypervisor'],
  [MODE_BLOCKED, 'blocked'],
  [MODE_ACCESS, 'in the hypervisor, reaching into guest memory'],
]);

export const vcpuName = (p: VcpuPlace): string => `${p.domain}.vcpu${String(p.id)}`;

interface Held {
  readonly address: number;
  readonly rank: number;
}

export class Whereabouts {
  readonly #words: Int32Array;
  readonly #regions: Regions;
  readonly #places: readonly VcpuPlace[];

  constructor(words: Int32Array, regions: Regions, places: readonly VcpuPlace[]) {
    this.#words = words;
    this.#regions = regions;
    this.#places = places;
  }

  /** One sentence about `place`. */
  describe(place: VcpuPlace): string {
    const cpu = this.#cpu(place);
    const doing = this.#at(actor.doing(cpu));
    const mode = MODES.get(this.#at(actor.mode(cpu))) ?? 'in an unknown mode';
    const call = doing === 0 ? mode : `${mode}, in ${HYPERCALLS.get(doing - 1) ?? `hypercall ${String(doing - 1)}`}`;
    return `${vcpuName(place)} is ${call}${this.#waits(cpu)}; holds ${this.#holds(cpu)}`;
  }

  /** The locks that `place` holds, outermost first, by name. */
  locks(place: VcpuPlace): string[] {
    return this.#held(this.#cpu(place)).map((h) => `${rankName(h.rank)} at ${this.where(h.address)}`);
  }

  /** An address as a region and an offset. */
  where(address: number): string {
    const region = this.#regions.findLast((r) => r.from <= address);
    if (region === undefined) return `word ${String(address)}`;
    return `${region.name}+${String(address - region.from)}`;
  }

  #waits(cpu: Cpu): string {
    const address = this.#at(actor.waiting(cpu));
    if (address === 0) return ', waiting for nothing';
    const holder = this.#places.find((p) => this.#held(this.#cpu(p)).some((h) => h.address === address));
    if (holder === undefined) return `, waiting for the word at ${this.where(address)}`;
    const rank = this.#held(this.#cpu(holder)).find((h) => h.address === address)?.rank ?? 0;
    return `, waiting for ${rankName(rank)} at ${this.where(address)} held by ${vcpuName(holder)}`;
  }

  #holds(cpu: Cpu): string {
    const held = this.#held(cpu).map((h) => rankName(h.rank));
    return held.length === 0 ? 'no lock' : held.join(', ');
  }

  #held(cpu: Cpu): Held[] {
    const n = Math.max(0, Math.min(this.#at(actor.heldCount(cpu)), HELD_MAX));
    return Array.from({ length: n }, (_, i) => ({
      address: this.#at(actor.heldAddress(cpu, i)),
      rank: this.#at(actor.heldRank(cpu, i)),
    }));
  }

  #cpu(p: VcpuPlace): Cpu {
    return (p.cpuWord === undefined ? p.cpu : this.#at(p.cpuWord)) as Cpu;
  }

  #at(address: number): number {
    return Atomics.load(this.#words, address);
  }
}
