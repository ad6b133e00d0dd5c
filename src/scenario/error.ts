/** Every problem of one scenario file, each with its place and a hint. Source: DESIGN decision 10. */
import { LabError, type SourcePosition } from '../abi/errors.js';

export interface Problem {
  readonly position: SourcePosition;
  readonly message: string;
  readonly hint?: string;
}

/** `file:line:column: message`, then the hint on a line of its own. */
export function formatProblem(p: Problem): string {
  const { file, line, column } = p.position;
  const head = `${file}:${String(line)}:${String(column)}: ${p.message}`;
  return p.hint === undefined ? head : `${head}\n  hint: ${p.hint}`;
}

/** A scenario that cannot be used; `problems` holds at least one entry, in the order of the file. */
export class ScenarioError extends LabError {
  override readonly name = 'ScenarioError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly [Problem, ...Problem[]]) {
    const [first] = problems;
    super('SCENARIO_INVALID', first.message, {
      position: first.position,
      ...(first.hint === undefined ? {} : { hint: first.hint }),
    });
    this.problems = problems;
  }
}
