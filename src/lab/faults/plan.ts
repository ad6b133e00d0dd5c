/**
 * Random fault plans: which sites fail in an execution, how often and with what, as its seed says. Pure.
 *
 * Invariant: a function of the seed and of how often each site is reached. A site of which the guest kernel's own tables
 * depend is planned alone, so that what a design is excused for is never mixed with what it must cope with.
 */
import { ABOUT, atGuestAccess } from '../../fault/about.js';
import type { SiteName } from '../../fault/sites.js';
import type { FaultSpec } from '../../scenario/scenario.js';
import { mix } from '../fuzz/plan.js';

export type Reached = Readonly<Partial<Record<SiteName, number>>>;

/** A refusal there is a BUG() in Linux. */
export const OWN_TABLES: readonly SiteName[] = ['mmu_update', 'update_va_mapping', 'mmuext.pin'];
const DEATHS: readonly SiteName[] = ['vcpu.dead', 'domain.destroy'];
/** A guest asks again a few times for what Xen would not let go of; so many refusals it bears. */
export const PATIENCE = 3;
/** A table that Xen never lets go of is lost, and no design has a say in it: refusals end before the kernel's patience does. */
const BORNE: ReadonlySet<SiteName> = new Set(['mmuext.unpin']);
/** Of a grant that Xen never lets go of a design must lose the page and its table, and nothing else: now and then it does. */
const ENDLESS: ReadonlySet<SiteName> = new Set(['gnttab.unmap', 'gnttab.unmap_and_replace']);
/** Sites of one plan, failures of one site that are aimed at. */
const MOST_SITES = 5;
const AIM = 48;
const CHANCES = [0.03, 0.1, 0.3, 0.7, 1];
const UINT32 = 0x100000000;

/** Of an execution in which `reached` says how often each site is met. */
export function randomPlan(seed: number, reached: Reached): FaultSpec[] {
  const sites = Object.keys(reached) as SiteName[];
  const among = (list: readonly SiteName[], n: number): SiteName => list[mix(seed, n) % list.length] as SiteName;
  const own = sites.filter((s) => OWN_TABLES.includes(s));
  const kind = mix(seed, 30) % 10;
  if (kind === 0 && own.length > 0) {
    const site = among(own, 31);
    return [ruleOf(seed, 0, site, reached[site] ?? 1)];
  }
  const rest = sites.filter((s) => !OWN_TABLES.includes(s) && !DEATHS.includes(s));
  const chosen = new Set<SiteName>();
  const wanted = 1 + (mix(seed, 32) % MOST_SITES);
  for (let i = 0; i < wanted && rest.length > 0; i++) chosen.add(among(rest, 33 + i));
  const plan = [...chosen].map((site, i) => ruleOf(seed, i, site, reached[site] ?? 1));
  if (kind !== 1) return plan;
  const site = among(DEATHS, 40);
  return [...plan, { site, nth: 1 + (mix(seed, 41) % Math.max(1, reached[site] ?? 1)) }];
}

/** Whether the plan goes on refusing beyond what a guest bears. */
export const isEndless = (spec: FaultSpec): boolean => ENDLESS.has(spec.site) && spec.times === undefined;

/** By chance, at a distance, from some point on, or a number of times. */
function ruleOf(seed: number, i: number, site: SiteName, occurrences: number): FaultSpec {
  const r = (n: number): number => mix(seed, 100 + 10 * i + n);
  const most = Math.min(1, AIM / Math.max(1, occurrences));
  const { kind, answers } = ABOUT[site];
  const status = kind === 'status' || kind === 'errno' ? { status: answers[r(0) % answers.length] as string } : {};
  const chance = CHANCES[r(1) % CHANCES.length] as number;
  const borne = BORNE.has(site) || (ENDLESS.has(site) && r(6) % 4 !== 0);
  const spec = { site, ...status, ...(borne ? { times: PATIENCE } : {}) };
  if (r(2) % 4 === 0 && !atGuestAccess(site)) {
    const interval = Math.max(1 + (r(3) % 3), Math.ceil(occurrences / AIM));
    return { ...spec, interval, after: r(4) % Math.max(1, Math.ceil(occurrences / 2)) };
  }
  const probability = Math.round(Math.min(chance, most) * 1e6) / 1e6;
  return { ...spec, probability: Math.max(probability, 1e-6), seed: r(5) % UINT32 };
}
