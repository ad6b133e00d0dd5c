/**
 * Fault plans: per site, in shared words, when it fails and with what status.
 *
 * Invariant: whether the n-th occurrence fails is a function of the plan and n alone (`times` apart), so a controlled
 * run with the same schedule fails at the same places; SEEN counts occurrences even when none is to fail, for sweeps.
 * Lock: none; a plan is written while actors stand still, counters are atomic. No schedule point.
 * Source: DESIGN decision 9; fields as Linux's fault attributes (probability, interval, times, space).
 */
import { HypervisorBug } from '../abi/errors.js';
import { add } from '../ops/atomics.js';
import { words } from '../ops/memory.js';
import { cpuIndex, header, type Cpu } from '../sync/actor.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { SITE, SITES, type Site, type SiteName } from './sites.js';

/** When a site fails; every condition given must hold. With none but `status`, every occurrence fails. */
export interface FaultRule {
  /** What the site answers; not 0. */
  readonly status: number;
  /** Exactly this occurrence, from 1. */
  readonly nth?: number;
  /** Only occurrences beyond this many. */
  readonly after?: number;
  /** Every interval-th occurrence of those beyond `after`. */
  readonly interval?: number;
  /** At most this many failures; 0 or absent: no limit. */
  readonly times?: number;
  /** Chance of each failure, 0 to 1, decided by `seed` and the occurrence's number. */
  readonly probability?: number;
  readonly seed?: number;
  /** Indices of the actors concerned; absent: all. Occurrences of others are not counted. */
  readonly actors?: readonly number[];
}

/** The table: one line per site. */
const SITE_WORDS = 16;
export const FAULT_WORDS = SITES.length * SITE_WORDS;

const STATUS = 0;
const SEEN = 1;
const HITS = 2;
const NTH = 3;
const AFTER = 4;
const INTERVAL = 5;
const TIMES = 6;
const CHANCE = 7;
const SEED = 8;
const ACTORS = 9;
const ACTOR_MASKS = 3;

const CERTAIN = 1 << 24;
const word = (a: number): number => words[a] as number;

/** Lays an empty table at `base` (FAULT_WORDS) and makes it this machine's. */
export function faultInit(base: number): void {
  words.fill(0, base, base + FAULT_WORDS);
  words[header.faults] = base;
}

function siteAt(site: Site): number {
  const base = word(header.faults);
  if (base === 0) throw new HypervisorBug('faults: no table was laid');
  return base + site * SITE_WORDS;
}

/** Sets the rule of a site and clears its counters; null takes the rule away. */
export function faultPlan(name: SiteName, rule: FaultRule | null): void {
  const p = siteAt(SITE[name]);
  words.fill(0, p, p + SITE_WORDS);
  if (rule === null) return;
  if (rule.status === 0) throw new HypervisorBug(`faults: ${name} must fail with a status`);
  words[p + STATUS] = rule.status;
  words[p + NTH] = rule.nth ?? 0;
  words[p + AFTER] = rule.after ?? 0;
  words[p + INTERVAL] = rule.interval ?? 1;
  words[p + TIMES] = rule.times ?? 0;
  words[p + CHANCE] = Math.round((rule.probability ?? 1) * CERTAIN);
  words[p + SEED] = rule.seed ?? 0;
  for (let i = 0; i < ACTOR_MASKS; i++) words[p + ACTORS + i] = rule.actors === undefined ? -1 : 0;
  for (const i of rule.actors ?? []) words[p + ACTORS + (i >>> 5)] = word(p + ACTORS + (i >>> 5)) | (1 << (i & 31));
}

/** Status with which this occurrence of the site fails; 0 when it does not. */
export function faultHit(cpu: Cpu, site: Site): number {
  const base = word(header.faults);
  if (base === 0) return 0;
  const p = base + site * SITE_WORDS;
  return word(p + STATUS) === 0 ? 0 : decide(cpu, site, p);
}

function decide(cpu: Cpu, site: Site, p: number): number {
  const i = cpuIndex(cpu);
  if (((word(p + ACTORS + (i >>> 5)) >>> (i & 31)) & 1) === 0) return 0;
  const n = add(p + SEEN, 1) + 1;
  if (!matches(p, n)) return 0;
  const before = add(p + HITS, 1);
  const times = word(p + TIMES);
  if (times !== 0 && before >= times) {
    add(p + HITS, -1);
    return 0;
  }
  const status = word(p + STATUS);
  trace(cpu, EVENT.faultInjected, site, status);
  return status;
}

/** Whether the rule asks for the n-th occurrence to fail. */
function matches(p: number, n: number): boolean {
  const nth = word(p + NTH);
  if (nth !== 0 && n !== nth) return false;
  const beyond = n - word(p + AFTER);
  if (beyond < 1 || beyond % word(p + INTERVAL) !== 0) return false;
  return hash(word(p + SEED), n) >>> 8 < word(p + CHANCE);
}

/** 32 bits, unsigned, of the pair. */
function hash(seed: number, n: number): number {
  let h = Math.imul(seed ^ 0x9e3779b9, 0x7feb352d) + n;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Occurrences counted and failures injected at a site since its rule was set. */
export function faultCounts(name: SiteName): { readonly seen: number; readonly hits: number } {
  const p = siteAt(SITE[name]);
  return { seen: word(p + SEEN), hits: word(p + HITS) };
}
