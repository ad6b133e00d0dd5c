/** Exit codes, and how an error of any kind is told to a person. */
import { LabError } from '../abi/errors.js';
import { formatProblem, ScenarioError } from '../scenario/error.js';

/** Everything was as expected. */
export const EXIT_OK = 0;
/** A run was not as expected, or was interrupted. */
export const EXIT_UNEXPECTED = 1;
/** Bad input: a flag, a file. */
export const EXIT_INPUT = 2;
/** The laboratory itself broke. */
export const EXIT_INTERNAL = 3;

/** The lines to print and the code to exit with. */
export function explain(e: unknown): { text: string; code: number } {
  if (e instanceof ScenarioError) return { text: e.problems.map(formatProblem).join('\n'), code: EXIT_INPUT };
  if (e instanceof LabError) {
    const hint = e.hint === undefined ? '' : `\n  hint: ${e.hint}`;
    const p = e.position;
    const where = p === undefined ? 'error' : `${p.file}:${String(p.line)}:${String(p.column)}`;
    return { text: `${where}: ${e.message}${hint}`, code: EXIT_INPUT };
  }
  return { text: `internal error: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}`, code: EXIT_INTERNAL };
}
