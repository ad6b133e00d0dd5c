/**
 * The three kinds of wrong, as far as they are exceptions.
 *
 * A guest's mistake is never one of these: it gets Xen's answer (errno, status, fault, domain crash).
 * Source: DESIGN decision 10.
 */

/** A broken invariant of ours: fails the run, never caught below `lab`. */
export class HypervisorBug extends Error {
  override readonly name = 'HypervisorBug';
}

/** The same, of a rule that has a name of its own among the findings: `lock-order`, `page-lock`. */
export class RuleBroken extends HypervisorBug {
  readonly rule: string;

  constructor(rule: string, message: string) {
    super(message);
    this.rule = rule;
  }
}

/** The rule that an error says was broken. */
export const ruleOfError = (error: unknown): string => (error instanceof RuleBroken ? error.rule : 'bug');

/** The machine was given up (a vCPU stopped answering inside the hypervisor, or the run was aborted). */
export class MachineLost extends Error {
  override readonly name = 'MachineLost';
}

/** A user's mistake (file, flag, input), with a stable code and a hint. */
export class LabError extends Error {
  override readonly name: string = 'LabError';
  readonly code: string;
  readonly hint: string | undefined;
  readonly position: SourcePosition | undefined;

  constructor(code: string, message: string, more: { hint?: string; position?: SourcePosition } = {}) {
    super(message);
    this.code = code;
    this.hint = more.hint;
    this.position = more.position;
  }
}

export interface SourcePosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}
