/**
 * The same tests over both builds: `controlled` runs the sources with their points in place, `parallel` with the marks erased.
 *
 * A test that means something in one build only is named `*.controlled.test.ts` or `*.parallel.test.ts`; tests of the
 * tree itself (build, lint, floor plan) are the project `tools`. Workers of either project load from `dist/parallel`.
 */
import { defineConfig, type Plugin } from 'vitest/config';
import { builtSources, controlledBuild, parallelBuild } from './build/vitest-plugin.mjs';

const TESTS = ['test/**/*.test.ts'];
const TOOLS = ['test/build/**/*.test.ts', 'test/lint/**/*.test.ts', 'test/floor-plan.test.ts'];

/** A coverage run (`build/coverage.mjs`) tests the files of `dist`, where Node counts. */
const covered = process.env['NODE_V8_COVERAGE'] !== undefined;
const plugins = (variant: 'controlled' | 'parallel'): Plugin[] => [
  variant === 'parallel' ? parallelBuild() : controlledBuild(),
  ...(covered ? [builtSources(variant)] : []),
];
const counting = covered
  ? { setupFiles: ['build/vitest-coverage.mjs'], server: { deps: { external: [/\/dist\/(controlled|parallel)\//] } } }
  : {};
const common = { ...counting, testTimeout: 120_000 };

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    globalSetup: ['build/vitest-setup.mjs'],
    projects: [
      {
        plugins: plugins('controlled'),
        test: {
          ...common,
          name: 'controlled',
          include: TESTS,
          exclude: [...TOOLS, 'test/**/*.parallel.test.ts', 'test/**/fixtures/**'],
        },
      },
      {
        plugins: plugins('parallel'),
        test: {
          ...common,
          name: 'parallel',
          include: TESTS,
          exclude: [...TOOLS, 'test/**/*.controlled.test.ts', 'test/**/fixtures/**'],
        },
      },
      { test: { name: 'tools', include: TOOLS, exclude: ['test/**/fixtures/**'], testTimeout: 60_000 } },
    ],
  },
});
