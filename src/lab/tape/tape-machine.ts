/**
 * The machine a tape runs on, as its operations need it: who runs, what the names mean, which handles were given out.
 *
 * Invariant: a domain that is dying, gone or shut down does not run.
 * Source: tapes FORMAT.md.
 */
import { GNTTAB_RESERVED_ENTRIES } from '../../abi/grant.js';
import { HypervisorBug } from '../../abi/errors.js';
import { frameNames } from './names.js';
import type { TapeGuest } from './guest.js';
import type { Tape } from './schema.js';
import { Symbols } from './symbols.js';
import { noGroups } from './type-probe.js';

/** d0's window of grant references starts here; the others' after the reserved entries. */
const D0_GREF_BASE = 16;
const RAW_REF = 65536;
/** Physical frame number of the first name. */
const FIRST_PFN = 0x10000;

export class TapeMachine {
  readonly tape: Tape;
  readonly symbols = new Symbols();
  /** Handle numbers by slot. */
  readonly handles = new Map<number, number>();
  /** Grant frame 0 of each domain. */
  readonly grantFrames = new Map<string, number>();
  /** Pages of each running domain's kernel image and special frames, which `tot` leaves out or counts. */
  readonly basePages = new Map<string, number>();
  readonly guests = new Map<string, TapeGuest>();
  /** What the type probe remembers from one time to the next. */
  readonly typeGroups = noGroups();
  /** Names of domains that will never run again. */
  readonly stopped = new Set<string>();
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #firstOwners = new Map<string, string>();

  constructor(tape: Tape) {
    this.tape = tape;
    this.#numbers = new Map(frameNames(tape).map((name, i) => [name, i]));
    for (const name of frameNames(tape)) {
      const owner = name.startsWith('f')
        ? tape.frames[Number(name.slice(1))]
        : name.startsWith('d')
          ? name.split('.')[0]
          : 'd0';
      if (owner !== undefined && owner !== null) this.#firstOwners.set(name, owner);
    }
  }

  get d0(): TapeGuest {
    const g = this.guests.get('d0');
    if (g === undefined) throw new HypervisorBug('a tape machine without d0');
    return g;
  }

  /** Domain names d0..dn. */
  domains(): string[] {
    return Array.from({ length: this.tape.doms + 1 }, (_, d) => `d${String(d)}`);
  }

  /** The kernel of a domain that runs and lives. */
  running(name: string): TapeGuest | undefined {
    return this.stopped.has(name) ? undefined : this.guests.get(name);
  }

  /** Owner of a frame at the start of the tape. */
  firstOwner(f: string): string | undefined {
    return this.#firstOwners.get(f);
  }

  /** The pseudo-physical number of a name. */
  pfnOf(name: string): number {
    return FIRST_PFN + (this.#numbers.get(name) ?? 0);
  }

  /** The real reference behind reference `r` of the tape, in the table of `owner`. */
  grefOf(owner: string, r: number): number {
    if (r >= RAW_REF) return r | 0;
    return r + (owner === 'd0' ? D0_GREF_BASE : GNTTAB_RESERVED_ENTRIES);
  }

  /** The same where the owner may be given as `self`. */
  gref(owner: string, by: TapeGuest, r: number): number {
    return this.grefOf(owner === 'self' ? by.name : owner, r);
  }

  /** First frame of a domain's grant table. */
  grantFrame(name: string): number {
    return this.grantFrames.get(name) ?? 0;
  }

  /** Version of a domain's grant table; puppets never change theirs. */
  grantVersion(name: string): number {
    return this.guests.get(name)?.grantVersion ?? 1;
  }
}
