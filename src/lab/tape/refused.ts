/** A LabError on its way between isolates: an exception that is cloned keeps its message only. */
import { LabError, type SourcePosition } from '../../abi/errors.js';

export interface RefusedInput {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly position: SourcePosition;
}

/** `position`: where the error is, if it does not say so itself. */
export const refusedInput = (e: LabError, position: SourcePosition): RefusedInput => ({
  code: e.code,
  message: e.message,
  hint: e.hint,
  position: e.position ?? position,
});

export const asLabError = ({ code, message, hint, position }: RefusedInput): LabError =>
  new LabError(code, message, { position, ...(hint === undefined ? {} : { hint }) });
