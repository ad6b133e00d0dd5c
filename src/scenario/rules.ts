/**
 * What the schema cannot say: rules over several fields of a scenario.
 *
 * Invariant: each rule reports the place that a user would change. Pure.
 */
import type { Catalog, Parameter, ProgramEntry } from '../abi/catalog.js';
import { faultRules } from './faults.js';
import type { Problem } from './error.js';
import type { Path, Positions } from './positions.js';
import { sizeMib } from './scenario.js';
import { CHECKS, EXPLORED, type Check, type Finding, type RawScenario } from './schema.js';
import { smallRules } from './small.js';
import { hintFor } from './suggest.js';

export const MEMORY_MAX_MIB = 4096;
/** Of the machine's memory, what is machine frames (`src/machine/layout.ts`). */
export const FRAMES_SHARE = 3 / 4;
/** Of the frames, what domains may have: the rest is Xen's own (M2P, grant frames, spare). */
export const DOMAINS_SHARE = 15 / 16;
/** vCPUs of a machine up to 4 MiB and above (`src/sync/actor.ts`, less the control plane). */
export const VCPUS_SMALL = 8;
export const VCPUS_MAX = 64;

export type Report = (path: Path, message: string, hint?: string) => void;

/** Problems of a scenario whose shape is right. */
export function ruleProblems(raw: RawScenario, catalog: Catalog, positions: Positions): Problem[] {
  const { programs } = catalog;
  const problems: Problem[] = [];
  const report: Report = (path, message, hint) => {
    const position = positions.value(path);
    problems.push(hint === undefined ? { position, message } : { position, message, hint });
  };
  memoryRules(raw, report);
  domainRules(raw, report);
  raw.domains.forEach((_, i) => {
    peerRules(raw, i, programs, report);
  });
  hostileRules(raw, report);
  eventRules(raw, report);
  verdictRules(raw, report);
  smallRules(raw, catalog.steps, report);
  faultRules(raw, report);
  return problems;
}

function memoryRules(raw: RawScenario, report: Report): void {
  const machine = sizeMib(raw.memory);
  if (machine > MEMORY_MAX_MIB) {
    report(['memory'], `the machine has ${raw.memory}`, 'at most 4GiB');
    return;
  }
  const room = Math.floor(machine * FRAMES_SHARE * DOMAINS_SHARE);
  const used = raw.domains.reduce((sum, d) => sum + sizeMib(d.memory), 0);
  if (used > room) {
    const hint = `of ${raw.memory}, domains can have ${String(room)}MiB; raise 'memory' to ${String(Math.ceil(used / FRAMES_SHARE / DOMAINS_SHARE))}MiB`;
    report(['memory'], `the domains need ${String(used)}MiB`, hint);
  }
}

function domainRules(raw: RawScenario, report: Report): void {
  const privileged = raw.domains.filter((d) => d.privileged === true).length;
  if (privileged !== 1) {
    report(
      ['domains'],
      `${String(privileged)} domains are privileged, not one`,
      "set 'privileged: true' on the control domain",
    );
  }
  const most = sizeMib(raw.memory) <= 4 ? VCPUS_SMALL : VCPUS_MAX;
  const vcpus = raw.domains.reduce((sum, d) => sum + d.vcpus, 0);
  if (vcpus > most)
    report(['domains'], `${String(vcpus)} vCPUs in all`, `a machine of ${raw.memory} has at most ${String(most)}`);
  raw.domains.forEach((d, i) => {
    if (raw.domains.findIndex((o) => o.name === d.name) !== i)
      report(['domains', i, 'name'], `two domains are named '${d.name}'`);
  });
}

function peerRules(raw: RawScenario, index: number, programs: readonly ProgramEntry[], report: Report): void {
  const domain = raw.domains[index];
  const others = raw.domains.map((d) => d.name).filter((n) => n !== domain?.name);
  domain?.workloads?.forEach((w, k) => {
    const entry = programs.find((p) => p.name === w.program);
    for (const [key, p] of Object.entries<Parameter>(entry?.parameters ?? {})) {
      const peers = p.kind === 'domains' ? (w.with as Record<string, unknown> | undefined)?.[key] : undefined;
      if (!Array.isArray(peers)) continue;
      peers.forEach((peer: string, n) => {
        if (others.includes(peer)) return;
        report(
          ['domains', index, 'workloads', k, 'with', key, n],
          `no other domain is named '${peer}'`,
          hintFor(peer, others),
        );
      });
    }
  });
}

/** vCPUs of a hostile domain, and hostile domains: their argument pages and their lives are laid out for so many. */
export const HOSTILE_VCPUS = 8;
const HOSTILE_DOMAINS = 4;

/** A hostile domain has no kernel, no workload and no privilege, and comes and goes by itself. */
function hostileRules(raw: RawScenario, report: Report): void {
  const hostile = raw.domains.filter((d) => d.hostile !== undefined).map((d) => d.name);
  if (hostile.length > HOSTILE_DOMAINS) report(['domains'], `${String(hostile.length)} hostile domains`, 'at most 4');
  if (hostile.length > 0 && raw.small !== undefined) {
    report(['small'], 'a small scenario has no hostile domain', 'run it as a scenario with workloads');
  }
  raw.domains.forEach((d, i) => {
    if (d.hostile === undefined) return;
    const at = ['domains', i];
    if (d.privileged === true) {
      report([...at, 'hostile'], 'the control domain cannot be hostile', 'nothing could be asked of the others then');
    }
    if (d.workloads !== undefined) report([...at, 'workloads'], 'a hostile domain runs no workload');
    if (d.kernel !== undefined) report([...at, 'kernel'], 'a hostile domain has no kernel');
    if (d.vcpus > HOSTILE_VCPUS)
      report([...at, 'vcpus'], `a hostile domain has at most ${String(HOSTILE_VCPUS)} vCPUs`);
    const peers = (d.hostile === true ? undefined : d.hostile.peers) ?? [];
    const others = raw.domains.map((o) => o.name).filter((n) => !hostile.includes(n));
    peers.forEach((p, n) => {
      if (others.includes(p)) return;
      report([...at, 'hostile', 'peers', n], `no normal domain is named '${p}'`, hintFor(p, others));
    });
  });
  raw.events?.forEach((e, i) => {
    if (hostile.includes(e.destroy)) report(['events', i, 'destroy'], 'a hostile domain is destroyed anyway');
    if (e.of !== undefined && hostile.includes(e.of)) report(['events', i, 'of'], 'a hostile domain counts no rounds');
  });
  raw.faults?.forEach((f, i) => {
    if (f.domain !== undefined && hostile.includes(f.domain)) {
      report(['faults', i, 'domain'], 'a hostile domain has other vCPUs in each life', 'leave the filter out');
    }
  });
}

function eventRules(raw: RawScenario, report: Report): void {
  const names = raw.domains.map((d) => d.name);
  raw.events?.forEach((e, i) => {
    for (const key of ['destroy', 'of'] as const) {
      const name = e[key];
      if (name !== undefined && !names.includes(name)) {
        report(['events', i, key], `no domain is named '${name}'`, hintFor(name, names));
      }
    }
    if (raw.domains.find((d) => d.name === e.destroy)?.privileged === true) {
      report(['events', i, 'destroy'], 'the control domain cannot be destroyed');
    }
  });
}

const isCheck = (f: Finding): f is Check => (CHECKS as readonly string[]).includes(f);

const isExplored = (f: Finding): boolean => (EXPLORED as readonly string[]).includes(f);

function verdictRules(raw: RawScenario, report: Report): void {
  if (raw.rounds !== undefined && raw.duration !== undefined) {
    report(['duration'], "both 'rounds' and 'duration' are given", 'keep one of them');
  }
  for (const [design, e] of Object.entries(raw.expect ?? {})) {
    const list = Array.isArray(e) ? e : typeof e === 'object' ? e.breaks : [];
    for (const check of list) {
      if (isCheck(check) && raw.checks !== undefined && !raw.checks.includes(check)) {
        report(['expect', design], `${check} is expected to break, but 'checks' leaves it out`);
      }
    }
    if (raw.small === undefined && list.some(isExplored)) {
      report(
        ['expect', design],
        `${list.filter(isExplored).join(', ')}: found only in a scenario with a 'small' section`,
      );
    }
    if (design !== 'default' && raw.designs !== undefined && !raw.designs.includes(design)) {
      report(['expect', design], `'${design}' is expected of, but 'designs' leaves it out`);
    }
  }
}
