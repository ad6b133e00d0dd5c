/** What a program does between its processes unless it says otherwise: nothing. Lock: none. */
import type { Steps } from '../../src/sync/steps.js';

function* nothing(): Steps<void> {
  return;
}

export const quietProgram = Object.freeze({ ended: nothing, begin: nothing, finish: nothing });
