/**
 * The check of an execution: what the program asks after each step, then the race detector when it is wanted.
 */
import type { Program, StepCheck } from './program.js';
import { RaceDetector } from './races.js';

/** `begin` is called before each execution. */
export function checkOf(program: Program, races: boolean): { begin(): void; check: StepCheck | undefined } {
  const own = program.step === undefined ? undefined : program.step.bind(program);
  if (!races) return { begin: () => undefined, check: own };
  const detector = new RaceDetector(program.names);
  const race = detector.step.bind(detector);
  return {
    begin: () => detector.begin(),
    check: own === undefined ? race : (i, a, kind, n) => own(i, a, kind, n) ?? race(i, a, kind, n),
  };
}
