/** Hostile guests as the fuzzer asks for them; the same in every thread. */
import type { FuzzGuests } from '../src/lab/fuzz/guests.js';
import { peek } from '../src/sync/primitives.js';
import { hostileHandlers, hostileLife } from '../guests/hostile/guest.js';
import { homeL4, hostilePages, layHostile, startStream, tellHostile } from '../guests/hostile/image.js';
import { KIND_NAMES } from '../guests/hostile/kinds.js';
import { hostile, type Hostile } from '../guests/hostile/record.js';

const list = (from: number): number[] => KIND_NAMES.map((_, k) => peek(from + k));

export const hostileGuests: FuzzGuests = {
  kinds: KIND_NAMES,
  recordWords: hostile.words,
  pages: hostilePages,
  base: homeL4,
  lay: layHostile,
  tell: (record, d, v, all, stream) => {
    const h = record as Hostile;
    startStream(h, stream.seed, stream.wild, stream.churns);
    tellHostile(h, d, v, all);
  },
  handlers: hostileHandlers,
  life: (g, record, steps, checked) => hostileLife(g, record as Hostile, steps, checked),
  counts: (record) => {
    const h = record as Hostile;
    return { calls: peek(hostile.calls(h)), kinds: list(hostile.kinds(h)), effects: list(hostile.effects(h)) };
  },
};
