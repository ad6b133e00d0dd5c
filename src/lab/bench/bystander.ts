/**
 * A bystander: a vCPU that reads its own memory, and how long that takes while another address space ends.
 *
 * Invariant: a chunk of accesses counts for a state only if that was the state before and after it.
 * Lock: none.
 */
import { run } from '../../sync/primitives.js';
import { READS, STATE, STATE_ENDING, STATE_QUIET, type BenchVcpu, type Sight } from './messages.js';
import { quantile } from './stats.js';

const CHUNK = 512;
/** Chunks kept of each state; more than that tells nothing new. */
const MOST = 200_000;

/** Reads until told to leave. */
export function watch(vcpu: BenchVcpu, state: Int32Array): Sight {
  const quiet: number[] = [];
  const ending: number[] = [];
  if (!run(() => vcpu.boot())) throw new RangeError('no memory for the bystander');
  for (;;) {
    const before = Atomics.load(state, STATE);
    const from = process.hrtime.bigint();
    const goesOn = run(() => vcpu.bystand(CHUNK));
    const ns = Number(process.hrtime.bigint() - from) / CHUNK;
    if (!goesOn) break;
    Atomics.store(state, READS, 1);
    Atomics.notify(state, READS);
    if (Atomics.load(state, STATE) !== before) continue;
    const into = before === STATE_QUIET ? quiet : before === STATE_ENDING ? ending : undefined;
    if (into !== undefined && into.length < MOST) into.push(ns);
  }
  return {
    quietNs: quantile(quiet, 0.5),
    busyNs: quantile(ending, 0.5),
    quietChunks: quiet.length,
    busyChunks: ending.length,
    quietWorstNs: quantile(quiet, 1) * CHUNK,
    busyWorstNs: quantile(ending, 1) * CHUNK,
  };
}
