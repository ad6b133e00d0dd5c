/** A campaign beside hostile guests, for people. */
import type { HostileReport } from '../lab/hostile/campaign.js';
import type { HostileSummary } from '../lab/hostile/summary.js';
import { count } from './table.js';

const MAX_SENTENCES = 12;

export function hostileText(r: HostileReport, file: string): string {
  const of = (build: string): number => r.designs.filter((d) => d.build === build).reduce((n, d) => n + d.runs, 0);
  const designs = new Set(r.designs.map((d) => d.design)).size;
  const lines = [
    `${r.scenario}: ${count(r.runs)} runs under ${count(designs)} designs in ${count(r.seconds)} s, ${count(of('parallel'))} on threads, ${count(of('controlled'))} controlled (seeds ${String(r.seed)} to ${String(r.nextSeed - 1)})`,
    ...(r.hostile === undefined ? ['no hostile guest did anything'] : summaryLines(r.hostile)),
    ...r.designs
      .filter((d) => d.exercised < d.runs)
      .map((d) => `${d.design} (${d.build}): ${count(d.runs - d.exercised)} of ${count(d.runs)} runs not exercised`),
    ...verdict(r, file),
  ];
  return `${lines.join('\n')}\n`;
}

/** What hostile guests did, in a few lines. */
export function summaryLines(h: HostileSummary): string[] {
  const list = (of: Readonly<Record<string, number>>): string =>
    Object.entries(of)
      .sort(([, a], [, b]) => b - a)
      .map(([name, n]) => `${name} ${count(n)}`)
      .join(', ');
  const kinds = h.kinds.map((k) => `${k.name} ${count(k.effects)}/${count(k.steps)}`).join(', ');
  const reached = Object.fromEntries(h.kinds.filter((k) => k.reached > 0).map((k) => [k.name, k.reached]));
  return [
    `  ${count(h.calls)} hostile hypercalls in ${count(h.lives)} vCPUs' lives; ${count(h.met)} met another domain in the hypervisor, ${count(h.metByNormal)} calls of normal guests did`,
    `  ${count(h.against)} named a normal guest; ${count(h.reached)} effects on one: ${list(reached)}`,
    `  steps (with an effect/all): ${kinds}`,
    `  answers: ${list(h.statuses)}; of grant operations: ${list(h.grantStatuses)}`,
    `  rounds of the normal guests: ${list(h.rounds)}`,
    ...(h.forgotten === 0
      ? []
      : [`  ${count(h.forgotten)} lives in which Xen forgets a table: those domains keep frames`]),
  ];
}

function verdict(r: HostileReport, file: string): string[] {
  const f = r.failure;
  if (f === undefined) {
    if (r.complete) return ['the others did not notice'];
    return [
      r.runs === 0
        ? 'interrupted before the first run was over; nothing was judged'
        : 'interrupted, or something was never met; nothing broken so far',
    ];
  }
  const found = f.violations.map((v) => `${v.invariant} ${v.detail}`);
  const all = [...found, ...f.notes.flatMap((n) => n.split('\n'))];
  const scenario = file.endsWith('scenarios/hostile.yaml') ? '' : ` ${file}`;
  return [
    `NOT AS EXPECTED: ${f.design} (${f.build}), seed ${String(f.seed)}: ${f.verdict}`,
    ...all.slice(0, MAX_SENTENCES).map((s) => `    ${s}`),
    ...(all.length > MAX_SENTENCES ? [`    … and ${count(all.length - MAX_SENTENCES)} more`] : []),
    `  again${f.build === 'parallel' ? ', as far as threads repeat themselves' : ''}: xenolith hostile${scenario} -d ${f.design} --build ${f.build} --seed ${String(f.seed)} --minutes 1`,
  ];
}
