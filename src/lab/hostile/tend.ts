/**
 * The control plane's care of hostile domains: builds them, destroys each when one of its vCPUs has had enough or the domain
 * has crashed, while everything else runs, and builds it anew.
 *
 * Invariant: a domain that cannot be built for want of frames, records or vCPU slots is tried again at the next look.
 * Lock: none held between two looks.
 * Source: xl's `on_poweroff=restart`, `on_crash=restart`.
 */
import { HypervisorBug } from '../../abi/errors.js';
import { ERESTART } from '../../abi/errno.js';
import { mfnWord, type Mfn } from '../../abi/frames.js';
import { allocDomainFrame } from '../../hypervisor/allocation.js';
import { newGuestCr3 } from '../../hypervisor/base.js';
import { domainCreate } from '../../hypervisor/create.js';
import { domain, findDomain, vcpuOf, type DomainRef } from '../../hypervisor/domain.js';
import { destroyDomain, unpauseDomain } from '../../hypervisor/domctl.js';
import { sharedInfoMfn } from '../../hypervisor/event-port.js';
import { grantTable, type GrantTable } from '../../hypervisor/grant/table.js';
import { globals } from '../../hypervisor/globals.js';
import { vcpu } from '../../machine/cpu-record.js';
import type { DomainSpec, HostileSpec } from '../../scenario/scenario.js';
import { CONTROL } from '../../sync/actor.js';
import { add, ldOnce, peek, poke, stOnce } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { mix } from '../fuzz/plan.js';
import type { BesideDomain, BesideGuests, Neighbour } from './guests.js';
import { DOMIDS_APART, lives, turnOf, type Lives } from './lives.js';

const PAGES_PER_MIB = 256;
const GRANT_FRAMES = 2;
const MAPTRACK_FRAMES = 1;
/** The last number of a life: then it begins at the first again. */
const MAX_LIVES = 1000;

export interface HostileDomain {
  readonly spec: DomainSpec & { readonly hostile: HostileSpec };
  readonly lives: Lives;
  readonly neighbours: readonly Neighbour[];
  readonly rings: number;
  readonly seed: number;
  /** How to give up: throws when the machine was given up. */
  readonly check: () => void;
}

/** The first life, over a machine that stands still: a machine without room for it says so. */
export function* firstLife(h: HostileDomain, guests: BesideGuests): Steps<boolean> {
  poke(lives.vcpus(h.lives), h.spec.vcpus);
  poke(lives.steps(h.lives), h.spec.hostile.life);
  poke(lives.domid(h.lives), h.spec.domid);
  return yield* nextLife(h, guests, h.spec.domid);
}

/**
 * One look. A vCPU need not come to an end by itself: a grant copy may be restarted for ever (lab/fuzz/oversee.ts). After
 * `patience` looks at a domain that is told to end, or ten times as many at one life, it is destroyed.
 */
export function* tend(h: HostileDomain, guests: BesideGuests, patience: number): Steps<void> {
  const l = h.lives;
  const domid = peek(lives.domid(l));
  yield* guests.sweep(h.rings, domid);
  const over = yield* ldOnce(lives.over(l)); // raced on purpose: set once
  const ended = yield* ldOnce(lives.ended(l)); // raced on purpose: vCPUs count up
  if (isAlive(l)) {
    if (over !== 0 && ended === h.spec.vcpus) yield* guests.gone(h.rings, domid);
    if (!(yield* isDue(h, over, ended, patience))) return;
    yield* endLife(h);
    poke(lives.destroyed(l), peek(lives.life(l)));
    yield* guests.gone(h.rings, domid);
  } else if (over === 0 && ended === h.spec.vcpus) {
    const next = h.spec.domid + DOMIDS_APART * (peek(lives.life(l)) % MAX_LIVES);
    if (yield* nextLife(h, guests, next)) yield* guests.reborn(h.rings, next);
  }
}

const isAlive = (l: Lives): boolean => peek(lives.destroyed(l)) !== peek(lives.life(l));

/** Whether the domain is to be destroyed now: of those told to end only one that does not. */
function* isDue(h: HostileDomain, over: number, ended: number, patience: number): Steps<boolean> {
  const l = h.lives;
  if (over !== 0) return ended < h.spec.vcpus && look(lives.looksOver(l)) > patience;
  const d = yield* findDomain(peek(lives.domid(l)));
  const crashed = d !== 0 && (yield* ldOnce(domain.shuttingDown(d))) !== 0; // raced on purpose: set once
  return ended > 0 || crashed || look(lives.looks(l)) > 10 * patience;
}

function look(a: number): number {
  poke(a, peek(a) + 1);
  return peek(a);
}

/** Destroys what lives now; its number stays until there is another life. */
export function* endLife(h: HostileDomain): Steps<void> {
  const d = yield* findDomain(peek(lives.domid(h.lives)));
  if (d !== 0) yield* destroyFully(d, h.check);
}

/** In as many calls as it takes. */
export function* destroyFully(d: DomainRef, check: () => void): Steps<void> {
  for (;;) {
    check();
    poke(vcpu.quantumLeft(CONTROL), peek(globals.quantum));
    const rc = yield* destroyDomain(CONTROL, d);
    if (rc === 0) return;
    if (rc !== -ERESTART) throw new HypervisorBug(`destroying a hostile domain: ${String(rc)}`);
  }
}

/** Builds the domain as `domid` and publishes the life; false: there is no room now. */
function* nextLife(h: HostileDomain, guests: BesideGuests, domid: number): Steps<boolean> {
  const { vcpus, memoryMib } = h.spec;
  const limits = { maxGrantFrames: GRANT_FRAMES, maxMaptrackFrames: MAPTRACK_FRAMES };
  const rc = yield* domainCreate(CONTROL, { domid, vcpus, maxPages: memoryMib * PAGES_PER_MIB, ...limits });
  const d = rc === 0 ? yield* findDomain(domid) : (0 as DomainRef);
  if (d === 0) return false;
  const built = yield* fill(h, guests, d, domid);
  if (built === undefined) {
    yield* destroyFully(d, h.check);
    return false;
  }
  const life = peek(lives.life(h.lives)) + 1;
  const seed = mix(h.seed, 1000 + life);
  for (let v = 0; v < vcpus; v++) {
    poke(lives.cpus(h.lives) + v, vcpuOf(d, v));
    guests.tell(peek(lives.records(h.lives) + v), peek(lives.tallies(h.lives) + v), built, v, {
      seed: mix(seed, v),
      options: h.spec.hostile,
      neighbours: h.neighbours,
      rings: h.rings,
    });
  }
  poke(lives.looks(h.lives), 0);
  poke(lives.seed(h.lives), seed);
  poke(lives.domid(h.lives), domid);
  yield* stOnce(lives.ended(h.lives), 0); // raced on purpose: nobody counts before the life is published
  yield* unpauseDomain(CONTROL, d);
  yield* add(lives.life(h.lives), 1);
  yield* turnOf(h.lives);
  return true;
}

/** Frames, tables, bases; undefined: too few frames. */
function* fill(h: HostileDomain, guests: BesideGuests, d: DomainRef, domid: number): Steps<BesideDomain | undefined> {
  const { vcpus } = h.spec;
  const frames: Mfn[] = [];
  for (let i = guests.pages(vcpus); i > 0; i--) {
    const mfn = yield* allocDomainFrame(CONTROL, d);
    if (mfn < 0) return undefined;
    frames.push(mfn);
  }
  const grantFrame = peek(peek(grantTable.sharedList(peek(domain.grantTable(d)) as GrantTable)));
  const built: BesideDomain = { domid, privileged: false, vcpus, frames, grantFrame, sharedInfo: sharedInfoMfn(d) };
  guests.lay(built, put);
  for (let v = 0; v < vcpus; v++) {
    let rc = -ERESTART;
    while (rc === -ERESTART) rc = yield* newGuestCr3(vcpuOf(d, v), guests.base(built), 0);
    if (rc !== 0) throw new HypervisorBug(`the tables of a hostile guest are refused: ${String(rc)}`);
  }
  return built;
}

function put(table: Mfn, index: number, lo: number, hi: number): void {
  poke(mfnWord(table) + 2 * index, lo);
  poke(mfnWord(table) + 2 * index + 1, hi);
}
