/**
 * One design of one scenario on one machine: boot, barrier, run, stop, quiescence, audit.
 *
 * Invariant: ends within a bounded time whatever the vCPUs do: each step has a bound, and a thread that outlives the
 * last one is terminated. The main thread never blocks.
 * Lock: none.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DestroyEvent, DomainSpec, Extent } from '../../scenario/scenario.js';
import { countersOf, overlapOf } from './counters.js';
import type { Machine } from './machine.js';
import type { Booted, MachinePlan, Reply, VcpuPlace } from './messages.js';
import type { Thread } from './thread.js';
import type { Outcome } from './verdict.js';
import { Watchdog } from './watchdog.js';
import { vcpuName, Whereabouts } from './whereabouts.js';

/** How often the main thread looks at the machine. */
export const LOOK_MS = 200;

export interface Bounds {
  /** A vCPU may stand still for this long. */
  readonly stallMs: number;
  /** The guests may go without finishing a round, and after a stop without coming to an end, for this long. */
  readonly progressMs: number;
  /** A thread told to give up may take this long before it is terminated. */
  readonly graceMs: number;
  /** Booting, reaching the barrier and auditing may each take this long. */
  readonly stepMs: number;
}
export const DEFAULT_BOUNDS: Bounds = { stallMs: 10_000, progressMs: 60_000, graceMs: 1_000, stepMs: 120_000 };

export interface Sample {
  readonly elapsedMs: number;
  readonly rounds: number;
  readonly hypercalls: number;
}

export interface DesignRunOptions {
  readonly extent: Extent;
  readonly events: readonly DestroyEvent[];
  readonly checks: readonly string[];
  readonly bounds: Bounds;
  /** Aborted: come to an orderly end, and audit what ran. */
  readonly stop: AbortSignal;
  readonly onSample: (s: Sample) => void;
}

/** What happened, and sentences about it for people. */
export interface DesignOutcome extends Outcome {
  readonly notes: readonly string[];
  /** Domains that faults took away, a sentence each. */
  readonly deaths?: readonly string[];
}

const NOTHING = { counters: {}, overlap: { hypercalls: 0, contendedLocks: 0 }, missed: [] } as const;

const bad = (ending: 'stalled' | 'lost' | 'error', detail: string, holders: readonly string[] = []): DesignOutcome => ({
  ...NOTHING,
  ending,
  violations: [{ invariant: ending, detail, holders, severity: 'broken' }],
  notes: [],
});

/** The control thread did not answer in time and was ended, perhaps under the hypervisor's locks. */
const lost = (detail: string): DesignOutcome => bad('lost', `${detail}, and was terminated: the machine is lost`);

export async function runDesign(
  machine: Machine,
  plan: MachinePlan,
  options: DesignRunOptions,
): Promise<DesignOutcome> {
  const boot = await bounded(machine.control(), machine.control().ask({ kind: 'boot', plan }), options.bounds.stepMs);
  if (boot === undefined) return lost('the control plane did not finish booting');
  if (boot.kind === 'refused') return { ...NOTHING, ending: 'refused', violations: [], notes: [boot.why] };
  if (boot.kind !== 'booted') return bad('error', `booting: ${failure(boot)}`);
  return await new DesignRun(machine, plan, options, boot).run();
}

/** `reply`, or undefined when the thread did not give it in time (it is terminated then). */
async function bounded(thread: Thread, reply: Promise<Reply>, ms: number): Promise<Reply | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => {
      void thread.terminate().then(() => {
        resolve(undefined);
      });
    }, ms);
  });
  const first = await Promise.race([reply, late]);
  clearTimeout(timer);
  return first?.kind === 'lost' ? undefined : first;
}

const failure = (r: Reply): string => (r.kind === 'failed' ? r.error : `unexpected answer '${r.kind}'`);

/** A booted machine on its way from the barrier to the audit. */
class DesignRun {
  readonly #machine: Machine;
  readonly #plan: MachinePlan;
  readonly #options: DesignRunOptions;
  readonly #booted: Booted;
  readonly #where: Whereabouts;
  readonly #running = new Set<VcpuPlace>();
  readonly #notes: string[] = [];
  #wrong: DesignOutcome | undefined;
  #interrupted = false;
  #missed: readonly string[] = [];
  #deaths: readonly string[] = [];
  #stopAsked: number | undefined;
  readonly #progress = new Map<string, { rounds: number; at: number }>();

  constructor(machine: Machine, plan: MachinePlan, options: DesignRunOptions, booted: Booted) {
    this.#machine = machine;
    this.#plan = plan;
    this.#options = options;
    this.#booted = booted;
    this.#where = new Whereabouts(machine.words, booted.regions, booted.vcpus);
  }

  async run(): Promise<DesignOutcome> {
    const go = this.#machine.nextGo();
    const vcpus = this.#start(go);
    const control = this.#machine.control();
    const overseen = control.ask({ kind: 'oversee', go, events: this.#options.events });
    const ready = await Promise.race([
      vcpus.ready,
      sleep(this.#options.bounds.stepMs, 'late' as const, { ref: false }),
    ]);
    if (ready === 'late') this.#giveUp(bad('stalled', 'not every vCPU reached the barrier'));
    else this.#machine.go(go);
    const began = performance.now();
    await this.#watch(vcpus.ended, began);
    this.#machine.ended(go);
    const oversight = await bounded(control, overseen, this.#options.bounds.stepMs);
    if (oversight === undefined && !control.alive) this.#lose('the control plane did not finish');
    else if (oversight === undefined) this.#wrong ??= bad('stalled', 'the control plane gave up');
    else if (oversight.kind !== 'overseen') this.#wrong ??= bad('error', `control plane: ${failure(oversight)}`);
    else {
      this.#missed = oversight.missed;
      this.#deaths = oversight.buried;
    }
    return this.#judged(await this.#audit());
  }

  /** Gives every vCPU its task; `ready` when all wait at the barrier, `ended` when all have come to their end. */
  #start(go: number): { ready: Promise<unknown>; ended: Promise<unknown> } {
    const readies: Promise<void>[] = [];
    const endeds = this.#machine.vcpus(this.#booted.vcpus.length).map(async (thread, i) => {
      const place = this.#booted.vcpus[i];
      if (place === undefined) return;
      this.#running.add(place);
      let onReady: () => void = () => undefined;
      readies.push(new Promise((resolve) => (onReady = resolve)));
      const domain = this.#domain(place.domain);
      const start = this.#booted.starts[place.domain];
      const task = { kind: 'vcpu', go, place, plan: this.#plan, domain, start } as const;
      const reply = await thread.ask(task, onReady);
      this.#running.delete(place);
      onReady();
      this.#hear(place, reply);
    });
    return { ready: Promise.all(readies), ended: Promise.all(endeds) };
  }

  #domain(name: string): DomainSpec {
    const found = this.#plan.scenario.domains.find((d) => d.name === name);
    if (found === undefined) throw new Error(`no domain '${name}'`);
    return found;
  }

  #hear(place: VcpuPlace, r: Reply): void {
    if (r.kind === 'ended') {
      if (r.how !== 'finished') this.#notes.push(`${vcpuName(place)} ${r.how}${r.why === '' ? '' : `: ${r.why}`}`);
    } else if (r.kind === 'refused') {
      this.#giveUp({ ...NOTHING, ending: 'refused', violations: [], notes: [r.why] });
    } else if (r.kind !== 'lost') {
      this.#giveUp(bad('error', `${vcpuName(place)}: ${failure(r)}`, this.#where.locks(place)));
      if (r.kind === 'failed' && r.stack !== '') this.#notes.push(r.stack);
    }
  }

  /** The first thing that goes wrong decides; everything else is told to leave. */
  #giveUp(what: DesignOutcome): void {
    if (this.#wrong !== undefined) return;
    this.#wrong = what;
    this.#stopGuests();
    const cpuOf = (v: VcpuPlace): number => (v.cpuWord === undefined ? v.cpu : (this.#machine.words[v.cpuWord] ?? 0));
    this.#machine.giveUp([this.#booted.control, ...this.#booted.vcpus.map(cpuOf).filter((cpu) => cpu > 0)]);
  }

  async #watch(ended: Promise<unknown>, began: number): Promise<void> {
    const { bounds, extent } = this.#options;
    const watchdog = new Watchdog(this.#machine.words, bounds.stallMs, LOOK_MS);
    const seconds = extent.kind === 'seconds' ? extent.seconds : Infinity;
    let grace = 0;
    while (this.#running.size > 0) {
      await Promise.race([ended, sleep(LOOK_MS)]);
      const now = performance.now();
      this.#sample(now - began);
      if (this.#stopAsked === undefined && (this.#options.stop.aborted || now - began >= seconds * 1000)) {
        this.#stopAsked = now;
        this.#interrupted = this.#options.stop.aborted;
        this.#stopGuests();
      }
      this.#stalled(watchdog.look(now, this.#normal()), bounds.stallMs, 'stood still');
      for (const late of this.#late(now)) this.#stalled(late, bounds.progressMs, 'made no progress');
      if (this.#normal().length === 0) this.#stopGuests();
      if (this.#wrong !== undefined) grace += LOOK_MS;
      if (grace > bounds.graceMs) await this.#terminate();
    }
  }

  /** vCPUs that run and are not hostile: those that never end by themselves say nothing about progress. */
  #normal(): VcpuPlace[] {
    return [...this.#running].filter((p) => p.cpuWord === undefined);
  }

  /**
   * Running vCPUs of which no round was finished lately; once a stop was asked for, since then: of all domains together, or
   * beside hostile ones of each domain by itself.
   */
  #late(now: number): VcpuPlace[][] {
    const running = this.#normal();
    const c = countersOf(this.#machine.words, this.#booted.vcpus, this.#booted.domains);
    const beside = this.#booted.domains.some((d) => d.tallies !== undefined);
    const groups = beside ? [...new Set(running.map((p) => p.domain))] : [''];
    return groups
      .filter((name) => !this.#progresses(now, name, c[beside ? `rounds.${name}` : 'rounds'] ?? 0))
      .map((name) => (beside ? running.filter((p) => p.domain === name) : running));
  }

  #progresses(now: number, name: string, rounds: number): boolean {
    const before = this.#progress.get(name);
    const goesOn = this.#stopAsked === undefined && rounds !== before?.rounds;
    const last = goesOn || before === undefined ? { rounds, at: now } : before;
    this.#progress.set(name, last);
    return now - Math.max(last.at, this.#stopAsked ?? 0) <= this.#options.bounds.progressMs;
  }

  #stalled(still: readonly VcpuPlace[], ms: number, what: string): void {
    if (still.length === 0 || this.#wrong !== undefined) return;
    const sentences = still.map((p) => this.#where.describe(p));
    const count = `${String(still.length)} of ${String(this.#running.size)} vCPUs`;
    const detail = `${count} ${what} for ${String(Math.round(ms / 1000))} s: ${sentences.join('; ')}`;
    this.#giveUp(
      bad(
        'stalled',
        detail,
        still.flatMap((p) => this.#where.locks(p)),
      ),
    );
  }

  #stopGuests(): void {
    for (const d of this.#booted.domains) {
      Atomics.or(this.#machine.words, d.stop, 1);
      Atomics.notify(this.#machine.words, d.stop);
    }
  }

  /** The last resort: what was inside the hypervisor leaves it in an unknown state. */
  async #terminate(): Promise<void> {
    const left = [...this.#running].map(vcpuName);
    if (left.length > 0) {
      this.#notes.push(`terminated: ${left.join(', ')}; the machine is lost`);
      this.#wrong = {
        ...(this.#wrong ?? NOTHING),
        violations: this.#wrong?.violations ?? [],
        notes: [],
        ending: 'lost',
      };
    }
    await this.#machine.close();
  }

  /** What else went wrong stands; of the design nothing can be said. */
  #lose(why: string): void {
    const what = lost(why);
    this.#wrong = { ...what, violations: [...(this.#wrong?.violations ?? []), ...what.violations] };
  }

  #sample(elapsedMs: number): void {
    const c = countersOf(this.#machine.words, this.#booted.vcpus, this.#booted.domains);
    this.#options.onSample({ elapsedMs, rounds: c['rounds'] ?? 0, hypercalls: c['hypercalls'] ?? 0 });
  }

  async #audit(): Promise<Reply | undefined> {
    if (this.#wrong !== undefined) return undefined;
    const control = this.#machine.control();
    return await bounded(
      control,
      control.ask({ kind: 'audit', checks: this.#options.checks }),
      this.#options.bounds.stepMs,
    );
  }

  #judged(audit: Reply | undefined): DesignOutcome {
    const { vcpus, domains } = this.#booted;
    const counters = countersOf(this.#machine.words, vcpus, domains);
    const overlap = overlapOf(this.#machine.words, vcpus);
    const notes = this.#notes;
    if (this.#wrong !== undefined) {
      return { ...this.#wrong, counters, overlap, missed: [], notes: [...this.#wrong.notes, ...notes] };
    }
    if (audit?.kind !== 'audited') {
      const what =
        audit === undefined ? lost('the audit did not finish') : bad('error', `the audit: ${failure(audit)}`);
      return { ...what, counters, overlap, notes };
    }
    const ending = this.#interrupted ? 'interrupted' : 'finished';
    const found = {
      leakedHandles: audit.totals['I10'] ?? 0,
      violations: Object.values(audit.totals).reduce((n, v) => n + v, 0),
    };
    return {
      ending,
      violations: audit.violations,
      counters: { ...counters, ...found, ...audit.faults.counters },
      overlap,
      missed: this.#missed,
      unmet: audit.faults.missed,
      deaths: this.#deaths,
      notes,
    };
  }
}
