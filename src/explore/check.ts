/**
 * The check of an execution: what the program asks after each step, the order of locks of one rank, and the race detector
 * when it is wanted.
 */
import { POINT_LOCK } from '../sync/schedule.js';
import { LockPairs } from './lock-pairs.js';
import type { Program, StepCheck } from './program.js';
import { RaceDetector } from './races.js';

/** `begin` is called before each execution. */
export function checkOf(program: Program, races: boolean): { begin(): void; check: StepCheck | undefined } {
  const own: StepCheck | undefined = program.step === undefined ? undefined : program.step.bind(program);
  if (own === undefined && !races) return { begin: () => undefined, check: undefined };
  const pairs = new LockPairs(program.names);
  const detector = races ? new RaceDetector(program.names) : undefined;
  const race = detector?.step.bind(detector);
  const lock: StepCheck = (i, a, kind, n, r) => {
    const wrong = own?.(i, a, kind, n, r) ?? pairs.step(i, a, kind);
    return wrong ?? race?.(i, a, kind, n, r);
  };
  return {
    begin: () => {
      pairs.begin();
      detector?.begin();
    },
    check: fast(own, race, lock),
  };
}

/** Most steps take no lock. */
function fast(own: StepCheck | undefined, race: StepCheck | undefined, lock: StepCheck): StepCheck {
  if (own === undefined)
    return (i, a, kind, n, r) => ((kind & POINT_LOCK) !== 0 ? lock(i, a, kind, n, r) : race?.(i, a, kind, n, r));
  if (race === undefined)
    return (i, a, kind, n, r) => ((kind & POINT_LOCK) !== 0 ? lock(i, a, kind, n, r) : own(i, a, kind, n, r));
  return (i, a, kind, n, r) =>
    (kind & POINT_LOCK) !== 0 ? lock(i, a, kind, n, r) : (own(i, a, kind, n, r) ?? race(i, a, kind, n, r));
}
