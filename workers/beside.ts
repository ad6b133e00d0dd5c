/** Hostile guests beside normal ones, as the laboratory asks for them; the same in every thread. */
import type { BesideGuests } from '../src/lab/hostile/guests.js';
import { peek, poke } from '../src/sync/primitives.js';
import { boardReborn, boardSweep, endClaimsOf } from '../guests/drivers/blk/board.js';
import { hostileBeside, hostileHandlers } from '../guests/hostile/guest.js';
import { homeL4, hostilePages, layHostile, startStream, tellBeside, tellHostile } from '../guests/hostile/image.js';
import { weightsOf } from '../guests/hostile/kinds.js';
import { hostile, type Hostile } from '../guests/hostile/record.js';
import { tally, tallyLife } from '../guests/hostile/tally.js';
import { tallied } from './tallied.js';

export const besideGuests: BesideGuests = {
  recordWords: hostile.words,
  tallyWords: tally.words,
  pages: hostilePages,
  base: homeL4,
  lay: layHostile,
  tell: (record, counts, d, v, life) => {
    const h = record as Hostile;
    for (let i = 0; i < hostile.words; i++) poke(record + i, 0);
    startStream(h, life.seed, life.options.noise, false);
    tellHostile(h, d, v, [d]);
    const weights = weightsOf(life.options.mix);
    tellBeside(h, { board: life.rings, tally: counts, weights, neighbours: life.neighbours });
  },
  handlers: hostileHandlers,
  life: (g, record, steps, over, checked) => hostileBeside(g, record as Hostile, steps, over, checked),
  settle: (record, met) => {
    if (peek(hostile.steps(record as Hostile)) > 0) tallyLife(record as Hostile, met);
  },
  tallied,
  gone: endClaimsOf,
  reborn: boardReborn,
  sweep: boardSweep,
};
