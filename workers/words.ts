/** Where in the shared memory a built domain counts, so that the main thread reads it without asking anybody. */
import type { DomainWords } from '../src/lab/run/messages.js';
import type { DomainSpec } from '../src/scenario/scenario.js';
import { COUNTER_NAMES, WARNING_NAMES } from '../guests/kernel/counters.js';
import { kernel, type Kernel } from '../guests/kernel/records.js';

export const wordsOf = (k: Kernel, d: Pick<DomainSpec, 'name' | 'domid'>): DomainWords => ({
  domain: d.name,
  domid: d.domid,
  stop: kernel.windDown(k),
  rounds: kernel.rounds(k),
  counters: Object.fromEntries([
    ...COUNTER_NAMES.map((name, i) => [name, kernel.counters(k) + i] as const),
    ...WARNING_NAMES.map((name, i) => [`warning.${name}`, kernel.warnings(k) + 2 * i] as const),
  ]),
});
