/** How far a run is, on stderr: the status line, and a line for each design that is done. */
import type { Sample } from '../lab/run/design-run.js';
import type { DesignReport } from '../lab/run/scenario-run.js';
import { count } from './table.js';
import type { Terminal } from './terminal.js';

export class Progress {
  readonly #t: Terminal;
  readonly #quiet: boolean;
  #head = '';

  constructor(t: Terminal, quiet: boolean) {
    this.#t = t;
    this.#quiet = quiet;
  }

  design(name: string, index: number, of: number): void {
    this.#head = `[${String(index + 1)}/${String(of)}] ${name}`;
    if (!this.#quiet) this.#t.status(this.#head);
  }

  sample(s: Sample): void {
    if (this.#quiet) return;
    const line = `${this.#head}: ${(s.elapsedMs / 1000).toFixed(1)} s, ${count(s.rounds)} rounds, ${count(s.hypercalls)} hypercalls`;
    this.#t.status(line);
  }

  report(d: DesignReport): void {
    if (!this.#quiet) this.#t.err(`${this.#head}: ${d.verdict}${d.expected ? '' : ', not expected'}`);
  }

  end(): void {
    this.#t.status('');
  }
}
