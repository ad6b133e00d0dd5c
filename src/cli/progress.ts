/**
 * How far a run is, on stderr: a redrawn line on a terminal, a plain line now and then elsewhere.
 */
import type { Sample } from '../lab/run/design-run.js';
import type { DesignReport } from '../lab/run/scenario-run.js';
import { count } from './table.js';
import type { Terminal } from './terminal.js';

/** Between two plain lines about one design. */
const PLAIN_EVERY_MS = 5000;

export class Progress {
  readonly #t: Terminal;
  readonly #quiet: boolean;
  #head = '';
  #lastPlainMs = 0;

  constructor(t: Terminal, quiet: boolean) {
    this.#t = t;
    this.#quiet = quiet;
  }

  design(name: string, index: number, of: number): void {
    this.#head = `[${String(index + 1)}/${String(of)}] ${name}`;
    this.#lastPlainMs = 0;
    if (!this.#quiet) this.#t.status(this.#head);
  }

  sample(s: Sample): void {
    if (this.#quiet) return;
    const line = `${this.#head}: ${(s.elapsedMs / 1000).toFixed(1)} s, ${count(s.rounds)} rounds, ${count(s.hypercalls)} hypercalls`;
    if (this.#t.live) this.#t.status(line);
    else if (s.elapsedMs - this.#lastPlainMs >= PLAIN_EVERY_MS) {
      this.#lastPlainMs = s.elapsedMs;
      this.#t.err(line);
    }
  }

  report(d: DesignReport): void {
    if (!this.#quiet) this.#t.err(`${this.#head}: ${d.verdict}${d.expected ? '' : ', not expected'}`);
  }

  end(): void {
    this.#t.status('');
  }
}
