/**
 * Counting one end of a process exactly: all vCPUs as coroutines, switching by turns.
 *
 * Invariant: a function of the setting alone; of a small process the second round is counted.
 * Lock: none. Only in the controlled build.
 */
import { HypervisorBug } from '../../abi/errors.js';
import { interleave } from '../../explore/loop.js';
import { roundRobin } from '../../explore/round-robin.js';
import { hypervisorBoot } from '../../hypervisor/boot.js';
import { peek, run, waitChange } from '../../sync/primitives.js';
import type { Cpu } from '../../sync/actor.js';
import type { Steps } from '../../sync/steps.js';
import type { BenchGuests, BenchReply, BenchStart, BenchVcpu, RoundShape, Setting } from './messages.js';
import { difference, mappings, tally } from './tally.js';

/** Steps that a vCPU makes before the next one does. */
const TURN = 8;
const BOUND = 2 ** 40;

interface Ledger {
  counted: Readonly<Record<string, number>>;
  shape: RoundShape;
  leaked: number;
  failed: string;
}

/** Counts what the end of the setting's process makes happen. */
export function countEnd(guests: BenchGuests, setting: Setting): BenchReply {
  const why = guests.refuses(setting);
  if (why !== '') return { kind: 'refused', why };
  hypervisorBoot({});
  const start = run(() => guests.build(setting));
  const vcpus = start.places.map((_, id) => guests.vcpu(start, id));
  const ledger: Ledger = { counted: {}, shape: { nL1: 0, nL2: 0, nL3: 0, stateBytes: 0 }, leaked: 0, failed: '' };
  const [first, ...others] = vcpus;
  if (first === undefined) throw new HypervisorBug('a machine without vCPUs');
  if (others.length === 0) run(() => lead(first, start, ledger));
  else
    takeTurns([
      () => lead(first, start, ledger),
      ...others.map((v, i) => () => follow(v, start, (start.places[i + 1] as { cpu: number }).cpu as Cpu)),
    ]);
  if (ledger.failed !== '') return { kind: 'failed', error: ledger.failed };
  return { kind: 'counted', counted: ledger.counted, shape: ledger.shape, leaked: ledger.leaked };
}

function takeTurns(bodies: readonly (() => Steps<void>)[]): void {
  const outcome = interleave(bodies, roundRobin(TURN), BOUND);
  if (outcome.kind === 'threw') throw outcome.error;
  if (outcome.kind !== 'done') throw new HypervisorBug(`the count ended in a ${outcome.kind}`);
}

/** The first round makes what later ones find; with so many pages that is not worth its time. */
const roundsOf = (pages: number): number => (pages > 8192 ? 1 : 2);

function* lead(v: BenchVcpu, start: BenchStart, ledger: Ledger): Steps<void> {
  if (!(yield* v.boot())) ledger.failed = 'the machine is too small for its domains';
  for (let i = 0; i < roundsOf(start.setting.point.pages) && ledger.failed === ''; i++) {
    const mapped = mappings(start);
    const shape = yield* v.prepare();
    if (shape.nL1 === 0) {
      // What the first round left behind may be what is missing now: then that round counts.
      if (i === 0) ledger.failed = 'the machine is too small for the process';
      break;
    }
    ledger.shape = shape;
    const before = tally(start);
    yield* v.end();
    ledger.counted = difference(tally(start), before);
    ledger.leaked = mappings(start) - mapped;
    yield* v.rest();
  }
  yield* v.quit();
}

function* follow(v: BenchVcpu, start: BenchStart, cpu: Cpu): Steps<void> {
  yield* v.boot();
  for (let seen = 0; ;) {
    while (peek(start.phase) === seen) yield* waitChange(cpu, start.phase, seen);
    seen = yield* v.serve(peek(start.phase));
    if (seen < 0) return;
  }
}
