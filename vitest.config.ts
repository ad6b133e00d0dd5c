import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: 'controlled', include: ['test/**/*.test.ts'], exclude: ['test/**/*.parallel.test.ts'] } },
    ],
  },
});
