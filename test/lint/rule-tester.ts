/** ESLint's rule tester under vitest, with types: every case is compiled as `fixtures/case.ts`. */
import { join } from 'node:path';
import { RuleTester, type Rule } from 'eslint';
import { parser } from 'typescript-eslint';
import { describe, test } from 'vitest';
import { ROOT } from '../../build/files.mjs';

RuleTester.describe = describe;
RuleTester.it = test;
RuleTester.itOnly = test.only;

const FIXTURES = join(ROOT, 'test/lint/fixtures');

interface Bad {
  readonly code: string;
  /** The message ids expected, in the order of the source. */
  readonly ids: readonly string[];
}

/** Checks `good` to pass and `bad` to be reported as said; `prelude` stands before every case. */
export function checkRule(
  name: string,
  rule: unknown,
  setup: { readonly options?: readonly unknown[]; readonly prelude?: string },
  good: readonly string[],
  bad: readonly Bad[],
): void {
  const tester = new RuleTester({
    languageOptions: { parser, parserOptions: { projectService: true, tsconfigRootDir: FIXTURES } },
  });
  const common = (code: string): { name: string; code: string; filename: string; options: unknown[] } => ({
    name: code,
    code: `${setup.prelude ?? ''}${code}`,
    filename: join(FIXTURES, 'case.ts'),
    options: [...(setup.options ?? [])],
  });
  tester.run(name, rule as Rule.RuleModule, {
    valid: good.map(common),
    invalid: bad.map(({ code, ids }) => ({ ...common(code), errors: ids.map((messageId) => ({ messageId })) })),
  });
}
