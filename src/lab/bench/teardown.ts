/**
 * The teardown benchmark: every design at every point; counts from the controlled build, times from the parallel one.
 *
 * Each design has a machine and isolates of its own, warm before anything is kept; per round each design ends one process,
 * so that what disturbs the host disturbs all alike. One build per isolate.
 * Invariant: a design that fails at a point is reported there and measured at the next; an interruption ends the list.
 * Lock: none.
 */
import { BenchMachine, type Opening } from './machine.js';
import type { BenchReply, Counted, RoundShape, Setting, Sight } from './messages.js';
import { machineMib, type Point, type Restore } from './plan.js';
import { timing, type Timing } from './stats.js';

export interface DesignPoint {
  readonly design: string;
  /** '' when the design was measured; else why not: refused, or what broke. */
  readonly refused: string;
  readonly failed: string;
  /** Exact, of one end. */
  readonly counted: Counted;
  readonly shape: RoundShape;
  /** Mappings that one end leaves behind for ever. */
  readonly leaked: number;
  /** Measured. */
  readonly time: Timing | null;
  /** Locks found held, a mean over the rounds. */
  readonly contended: number;
  readonly bystander: Sight | null;
}

export interface PointReport {
  readonly point: Point;
  readonly designs: readonly DesignPoint[];
}

export interface TeardownReport {
  readonly restore: Restore;
  readonly points: readonly PointReport[];
  /** False: interrupted, points are missing. */
  readonly complete: boolean;
}

export interface TeardownOptions {
  readonly designs: readonly string[];
  readonly points: readonly Point[];
  readonly restore: Restore;
  /** Rounds that are kept at a point. */
  readonly rounds: (p: Point) => number;
  /** Rounds that a bystander watches; 0: none does. */
  readonly bystanderRounds: (p: Point) => number;
  readonly stop: AbortSignal;
  readonly onProgress: (text: string) => void;
}

/** Rounds made before the first one is kept: at least so many, then until so much time is spent on a design. */
const WARM_ROUNDS = 3;
const WARM_MS = 400;
const WARM_MOST = 200;

export async function benchTeardown(o: TeardownOptions): Promise<TeardownReport> {
  const points: PointReport[] = [];
  for (const pages of new Set(o.points.map((p) => p.pages))) {
    const group = o.points.filter((p) => p.pages === pages);
    points.push(...(await new Group(group, o).run()));
    if (o.stop.aborted) break;
  }
  return { restore: o.restore, points, complete: points.length === o.points.length };
}

interface Running {
  readonly design: string;
  readonly machine: BenchMachine;
  readonly ns: number[];
  contended: number;
  failed: string;
}

const NO_SHAPE = { nL1: 0, nL2: 0, nL3: 0, stateBytes: 0 };

/** The points of one number of pages, which share machines. */
class Group {
  readonly #points: readonly Point[];
  readonly #o: TeardownOptions;
  readonly #mib: number;
  readonly #machines = new Map<string, BenchMachine>();
  #counter: BenchMachine | undefined;

  constructor(points: readonly Point[], o: TeardownOptions) {
    this.#points = points;
    this.#o = o;
    this.#mib = Math.max(...points.map((p) => machineMib(p, o.restore, true)));
  }

  async run(): Promise<PointReport[]> {
    const reports: PointReport[] = [];
    try {
      const counts = new Map<Point, DesignPoint[]>();
      for (const p of this.#points) counts.set(p, await this.#countAll(p));
      await this.#counter?.end();
      for (const p of this.#points) {
        if (this.#stopped()) break;
        const designs = await this.#timeAll(p, counts.get(p) ?? []);
        if (!this.#stopped()) reports.push({ point: p, designs });
      }
    } finally {
      await Promise.all([...this.#machines.values()].map((m) => m.end()));
      await this.#counter?.end();
    }
    return reports;
  }

  #stopped(): boolean {
    return this.#o.stop.aborted;
  }

  #setting(point: Point, design: string, bystander: boolean): Setting {
    return { point, design, restore: this.#o.restore, bystander };
  }

  async #countAll(p: Point): Promise<DesignPoint[]> {
    const out: DesignPoint[] = [];
    for (const design of this.#o.designs) {
      if (this.#o.stop.aborted) break;
      this.#o.onProgress(`${label(p)}: counting ${design}`);
      this.#counter ??= new BenchMachine(this.#mib, 'controlled');
      out.push(counted(design, await this.#counter.count(this.#setting(p, design, false))));
    }
    return out;
  }

  async #timeAll(p: Point, counts: readonly DesignPoint[]): Promise<DesignPoint[]> {
    const able = counts.filter((c) => c.refused === '' && c.failed === '');
    const running: Running[] = able.map(({ design }) => ({
      design,
      machine: this.#machine(design),
      ns: [],
      contended: 0,
      failed: '',
    }));
    for (const r of running) note(r, await r.machine.open(this.#setting(p, r.design, false)));
    await this.#warm(running, p);
    const rounds = this.#o.rounds(p);
    for (let i = 0; i < rounds && !this.#o.stop.aborted; i++) {
      this.#o.onProgress(`${label(p)}: round ${String(i + 1)} of ${String(rounds)}`);
      for (const r of running) await this.#round(r, true);
    }
    for (const r of running) if (r.failed === '') await r.machine.close();
    const out: DesignPoint[] = [];
    for (const c of counts) {
      const r = running.find((x) => x.design === c.design);
      out.push(r === undefined ? c : await this.#finish(p, c, r));
    }
    return out;
  }

  #machine(design: string): BenchMachine {
    const has = this.#machines.get(design) ?? new BenchMachine(this.#mib, 'parallel');
    this.#machines.set(design, has);
    return has;
  }

  /** All designs in turn, until each has had its time. */
  async #warm(running: readonly Running[], p: Point): Promise<void> {
    this.#o.onProgress(`${label(p)}: warming up`);
    const spent = new Map<Running, number>();
    for (let i = 0; i < WARM_MOST && !this.#o.stop.aborted; i++) {
      const cold = running.filter((r) => r.failed === '' && (i < WARM_ROUNDS || (spent.get(r) ?? 0) < WARM_MS));
      if (cold.length === 0) return;
      for (const r of cold) {
        const from = performance.now();
        await this.#round(r, false);
        spent.set(r, (spent.get(r) ?? 0) + performance.now() - from);
      }
    }
  }

  async #round(r: Running, keep: boolean): Promise<void> {
    if (r.failed !== '') return;
    const reply = await r.machine.round();
    if (reply.kind !== 'round') {
      r.failed = reply.kind === 'failed' ? reply.error : `unexpected answer '${reply.kind}'`;
      return;
    }
    if (keep) {
      r.ns.push(reply.ns);
      r.contended += reply.contended;
    }
    if (reply.leaked !== 0) note(r, await r.machine.reopen());
  }

  async #finish(p: Point, c: DesignPoint, r: Running): Promise<DesignPoint> {
    if (r.failed !== '') return { ...c, failed: r.failed };
    const time = r.ns.length === 0 ? null : timing(r.ns);
    const watched = this.#o.bystanderRounds(p);
    const bystander = watched === 0 || this.#o.stop.aborted ? null : await this.#watched(p, r, watched);
    return { ...c, time, contended: r.contended / Math.max(1, r.ns.length), bystander };
  }

  async #watched(p: Point, r: Running, rounds: number): Promise<Sight | null> {
    this.#o.onProgress(`${label(p)}: ${r.design} beside a bystander`);
    const opened = await r.machine.open(this.#setting(p, r.design, true));
    if (!opened.ok) return null;
    await r.machine.meet(rounds);
    return (await r.machine.close()) ?? null;
  }
}

function note(r: Running, o: Opening): void {
  if (!o.ok) r.failed = o.why;
}

function counted(design: string, reply: BenchReply): DesignPoint {
  const none = { design, counted: {}, shape: NO_SHAPE, leaked: 0, time: null, contended: 0, bystander: null };
  if (reply.kind === 'refused') return { ...none, refused: reply.why, failed: '' };
  if (reply.kind !== 'counted') {
    return {
      ...none,
      refused: '',
      failed: reply.kind === 'failed' ? reply.error : `unexpected answer '${reply.kind}'`,
    };
  }
  return { ...none, refused: '', failed: '', counted: reply.counted, shape: reply.shape, leaked: reply.leaked };
}

/** A point in words. */
export function label(p: Point): string {
  const parts = [`${String(p.pages)} pages`, `${String(p.grants)} granted`];
  if (p.vcpus > 1) parts.push(`${String(p.vcpus)} vCPUs`);
  if (p.threads > 1) parts.push(`${String(p.threads)} threads`);
  if (p.lazy > 0) parts.push(`${String(p.lazy)} lazy`);
  return parts.join(', ');
}
