/**
 * What there is to audit: domains, vCPUs, frames in use, live handles, read once.
 *
 * Invariant: taken over a still machine, and as old as that: nothing in it outlives the next step.
 * Source: src/hypervisor/domain.ts, src/machine/cpu-record.ts.
 */
import { DOMID_FIRST_RESERVED, type Mfn } from '../abi/frames.js';
import {
  domain,
  DOMDYING_alive,
  domainSlot,
  domainSlots,
  vcpuCountOf,
  vcpuOf,
  type DomainRef,
} from '../hypervisor/domain.js';
import type { GrantTable } from '../hypervisor/grant/table.js';
import { vcpu } from '../machine/cpu-record.js';
import { countInfo, NO_OWNER, ownerOf } from '../machine/frame.js';
import { FRAMES } from '../machine/layout.js';
import { actor, CONTROL, REQ_KILL, type Cpu } from '../sync/actor.js';
import { peek } from '../sync/primitives.js';
import { grantsOf, type Grant } from './grant-view.js';
import { handlesOf, type Handle } from './handles.js';
import { frameOf, type Frame } from './view.js';

/** A domain that can still be found, zombies included. */
export interface Domain {
  readonly d: DomainRef;
  readonly domid: number;
  /** Not being destroyed, not destroyed. */
  readonly alive: boolean;
  readonly privileged: boolean;
  /** The one domain it may act upon; -1: none. */
  readonly target: number;
  /** 0: none. */
  readonly table: GrantTable;
  readonly label: string;
}

export interface Processor {
  readonly cpu: Cpu;
  /** Undefined for the control plane. */
  readonly domain: Domain | undefined;
  readonly label: string;
  /** It may make another guest access. */
  readonly lives: boolean;
}

export interface Stock {
  readonly domains: readonly Domain[];
  readonly byId: ReadonlyMap<number, Domain>;
  readonly processors: readonly Processor[];
  /** Every frame that is not plainly a hole: free ones too. */
  readonly frames: readonly Frame[];
  readonly handles: readonly Handle[];
  /** By domain: the entries of its grant table that are, were or look to be in use. */
  readonly grants: ReadonlyMap<number, readonly Grant[]>;
}

export function takeStock(): Stock {
  const domains = allDomains();
  const byId = new Map(domains.map((d) => [d.domid, d]));
  const control: Processor = { cpu: CONTROL, domain: undefined, label: 'control plane', lives: false };
  const processors = [control, ...domains.flatMap(processorsOf)];
  const handles = domains.flatMap((d) => handlesOf(d, byId));
  const grants = new Map(domains.map((d) => [d.domid, grantsOf(d.table)]));
  return { domains, byId, processors, frames: allFrames(), handles, grants };
}

function allDomains(): Domain[] {
  const out: Domain[] = [];
  for (let i = 0; i < domainSlots; i++) {
    const d = domainSlot(i);
    if (peek(domain.key(d)) === 0) continue;
    const domid = peek(domain.domid(d));
    out.push({
      d,
      domid,
      alive: peek(domain.dying(d)) === DOMDYING_alive,
      privileged: peek(domain.privileged(d)) !== 0,
      target: peek(domain.target(d)) - 1,
      table: peek(domain.grantTable(d)) as GrantTable,
      label: `d${String(domid)}`,
    });
  }
  return out;
}

function processorsOf(d: Domain): Processor[] {
  const runs = d.alive && peek(domain.shuttingDown(d.d)) === 0;
  return Array.from({ length: vcpuCountOf(d.d) }, (_, i) => {
    const cpu = vcpuOf(d.d, i);
    const lives = runs && peek(vcpu.up(cpu)) !== 0 && (peek(actor.request(cpu)) & REQ_KILL) === 0;
    return { cpu, domain: d, label: `${d.label}v${String(i)}`, lives };
  });
}

function allFrames(): Frame[] {
  const out: Frame[] = [];
  for (let m = 0; m < FRAMES; m++) {
    const at = countInfo(m as Mfn);
    // Holes are most of a small machine: two looks must do for them.
    if ((peek(at) | peek(at + 1)) === 0 && ownerOf(peek(at + 2)) === NO_OWNER) continue;
    out.push(frameOf(m as Mfn));
  }
  return out;
}

/** A frame of that owner is a guest's: what guests map of each other goes by grants. */
export const isGuest = (owner: number): boolean => owner < DOMID_FIRST_RESERVED;

/** May `mapper` name frames of `owner` in its tables without a grant ([X30])? */
export const mapsByRight = (mapper: Domain, owner: number): boolean => mapper.privileged || mapper.target === owner;
