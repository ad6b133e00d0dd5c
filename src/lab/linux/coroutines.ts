/** The processors of a recorded domain as coroutines of one thread, in one schedule. Controlled build only. */
import { HypervisorBug } from '../../abi/errors.js';
import { formatWaits, interleave } from '../../explore/loop.js';
import { roundRobin } from '../../explore/round-robin.js';
import type { RecordedDomain } from './run.js';

/** Points from one switch to the next, and in all. */
const SLICE = 50;
const BOUND = 2 ** 31 - 1;

export function inCoroutines(d: RecordedDomain): void {
  const bodies = d.cpus.map((_, id) => () => d.vcpu(id));
  const outcome = interleave(bodies, roundRobin(SLICE), BOUND);
  if (outcome.kind === 'done') return;
  if (outcome.kind === 'threw') throw outcome.error;
  const why = outcome.kind === 'deadlock' ? formatWaits(outcome.waits) : outcome.kind;
  throw new HypervisorBug(`a recording with several processors did not end: ${why}`);
}
