/** What a hostile vCPU counts, by the names of a report. */
import * as errno from '../src/abi/errno.js';
import * as gnt from '../src/abi/grant.js';
import type { TallyWords } from '../src/lab/hostile/guests.js';
import { ALL_KIND_NAMES } from '../guests/hostile/kinds.js';
import { GRANT_STATUSES, STATUSES, tally, type Tally } from '../guests/hostile/tally.js';

const ERRNO = new Map(Object.entries(errno).map(([name, n]) => [n as number, name]));
const GNTST = new Map(
  Object.entries(gnt)
    .filter(([name]) => name.startsWith('GNTST_'))
    .map(([name, n]) => [n, name.slice('GNTST_'.length)]),
);

export function tallied(at: number): TallyWords {
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
  for (let n = 0; n < GRANT_STATUSES; n++) {
    words.push([`hostile.grant.${GNTST.get(-n) ?? String(-n)}`, tally.grantStatuses(t) + n]);
  }
  return words;
}
