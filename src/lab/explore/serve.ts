/** A search thread: one job, answered once, whatever happens. */
import { parentPort, workerData } from 'node:worker_threads';
import { HypervisorBug, LabError } from '../../abi/errors.js';
import { decodeSchedule } from '../../explore/schedule.js';
import type { ExploreGuests } from './guests.js';
import type { ExploreThreadData, FromExplore, Job } from './messages.js';
import { record } from './replay.js';
import { searchJob } from './search-job.js';
import { Subject } from './subject.js';

const say = (m: FromExplore): void => {
  parentPort?.postMessage(m);
};

/** Does the job that this thread was started with. */
export function exploreThread(makeGuests: () => ExploreGuests): void {
  const { job, stop } = workerData as ExploreThreadData;
  say(answer(job, () => Atomics.load(stop, 0) !== 0, makeGuests));
}

function answer(job: Job, stopped: () => boolean, makeGuests: () => ExploreGuests): FromExplore {
  try {
    const why = makeGuests().refuses(job.plan);
    if (why !== '') return { kind: 'refused', why };
    if (job.kind === 'replay') return replayed(job, makeGuests);
    return searchJob(job.plan, job.search, makeGuests, {
      stopped,
      progress: (counts) => say({ kind: 'progress', counts }),
      shrinking: (rule) => say({ kind: 'shrinking', rule }),
    });
  } catch (e) {
    if (e instanceof LabError) return { kind: 'input', code: e.code, message: e.message, hint: e.hint };
    return { kind: 'failed', error: e instanceof Error ? (e.stack ?? e.message) : String(e) };
  }
}

function replayed(job: Extract<Job, { kind: 'replay' }>, makeGuests: () => ExploreGuests): FromExplore {
  const schedule = decodeSchedule(job.schedule);
  if (schedule === undefined) throw new HypervisorBug('a schedule that was just encoded does not decode');
  const subject = new Subject(job.plan, new Set(job.leftOut), makeGuests());
  return { kind: 'replayed', recording: record(subject, schedule, job.plan.small.bound) };
}
