/**
 * Random programs of operations for several vCPUs, as fast-check makes and shrinks them: per vCPU a list of steps, each a
 * kind and a number that decides everything else of it; beside them the machine and the schedule.
 *
 * A step means the same wherever it stands (guests/hostile/step.ts), so a program stays one when steps are left out.
 */
import fc from 'fast-check';
import type { FuzzGuests } from '../../src/lab/fuzz/guests.js';
import type { EpisodePlan, FuzzDomain } from '../../src/lab/fuzz/plan.js';
import { globals } from '../../src/hypervisor/globals.js';
import { arenaAlloc } from '../../src/shm/arena.js';
import { CONTROL } from '../../src/sync/actor.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import { KIND, KIND_NAMES, WEIGHTS } from '../../guests/hostile/kinds.js';
import { hostile, type Hostile } from '../../guests/hostile/record.js';
import { hostileGuests } from '../../workers/hostile.js';

export type Kind = keyof typeof KIND;
export type Step = readonly [kind: Kind, number: number];
export interface Program {
  /** One list of steps for each vCPU, domain by domain. */
  readonly steps: readonly (readonly Step[])[];
  /** vCPUs of each domain; the first one is the control domain. */
  readonly domains: readonly number[];
  readonly wild: number;
  readonly quantum: number;
  readonly debug: boolean;
  readonly checked: boolean;
  /** Steps a vCPU runs on before the next does (controlled build); 0: a random walk of seed `schedule`. */
  readonly slice: number;
  readonly schedule: number;
}

const step: fc.Arbitrary<Step> = fc.tuple(
  fc.constantFrom(...WEIGHTS).map((k) => KIND_NAMES[k] as Kind),
  fc.nat(0x3fffffff),
);

const vcpusOf = (domains: readonly number[]): number => domains.reduce((a, b) => a + b, 0);

/** Programs of up to `max` steps a vCPU. */
export const program = (max: number): fc.Arbitrary<Program> =>
  fc.constantFrom([1], [2], [1, 1], [2, 1], [2, 2], [1, 1, 1], [2, 2, 1]).chain((domains) =>
    fc.record({
      steps: fc.array(fc.array(step, { maxLength: max, size: 'max' }), {
        minLength: vcpusOf(domains),
        maxLength: vcpusOf(domains),
      }),
      domains: fc.constant(domains),
      wild: fc.constantFrom(0, 0, 2, 8, 32),
      quantum: fc.constantFrom(0, 0, 1, 2, 5),
      debug: fc.constantFrom(false, false, false, true),
      checked: fc.boolean(),
      slice: fc.constantFrom(0, 1, 7, 100, 2000),
      schedule: fc.nat(0x3fffffff),
    }),
  );

export const planOf = (p: Program): EpisodePlan => ({
  seed: p.schedule,
  debug: p.debug,
  quantum: p.quantum,
  wild: p.wild,
  domains: p.domains.map((vcpus, domid): FuzzDomain => ({ domid, privileged: domid === 0, vcpus })),
  steps: Math.max(...p.steps.map((s) => s.length)),
  slice: p.slice,
  checked: p.checked,
  churns: false,
  faults: [],
  heap: 400,
});

const CHUNK_WORDS = 1024;

/** Hostile guests that take the program's steps and no others. */
export function guestsOf(p: Program): FuzzGuests {
  return {
    ...hostileGuests,
    tell: (record, d, v, all, stream) => {
      hostileGuests.tell(record, d, v, all, stream);
      const before = p.domains.slice(0, d.domid).reduce((a, b) => a + b, 0);
      poke(
        hostile.program(record as Hostile),
        layProgram(p.steps[before + v] ?? [], Math.max(...p.steps.map((s) => s.length))),
      );
    },
  };
}

/** Puts the steps where threads find them; a shorter program goes on with looks at memory. */
function layProgram(steps: readonly Step[], length: number): number {
  const chunks = Math.ceil((2 * length + 1) / CHUNK_WORDS);
  const at = run(() => arenaAlloc(CONTROL, peek(globals.arena), chunks));
  for (let i = 0; i < length; i++) {
    const [kind, number] = steps[i] ?? (['load', i] as const);
    poke(at + 2 * i, KIND[kind]);
    poke(at + 2 * i + 1, number);
  }
  return at;
}
