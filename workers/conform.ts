/** Thread entry: replays shares of recordings; one isolate of a pool, of one build. */
import { replayBatch, TAPES, type BatchResult, type BatchTask } from '../src/lab/tape/batch.js';

export default (task: BatchTask): BatchResult => replayBatch(task, [TAPES]);
