/** Hostile guests beside normal ones, as the laboratory asks for them; the same in every thread. */
import * as errno from '../src/abi/errno.js';
import type { BesideGuests, TallyWords } from '../src/lab/hostile/guests.js';
import { peek, poke } from '../src/sync/primitives.js';
import { boardReborn, boardSweep, endClaimsOf } from '../guests/drivers/blk/board.js';
import { hostileBeside, hostileHandlers } from '../guests/hostile/guest.js';
import { homeL4, hostilePages, layHostile, startStream, tellBeside, tellHostile } from '../guests/hostile/image.js';
import { ALL_KIND_NAMES, weightsOf } from '../guests/hostile/kinds.js';
import { hostile, type Hostile } from '../guests/hostile/record.js';
import { GRANT_STATUSES, STATUSES, tally, tallyLife, type Tally } from '../guests/hostile/tally.js';

const ERRNO = new Map(Object.entries(errno).map(([name, n]) => [n as number, name]));

function tallied(at: number): TallyWords {
  const t = at as Tally;
  const totals = ['lives', 'steps', 'calls', 'faults', 'against', 'reached', 'met'] as const;
  const words: (readonly [string, number])[] = totals.map((name) => [`hostile.${name}`, tally[name](t)]);
  ALL_KIND_NAMES.forEach((name, k) => {
    words.push([`hostile.kind.${name}`, tally.kinds(t) + k], [`hostile.effect.${name}`, tally.effects(t) + k]);
    words.push([`hostile.reached.${name}`, tally.reachedKinds(t) + k]);
  });
  for (let n = 0; n < STATUSES; n++) {
    const name = n === 0 ? 'done' : ERRNO.get(n);
    if (name !== undefined) words.push([`hostile.status.${name}`, tally.statuses(t) + n]);
  }
  for (let n = 0; n < GRANT_STATUSES; n++) words.push([`hostile.grant.${String(-n)}`, tally.grantStatuses(t) + n]);
  return words;
}

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
