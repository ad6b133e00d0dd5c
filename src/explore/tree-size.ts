/**
 * How large the untried parts of a tree of bounded schedules are, learned from those that were tried.
 *
 * A part in which k preemptions are left and whose executions have r steps to go holds about c_k * r^k of them: every
 * preemption may be anywhere. c_k is what the tried parts came to; for a k of which none is done yet, c_k follows from
 * c_(k-1) and from how many alternatives there are a step.
 * Source: Knuth, Estimating the Efficiency of Backtrack Programs, 1975, for the idea; Musuvathi, Qadeer, PLDI 2007, for r^k.
 */
export class TreeSize {
  /** Per k: executions in tried parts, and the sum of their r^k. */
  readonly #sizes: number[] = [];
  readonly #powers: number[] = [];

  /** A part with `k` preemptions and `r` steps to go held `size` executions. */
  add(k: number, r: number, size: number): void {
    this.#sizes[k] = (this.#sizes[k] ?? 0) + size;
    this.#powers[k] = (this.#powers[k] ?? 0) + r ** k;
  }

  /** Executions in an untried part; `density`: alternatives per step. */
  guess(k: number, r: number, density: number): number {
    return Math.max(1, this.#factor(k, density) * r ** k);
  }

  #factor(k: number, density: number): number {
    const power = this.#powers[k];
    if (power !== undefined && power > 0) return this.#sizes[k]! / power;
    return k === 0 ? 1 : (this.#factor(k - 1, density) * density) / k;
  }
}
