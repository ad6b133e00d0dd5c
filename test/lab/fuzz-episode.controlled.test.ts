/** One episode at a time, in this isolate: it repeats itself, and what is broken on purpose is found. */
import { describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { controlledEpisode } from '../../src/lab/fuzz/controlled.js';
import type { FuzzGuests } from '../../src/lab/fuzz/guests.js';
import { episodePlan } from '../../src/lab/fuzz/plan.js';
import { globals } from '../../src/hypervisor/globals.js';
import { countInfo, typeInfo } from '../../src/machine/frame.js';
import type { Mfn } from '../../src/abi/frames.js';
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { hostile, type Hostile } from '../../guests/hostile/record.js';
import { hostileGuests } from '../../workers/hostile.js';

const plan = { ...episodePlan(5), steps: 100 };

/** The same guests, with something done behind the hypervisor's back at the end of each life. */
const sabotaged = (what: (h: Hostile) => void): FuzzGuests => ({
  ...hostileGuests,
  *life(g, record, steps, checked): Steps<void> {
    yield* hostileGuests.life(g, record, steps, checked);
    what(record as Hostile);
  },
});
const homeL4 = (h: Hostile): Mfn => peek(hostile.homeL4(h)) as Mfn;

describe('an episode', () => {
  it('is a function of its plan', () => {
    for (const seed of [1, 2, 3]) {
      const one = controlledEpisode(episodePlan(seed), hostileGuests);
      expect(one.wrong).toEqual([]);
      expect(controlledEpisode(episodePlan(seed), hostileGuests)).toEqual(one);
    }
  });

  it.each([
    ['a reference that nobody holds', countInfo, 'I5'],
    ['a type reference that nobody holds', typeInfo, 'I6'],
  ])('with %s fails', (_, word, invariant) => {
    const guests = sabotaged((h) => {
      poke(word(homeL4(h)), peek(word(homeL4(h))) + 1);
    });
    const { wrong } = controlledEpisode(plan, guests);
    expect(wrong.join('\n')).toContain(`after the last call: ${invariant} `);
  });

  it('whose guest ends by an exception fails', () => {
    const guests = sabotaged(() => {
      throw new Error('never to be thrown');
    });
    expect(controlledEpisode(plan, guests).wrong.join('\n')).toContain('never to be thrown');
  });

  it('whose frames do not come back fails', () => {
    // A frame on no list any more: nothing refers to it, so only the count of free frames can tell.
    const guests = sabotaged(() => undefined);
    const seen = controlledEpisode(plan, {
      ...guests,
      tell: (...args) => {
        hostileGuests.tell(...args);
        poke(globals.freeFrames, peek(globals.freeFrames) - 1);
      },
    });
    expect(seen.wrong.join('\n')).toMatch(/frames are not free though every domain is gone/);
  });
});
