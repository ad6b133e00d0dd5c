/** What one side of a row is: something to do `ops` times, after an untimed preparation. */
export interface Measure {
  /** Operations that one `run` makes. */
  readonly ops: number;
  /** Untimed, before each run. */
  readonly reset?: () => void;
  /** Answers a checksum, which both sides of a row must agree on where the row says so, unless there is `check`. */
  readonly run: () => number | Promise<number>;
  /** Untimed, after the last run: the checksum of what it left behind. */
  readonly check?: () => number;
}
/** A bench file's export: sets a machine up and answers what to measure. */
export type Prepare = (arg: string) => Measure | Promise<Measure>;
