/**
 * The hostile domains of a machine, as the control plane keeps them: laid out with the others, begun when all are there,
 * looked after while vCPUs run, destroyed in the end.
 *
 * Invariant: the control plane's thread or coroutine is the only one that changes a domain's lives; records and tallies are
 * laid once and live as long as the machine.
 * Lock: none.
 */
import { mfnWord, type Mfn } from '../../abi/frames.js';
import { domain, findDomain } from '../../hypervisor/domain.js';
import { sharedInfoMfn } from '../../hypervisor/event-port.js';
import { grantTable, type GrantTable } from '../../hypervisor/grant/table.js';
import { ownerOf, ownerWord } from '../../machine/frame.js';
import { FRAMES } from '../../machine/layout.js';
import type { DomainSpec } from '../../scenario/scenario.js';
import { peek, poke } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { reserveArena } from '../run/build-guest.js';
import type { BuiltDomain } from '../run/control.js';
import type { MachinePlan } from '../run/messages.js';
import type { BesideGuests, Neighbour } from './guests.js';
import { forgetfulOf, lives, type Lives } from './lives.js';
import { endLife, firstLife, tend, type HostileDomain } from './tend.js';

/** Frames of each neighbour whose numbers are given away. */
const KNOWN_FRAMES = 16;

type Laid = Omit<HostileDomain, 'neighbours' | 'check'>;

const isHostile = (d: DomainSpec): d is Laid['spec'] => d.hostile !== undefined;

export class HostileDomains {
  readonly #guests: BesideGuests;
  #laid: Laid[] = [];
  #all: HostileDomain[] = [];

  constructor(guests: BesideGuests) {
    this.#guests = guests;
  }

  /** A machine begins. */
  clear(): void {
    this.#laid = [];
    this.#all = [];
  }

  /** Room for what the domain's vCPUs know and count; rings are found at `rings`, changes are told at `turnAt` (0: anywhere). */
  *lay(plan: MachinePlan, spec: DomainSpec, rings: number, turnAt: number): Steps<BuiltDomain> {
    const g = this.#guests;
    const l = (yield* reserveArena(lives.words)) as Lives;
    const turn = turnAt === 0 ? yield* reserveArena(1) : turnAt;
    poke(lives.turnAt(l), turn);
    const own = Math.ceil(g.recordWords + g.tallyWords);
    for (let v = 0; v < spec.vcpus; v++) {
      const at = yield* reserveArena(own);
      poke(lives.records(l) + v, at);
      poke(lives.tallies(l) + v, at + g.recordWords);
    }
    if (isHostile(spec)) this.#laid.push({ spec, lives: l, rings, seed: plan.scenario.seed });
    const ids = Array.from({ length: spec.vcpus }, (_, v) => v);
    const words = {
      domain: spec.name,
      domid: spec.domid,
      stop: lives.over(l),
      rounds: 0,
      counters: { 'hostile.forgotten': lives.forgotten(l) },
      tallies: sumsOf(
        g,
        ids.map((v) => peek(lives.tallies(l) + v)),
      ),
    };
    return { words, vcpus: [], cpuWords: ids.map((v) => lives.cpus(l) + v), start: l };
  }

  /** First lives; false: there is no room for one. */
  *begin(plan: MachinePlan, check: () => void): Steps<boolean> {
    for (const laid of this.#laid) {
      const neighbours: Neighbour[] = [];
      for (const d of plan.scenario.domains) {
        if (laid.spec.hostile.peers.includes(d.name)) neighbours.push(yield* neighbour(d.domid));
      }
      const h = { ...laid, neighbours, check };
      this.#all.push(h);
      if (!(yield* firstLife(h, this.#guests))) return false;
    }
    return true;
  }

  *tend(patience: number): Steps<void> {
    for (const h of this.#all) yield* tend(h, this.#guests, patience);
  }

  /** Destroys what lives. */
  *end(): Steps<void> {
    for (const h of this.#all) {
      yield* endLife(h);
      yield* this.#guests.gone(h.rings, peek(lives.domid(h.lives)));
    }
  }

  /** Numbers of domains of which Xen itself forgot a table: their frames stay, as they would with the real one. */
  forgetful(): number[] {
    return this.#all.flatMap((h) => forgetfulOf(h.lives));
  }
}

/** Counters by name, each with a word per vCPU. */
function sumsOf(g: BesideGuests, tallies: readonly number[]): Record<string, readonly number[]> {
  const out: Record<string, number[]> = {};
  for (const tally of tallies) for (const [name, address] of g.tallied(tally)) (out[name] ??= []).push(address);
  return out;
}

/** What can be found out of a domain: frames that Xen shares with it, the first of its own. */
function* neighbour(domid: number): Steps<Neighbour> {
  const d = yield* findDomain(domid);
  const frames: number[] =
    d === 0 ? [] : [sharedInfoMfn(d), peek(peek(grantTable.sharedList(peek(domain.grantTable(d)) as GrantTable)))];
  for (let m = 0; m < FRAMES && frames.length < KNOWN_FRAMES; m++) {
    if (ownerOf(peek(ownerWord(m as Mfn))) === domid) frames.push(m);
  }
  return { domid, frames: frames.filter((m) => mfnWord(m as Mfn) >= 0) };
}
