/** How the thread of a hostile vCPU waits for its next life: it is nobody's vCPU meanwhile, so the host waits. */
import { MachineLost } from '../../abi/errors.js';
import { words } from '../../ops/memory.js';
import { peek } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { BOARD_GIVEN_UP } from '../run/messages.js';
import { board } from '../run/serve.js';
import { lives, type Lives } from './lives.js';

const WAIT_MS = 20;

export function* awaitTurn(l: Lives, _id: number, turn: number): Steps<void> {
  if (Atomics.load(board(), BOARD_GIVEN_UP) !== 0) throw new MachineLost('given up between two lives');
  Atomics.wait(words, peek(lives.turnAt(l)), turn, WAIT_MS);
}
