/** How far a search is, on stderr: the status line with every design that is being searched, and a line for each that is done. */
import type { DesignExplored } from '../lab/explore/explore.js';
import type { Counts } from '../lab/explore/messages.js';
import { count } from './table.js';
import type { Terminal } from './terminal.js';

interface Running {
  readonly began: number;
  line: string;
}

export class ExploreProgress {
  readonly #t: Terminal;
  readonly #quiet: boolean;
  readonly #of: number;
  readonly #running = new Map<string, Running>();
  #done = 0;

  constructor(t: Terminal, quiet: boolean, of: number) {
    this.#t = t;
    this.#quiet = quiet;
    this.#of = of;
  }

  design(name: string): void {
    this.#running.set(name, { began: performance.now(), line: name });
    this.#draw();
  }

  counts(name: string, c: Counts): void {
    const r = this.#running.get(name);
    if (r === undefined) return;
    const seconds = (performance.now() - r.began) / 1000;
    const rate = Math.round(c.executions / seconds);
    const left = c.remaining === undefined ? '' : `, about ${left_(c.remaining, rate)} left`;
    const classes = c.classes === undefined ? '' : `, ${count(c.classes)} classes`;
    r.line = `${name}: ${count(c.executions)} executions, ${count(c.states)} states${classes}, ${count(rate)}/s${left}`;
    this.#draw();
  }

  shrinking(name: string, rule: string): void {
    const r = this.#running.get(name);
    if (r === undefined) return;
    r.line = `${name}: ${rule} found, shrinking`;
    this.#draw();
  }

  report(d: DesignExplored): void {
    this.#running.delete(d.design);
    this.#done++;
    const unexpected = d.expected ? '' : ', not expected';
    if (!this.#quiet) this.#t.err(`[${String(this.#done)}/${String(this.#of)}] ${d.design}: ${d.verdict}${unexpected}`);
    this.#draw();
  }

  end(): void {
    this.#t.status('');
  }

  #draw(): void {
    if (!this.#quiet) this.#t.status([...this.#running.values()].map((r) => r.line).join(' | '));
  }
}

/** Executions to come as a time, or as a number when that is more than days. */
function left_(executions: number, rate: number): string {
  const seconds = executions / Math.max(rate, 1);
  if (seconds < 120) return `${String(Math.ceil(seconds))} s`;
  if (seconds < 172_800) return `${String(Math.ceil(seconds / 60))} min`;
  return `${executions.toExponential(1)} executions`;
}
