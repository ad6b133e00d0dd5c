/** Makes a plain violation; the type is the guests' too (src/abi/guest.ts). */
import type { Violation } from '../abi/guest.js';

export type { Violation } from '../abi/guest.js';

export const broken = (invariant: string, detail: string, holders: readonly string[] = []): Violation => ({
  invariant,
  detail,
  holders,
  severity: 'broken',
});
