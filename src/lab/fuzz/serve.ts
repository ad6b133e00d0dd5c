/** What a thread of the fuzzer does: a whole campaign, its control plane, or one vCPU. */
import { controlledEpisode } from './controlled.js';
import type { FuzzGuests } from './guests.js';
import { episodePlan, type EpisodePlan, type FuzzFixed } from './plan.js';
import type { EpisodeResult } from './result.js';
import { fuzzVcpuThread, parallelEpisode } from './threads.js';

/** A thread's task; `stopped` is a word that is not 0 when the campaign shall come to an end. */
export type FuzzTask = { readonly stopped: Int32Array; readonly fixed: FuzzFixed } & (
  | { readonly role: 'controlled'; readonly seed: number; readonly calls: number }
  | { readonly role: 'control'; readonly seed: number; readonly calls: number; readonly board: Int32Array }
  | { readonly role: 'vcpu'; readonly index: number; readonly board: Int32Array }
);

export type FromFuzz =
  | { readonly kind: 'episode'; readonly result: EpisodeResult }
  | { readonly kind: 'threw'; readonly text: string }
  | { readonly kind: 'end' };

/** Serves `task` to its end. */
export function serveFuzz(task: FuzzTask, guests: FuzzGuests, say: (m: FromFuzz) => void): void {
  if (task.role === 'vcpu') {
    fuzzVcpuThread(task.board, task.index, task.fixed, guests, (text) => {
      say({ kind: 'threw', text });
    });
    return;
  }
  const episode = (plan: EpisodePlan): EpisodeResult =>
    task.role === 'control' ? parallelEpisode(plan, guests, task.board) : controlledEpisode(plan, guests);
  let calls = 0;
  for (let seed = task.seed; calls < task.calls && Atomics.load(task.stopped, 0) === 0; seed++) {
    const result = episode(episodePlan(seed, task.fixed));
    calls += result.calls;
    say({ kind: 'episode', result });
    if (result.wrong.length > 0) break;
  }
  say({ kind: 'end' });
}
