/** What a check after a step finds; the shape of the explorer's own finding. */

export interface Finding {
  /** `I1` …, `page-lock`, `dead-access`. */
  readonly rule: string;
  readonly detail: string;
  readonly holders: readonly string[];
}

export const finding = (rule: string, detail: string, holders: readonly string[] = []): Finding => ({
  rule,
  detail,
  holders,
});
