/**
 * The thread side of a teardown benchmark: a machine's first vCPU, which measures; its other vCPUs; the bystander.
 *
 * Invariant: a task is answered whatever it does. Only the end of a process is timed; making the next one is not.
 * Lock: none held between two tasks.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { HypervisorBug } from '../../abi/errors.js';
import { hypervisorBoot } from '../../hypervisor/boot.js';
import { words } from '../../ops/memory.js';
import { run } from '../../sync/primitives.js';
import { watch } from './bystander.js';
import { countEnd } from './count.js';
import {
  READS,
  STATE,
  STATE_ENDING,
  STATE_OTHER,
  STATE_QUIET,
  type BenchGuests,
  type BenchReply,
  type BenchStart,
  type BenchTask,
  type BenchThreadData,
  type BenchVcpu,
  type Setting,
} from './messages.js';
import { contended, mappings } from './tally.js';

const IDLE_MS = 1000;
/** How long nothing goes on between two ends that a bystander watches. */
const QUIET_MS = 2;
/** A bystander that has not begun to read by then is not waited for any longer. */
const READY_MS = 20_000;

interface Open {
  readonly start: BenchStart;
  readonly vcpu: BenchVcpu;
}

const data = (): BenchThreadData => workerData as BenchThreadData;
const TOO_SMALL = 'the machine is too small for its domains';

/** Serves the tasks of one thread. */
export function benchThread(guests: BenchGuests): void {
  let open: Open | undefined;
  const opened = (): Open => {
    if (open === undefined) throw new HypervisorBug('no machine was opened');
    return open;
  };
  const handle = (task: BenchTask): BenchReply => {
    switch (task.kind) {
      case 'open': {
        const why = guests.refuses(task.setting);
        if (why !== '') return { kind: 'refused', why };
        open = openMachine(guests, task.setting);
        return { kind: 'opened', start: open.start };
      }
      case 'boot': {
        const { vcpu } = opened();
        return run(() => vcpu.boot()) ? { kind: 'done' } : { kind: 'failed', error: TOO_SMALL };
      }
      case 'round':
        return round(opened());
      case 'meet':
        return meet(opened(), task.rounds);
      case 'close': {
        const { vcpu } = opened();
        run(() => vcpu.quit());
        open = undefined;
        return { kind: 'done' };
      }
      case 'join':
        return join(guests, task.start, task.id);
      case 'bystand':
        return { kind: 'saw', sight: watch(guests.vcpu(task.start, task.id), data().state) };
      case 'count':
        return countEnd(guests, task.setting);
    }
  };
  parentPort?.on('message', (task: BenchTask) => {
    parentPort?.postMessage(answer(handle, task));
  });
}

function answer(handle: (task: BenchTask) => BenchReply, task: BenchTask): BenchReply {
  try {
    return handle(task);
  } catch (e) {
    return { kind: 'failed', error: e instanceof Error ? (e.stack ?? e.message) : String(e) };
  }
}

function openMachine(guests: BenchGuests, setting: Setting): Open {
  hypervisorBoot({});
  Atomics.store(data().state, READS, 0);
  const start = run(() => guests.build(setting));
  return { start, vcpu: guests.vcpu(start, 0) };
}

/** One process made, ended and forgotten; only its end is timed. */
function round({ start, vcpu }: Open): BenchReply {
  const mapped = mappings(start);
  const shape = run(() => vcpu.prepare());
  if (shape.nL1 === 0) return { kind: 'failed', error: 'the machine is too small for the process' };
  const before = contended(start);
  const from = process.hrtime.bigint();
  run(() => vcpu.end());
  const ns = Number(process.hrtime.bigint() - from);
  const after = contended(start);
  run(() => vcpu.rest());
  return { kind: 'round', ns, contended: after - before, leaked: mappings(start) - mapped };
}

/** Rounds for the bystander: it is told what goes on. */
function meet({ start, vcpu }: Open, rounds: number): BenchReply {
  const { state } = data();
  const patience = performance.now() + READY_MS;
  while (Atomics.load(state, READS) === 0 && performance.now() < patience) Atomics.wait(state, READS, 0, IDLE_MS);
  for (let i = 0; i < rounds; i++) {
    Atomics.store(state, STATE, STATE_OTHER);
    const mapped = mappings(start);
    if (run(() => vcpu.prepare()).nL1 === 0) return { kind: 'failed', error: 'the machine is too small' };
    Atomics.store(state, STATE, STATE_QUIET);
    Atomics.wait(state, STATE, STATE_QUIET, QUIET_MS);
    Atomics.store(state, STATE, STATE_ENDING);
    run(() => vcpu.end());
    Atomics.store(state, STATE, STATE_OTHER);
    run(() => vcpu.rest());
    if (mappings(start) !== mapped) break;
  }
  return { kind: 'done' };
}

/** A vCPU beside the first one: serves rounds until it is told to leave. */
function join(guests: BenchGuests, start: BenchStart, id: number): BenchReply {
  const vcpu = guests.vcpu(start, id);
  if (!run(() => vcpu.boot())) return { kind: 'failed', error: TOO_SMALL };
  for (let seen = 0; ;) {
    while (Atomics.load(words, start.phase) === seen) Atomics.wait(words, start.phase, seen, IDLE_MS);
    const phase = Atomics.load(words, start.phase);
    seen = run(() => vcpu.serve(phase));
    if (seen < 0) return { kind: 'done' };
  }
}
