/** What a campaign came to, as data and as lines for people. */
import type { FuzzBuild } from './campaign.js';
import type { EpisodePlan } from './plan.js';

export interface FuzzKind {
  readonly name: string;
  /** Steps of this kind, and those that had an effect (a call not refused, an access not given up). */
  readonly steps: number;
  readonly effects: number;
}

export interface FuzzReport {
  readonly build: FuzzBuild;
  /** Seed of the first episode, and of the one after the last: where to go on. */
  readonly seed: number;
  readonly nextSeed: number;
  /** False when it was interrupted or failed. */
  readonly complete: boolean;
  readonly episodes: number;
  readonly calls: number;
  /** Calls that met another vCPU inside the hypervisor. */
  readonly overlaps: number;
  /** Episodes in which the hypervisor forgot a table as Xen does, whose counts were not looked at. */
  readonly forgotten: number;
  /** Domains destroyed because a grant copy of theirs was restarted without end, as Xen restarts it. */
  readonly endless: number;
  readonly kinds: readonly FuzzKind[];
  readonly failure: { readonly plan: EpisodePlan; readonly wrong: readonly string[] } | undefined;
}

const MAX_SENTENCES = 20;
const number = (n: number): string => n.toLocaleString('en-US');

export function fuzzText(r: FuzzReport): string {
  if (r.episodes === 0 && r.failure === undefined) {
    return `${r.build}: interrupted before its first episode was over; nothing was judged, --seed ${String(r.nextSeed)} goes on`;
  }
  const lines = [
    `${r.build}: ${number(r.calls)} hypercalls in ${number(r.episodes)} episodes (seeds ${String(r.seed)} to ${String(r.nextSeed - 1)}), ${number(r.overlaps)} met another in the hypervisor`,
    `  ${r.kinds.map((k) => `${k.name} ${number(k.effects)}/${number(k.steps)}`).join(', ')} (with an effect/steps)`,
  ];
  if (r.forgotten > 0)
    lines.push(`  ${number(r.forgotten)} episodes in which Xen forgets a table: counts not looked at`);
  if (r.endless > 0)
    lines.push(`  ${number(r.endless)} domains destroyed in a transitive copy that Xen restarts without end`);
  if (r.failure !== undefined) lines.push(...failureLines(r, r.failure));
  else if (r.complete) lines.push('  no invariant broken, nothing thrown');
  else lines.push(`  interrupted; nothing broken so far, --seed ${String(r.nextSeed)} goes on`);
  return lines.join('\n');
}

function failureLines(r: FuzzReport, f: NonNullable<FuzzReport['failure']>): string[] {
  const again = `xenolith fuzz --build ${r.build} --seed ${String(f.plan.seed)} --calls 1`;
  return [
    `  FAILED: ${JSON.stringify(f.plan)}`,
    ...f.wrong.slice(0, MAX_SENTENCES).map((w) => `    ${w}`),
    ...(f.wrong.length > MAX_SENTENCES ? [`    … and ${String(f.wrong.length - MAX_SENTENCES)} more`] : []),
    r.build === 'controlled' ? `  again: ${again}` : `  again, as far as threads repeat themselves: ${again}`,
  ];
}
