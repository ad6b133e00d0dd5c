/**
 * Fault plans: rules in shared words, each for one site: when it fails and with what.
 *
 * Invariant: whether the n-th occurrence that a rule concerns fails is a function of the rule and n alone (`times` and
 * `space` apart, which count), so a controlled run with the same schedule fails at the same places. Every occurrence of a
 * site is counted while a table is laid, whether or not a rule concerns it.
 * Lock: none; rules are written while actors stand still, counters are atomic. No schedule point.
 * Source: DESIGN decision 9; attributes as Linux's fault-injection capabilities (probability, interval, times, space).
 */
import { HypervisorBug } from '../abi/errors.js';
import { add, or } from '../ops/atomics.js';
import { words } from '../ops/memory.js';
import { actor, cpuAt, cpuIndex, header, MAX_CPUS, REQ_FAULT, type Cpu } from '../sync/actor.js';
import { CHOICE } from '../sync/choices.js';
import { BUILD, choose, peek, poke } from '../sync/primitives.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { answerAt, atGuestAccess } from './about.js';
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
  /** What may pass first: each occurrence that would fail uses up one. */
  readonly space?: number;
  /** Chance of each failure, 0 to 1, decided by `seed` and the occurrence's number. */
  readonly probability?: number;
  readonly seed?: number;
  /** Indices of the actors concerned; absent: all. What concerns others is not counted. */
  readonly actors?: readonly number[];
  /** DESIGN_STEP numbers of the steps concerned; absent: all. Not counted outside them, as with the filters below. */
  readonly steps?: readonly number[];
  /** Only this grant reference, this handle, frames from `frames[0]` to `frames[1]`; a site that knows none is not concerned. */
  readonly ref?: number;
  readonly handle?: number;
  readonly frames?: readonly [number, number];
  /**
   * Where a schedule has a say in faults (`CHOICE.fault`): how many answers it may choose from, the status first, then the
   * site's others in their order. Absent: the rule alone decides.
   */
  readonly answers?: number;
}

/** No reference, handle or frame is known. */
const UNKNOWN = -2;

/** A line per site: occurrences, failures, first rule. */
const SITE_WORDS = 4;
const SITE_SEEN = 0;
const SITE_HITS = 1;
const SITE_RULE = 2;
/** Rules of all sites together. */
export const MAX_RULES = 38;
const RULE_WORDS = 24;
const RULES = SITES.length * SITE_WORDS;
export const FAULT_WORDS = RULES + MAX_RULES * RULE_WORDS;

const NEXT = 0;
const STATUS = 1;
const SEEN = 2;
const HITS = 3;
const NTH = 4;
const AFTER = 5;
const INTERVAL = 6;
const TIMES = 7;
const SPACE = 8;
const CHANCE = 9;
const SEED = 10;
const STEPS = 11;
const FILTERS = 12;
const REF = 13;
const HANDLE = 14;
const FRAME_FIRST = 15;
const FRAME_LAST = 16;
const ACTORS = 17;
const ACTOR_MASKS = 3;
const ANSWERS = ACTORS + ACTOR_MASKS;

/** Bits of FILTERS. */
const BY_REF = 1;
const BY_HANDLE = 2;
const BY_FRAME = 4;

const CERTAIN = 1 << 24;
const word = (a: number): number => words[a] as number;

const build: string = BUILD;
/** Adds without a schedule point; answers what was there. */
function bump(a: number, by: number): number {
  if (build !== 'controlled') return add(a, by);
  const was = peek(a);
  poke(a, was + by);
  return was;
}

/** Lays an empty table at `base` (FAULT_WORDS) and makes it this machine's. */
export function faultInit(base: number): void {
  words.fill(0, base, base + FAULT_WORDS);
  words[header.faults] = base;
  look();
}

function table(): number {
  const base = word(header.faults);
  if (base === 0) throw new HypervisorBug('faults: no table was laid');
  return base;
}
const siteAt = (site: Site): number => table() + site * SITE_WORDS;
const ruleAt = (i: number): number => table() + RULES + i * RULE_WORDS;

/** Makes `rule` the only one of the site and clears its counters; null takes every rule of it away. */
export function faultPlan(name: SiteName, rule: FaultRule | null): void {
  const line = siteAt(SITE[name]);
  for (let p = word(line + SITE_RULE); p !== 0; p = word(p + NEXT)) words[p + STATUS] = 0;
  words.fill(0, line, line + SITE_WORDS);
  if (rule !== null) faultAdd(name, rule);
  else look();
}

/** One more rule; they are asked in order, the first that says so decides. Answers its number, for `ruleCounts`. */
export function faultAdd(name: SiteName, rule: FaultRule): number {
  if (rule.status === 0) throw new HypervisorBug(`faults: ${name} must fail with a status`);
  let i = 0;
  while (i < MAX_RULES && word(ruleAt(i) + STATUS) !== 0) i++;
  if (i === MAX_RULES) throw new HypervisorBug('faults: too many rules');
  const p = ruleAt(i);
  words.fill(0, p, p + RULE_WORDS);
  writeRule(p, rule);
  let link = siteAt(SITE[name]) + SITE_RULE;
  while (word(link) !== 0) link = word(link) + NEXT;
  words[link] = p;
  look();
  return i;
}

function writeRule(p: number, rule: FaultRule): void {
  words[p + STATUS] = rule.status;
  words[p + NTH] = rule.nth ?? 0;
  words[p + AFTER] = rule.after ?? 0;
  words[p + INTERVAL] = rule.interval ?? 1;
  words[p + TIMES] = rule.times ?? 0;
  words[p + SPACE] = rule.space ?? 0;
  words[p + CHANCE] = Math.round((rule.probability ?? 1) * CERTAIN);
  words[p + SEED] = rule.seed ?? 0;
  words[p + STEPS] = (rule.steps ?? []).reduce((m, s) => m | (1 << s), rule.steps === undefined ? -1 : 0);
  words[p + ANSWERS] = rule.answers ?? 0;
  words[p + REF] = rule.ref ?? 0;
  words[p + HANDLE] = rule.handle ?? 0;
  words[p + FRAME_FIRST] = rule.frames?.[0] ?? 0;
  words[p + FRAME_LAST] = rule.frames?.[1] ?? 0;
  words[p + FILTERS] =
    (rule.ref === undefined ? 0 : BY_REF) |
    (rule.handle === undefined ? 0 : BY_HANDLE) |
    (rule.frames === undefined ? 0 : BY_FRAME);
  for (let i = 0; i < ACTOR_MASKS; i++) words[p + ACTORS + i] = rule.actors === undefined ? -1 : 0;
  for (const i of rule.actors ?? []) words[p + ACTORS + (i >>> 5)] = word(p + ACTORS + (i >>> 5)) | (1 << (i & 31));
}

/** Tells the vCPUs whether guest accesses are to be looked at one by one. */
function look(): void {
  const wanted = SITES.some((name) => atGuestAccess(name) && word(siteAt(SITE[name]) + SITE_RULE) !== 0);
  for (let i = 1; i < MAX_CPUS; i++) {
    const a = actor.request(cpuAt(i));
    if (wanted) or(a, REQ_FAULT);
    else if ((word(a) & REQ_FAULT) !== 0) words[a] = word(a) & ~REQ_FAULT;
  }
}

/** Whether a table is laid: shortcuts that pass many elements at once must then look at each. */
export const faultsLaid = (): boolean => word(header.faults) !== 0;

/** What this occurrence of the site fails with; 0 when it does not. */
export function faultHit(cpu: Cpu, site: Site, ref = UNKNOWN, handle = UNKNOWN, frame = UNKNOWN): number {
  const base = word(header.faults);
  return base === 0 ? 0 : decide(cpu, site, base + site * SITE_WORDS, ref, handle, frame);
}

function decide(cpu: Cpu, site: Site, line: number, ref: number, handle: number, frame: number): number {
  bump(line + SITE_SEEN, 1);
  for (let p = word(line + SITE_RULE); p !== 0; p = word(p + NEXT)) {
    if (!concerns(p, cpu, ref, handle, frame) || !fails(p, bump(p + SEEN, 1) + 1)) continue;
    const status = answer(cpu, site, p);
    if (status === 0) continue;
    bump(line + SITE_HITS, 1);
    trace(cpu, EVENT.faultInjected, site, status);
    return status;
  }
  return 0;
}

/** What the rule answers, or the schedule, where that has a say; 0: nothing fails here after all. */
function answer(cpu: Cpu, site: Site, p: number): number {
  const answers = word(p + ANSWERS);
  if (answers === 0 || (word(header.choices) & (1 << CHOICE.fault)) === 0) return word(p + STATUS);
  const chosen = choose(cpu, CHOICE.fault, 1 + answers);
  if (chosen === 0) bump(p + HITS, -1);
  return chosen > 1 ? answerAt(SITES[site] as SiteName, chosen) : chosen === 1 ? word(p + STATUS) : 0;
}

function concerns(p: number, cpu: Cpu, ref: number, handle: number, frame: number): boolean {
  const i = cpuIndex(cpu);
  if (((word(p + ACTORS + (i >>> 5)) >>> (i & 31)) & 1) === 0) return false;
  if (((word(p + STEPS) >>> word(actor.step(cpu))) & 1) === 0) return false;
  const by = word(p + FILTERS);
  if ((by & BY_REF) !== 0 && ref !== word(p + REF)) return false;
  if ((by & BY_HANDLE) !== 0 && handle !== word(p + HANDLE)) return false;
  return (by & BY_FRAME) === 0 || (frame >= word(p + FRAME_FIRST) && frame <= word(p + FRAME_LAST));
}

/** The n-th occurrence that concerns the rule. */
function fails(p: number, n: number): boolean {
  if (!matches(p, n)) return false;
  if (word(p + SPACE) > 0 && bump(p + SPACE, -1) > 0) return false;
  const before = bump(p + HITS, 1);
  const times = word(p + TIMES);
  if (times === 0 || before < times) return true;
  bump(p + HITS, -1);
  return false;
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

export interface FaultCounts {
  /** Occurrences, whoever met them; failures injected. */
  readonly seen: number;
  readonly hits: number;
}

/** Of a site, since the table was laid or its only rule was set. */
export function faultCounts(name: SiteName): FaultCounts {
  const p = siteAt(SITE[name]);
  return { seen: word(p + SITE_SEEN), hits: word(p + SITE_HITS) };
}

/** Of one rule: occurrences that concerned it, and its failures. */
export const ruleCounts = (i: number): FaultCounts => ({ seen: word(ruleAt(i) + SEEN), hits: word(ruleAt(i) + HITS) });
