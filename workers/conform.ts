/** Thread entry: replays shares of recordings; one isolate of a pool, of one build. */
import { recordings } from '../src/lab/linux/format.js';
import { replayBatch, TAPES, type BatchResult, type BatchTask } from '../src/lab/tape/batch.js';
import { REPLAY_BUILD } from '../src/lab/tape/replay.js';
import { recordedGuests } from './recorded.js';

// Coroutines exist in one build only, and only the other can have threads.
const together =
  REPLAY_BUILD === 'controlled'
    ? (await import('../src/lab/linux/coroutines.js')).inCoroutines
    : (await import('../src/lab/linux/threads.js')).inThreads;
const FORMATS = [recordings(recordedGuests, together), TAPES];

export default (task: BatchTask): BatchResult => replayBatch(task, FORMATS);
