/** Which grants of a map an address range covers. Lock: none; a map's start never changes once it is mapped. */
import { PAGE_SIZE, type Va } from '../../src/abi/frames.js';
import type { Steps } from '../../src/sync/steps.js';
import { grantMap, mapCount, type GrantMap } from '../drivers/gntdev/map.js';
import { ldVa } from '../kernel/words.js';

/** The pages of `map` that lie in [start, end) of its mm: the first, and the one after the last. */
export function* coveredPages(map: GrantMap, start: Va, end: Va): Steps<readonly [number, number]> {
  const base = yield* ldVa(grantMap.start(map));
  const first = Math.max(0, Math.floor((start - base) / PAGE_SIZE));
  return [first, Math.min(mapCount(map), Math.ceil((end - base) / PAGE_SIZE))];
}
