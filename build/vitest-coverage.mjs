/** Set up in every test process of a coverage run: the runner kills its processes, so counts are written before. */
import { takeCoverage } from 'node:v8';
import { afterAll } from 'vitest';

afterAll(() => {
  takeCoverage();
});
