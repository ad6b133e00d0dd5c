/**
 * The same tests over both builds: `controlled` runs the sources as they are, `parallel` with the marks erased.
 *
 * A test that means something in one build only is named `*.controlled.test.ts` or `*.parallel.test.ts`; tests of the
 * tree itself (build, lint, floor plan) are the project `tools`. Workers of either project load from `dist/parallel`.
 */
import { defineConfig } from 'vitest/config';
import { parallelBuild } from './build/vitest-plugin.mjs';

const TESTS = ['test/**/*.test.ts'];
const TOOLS = ['test/build/**/*.test.ts', 'test/lint/**/*.test.ts', 'test/floor-plan.test.ts'];

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    globalSetup: ['build/vitest-setup.mjs'],
    projects: [
      {
        test: {
          name: 'controlled',
          include: TESTS,
          exclude: [...TOOLS, 'test/**/*.parallel.test.ts', 'test/**/fixtures/**'],
        },
      },
      {
        plugins: [parallelBuild()],
        test: {
          name: 'parallel',
          include: TESTS,
          exclude: [...TOOLS, 'test/**/*.controlled.test.ts', 'test/**/fixtures/**'],
        },
      },
      { test: { name: 'tools', include: TOOLS, exclude: ['test/**/fixtures/**'], testTimeout: 60_000 } },
    ],
  },
});
