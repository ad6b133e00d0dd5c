/** Which files which of our rules apply to; one list, read by eslint.config.js. */

/** The pair: it makes the primitives, so it may do what nobody else may. */
export const PRIMITIVES = ['src/sync/primitives*.ts'];

/** Code that another vCPU may interrupt: generator functions here, plain functions in the parallel build. */
export const INTERRUPTIBLE = [
  'src/trace/**/*.ts',
  'src/fault/**/*.ts',
  'src/sync/**/*.ts',
  'src/shm/**/*.ts',
  'src/machine/**/*.ts',
  'src/hypervisor/**/*.ts',
  'src/vcpu/**/*.ts',
  'guests/**/*.ts',
];

/** Everything below the laboratory: a run is a function of its scenario, seed and plan. */
export const BELOW_LAB = [
  ...INTERRUPTIBLE,
  'src/abi/**/*.ts',
  'src/ops/**/*.ts',
  'src/explore/**/*.ts',
  'src/audit/**/*.ts',
  'src/scenario/**/*.ts',
];

/** Where a view of the shared memory may be made, and atomics used. */
export const RAW_MEMORY = ['src/ops/**/*.ts', ...PRIMITIVES, 'src/lab/**/*.ts'];

/** Where the one view may be taken: what the primitives stand on or write to, and what resets the machine. */
export const WORDS = ['src/sync/**/*.ts', 'src/trace/**/*.ts', 'src/fault/**/*.ts', 'src/explore/**/*.ts'];

/** Files in which a generator may be what the language says: they are not erased. */
export const COROUTINES = [...PRIMITIVES, 'src/explore/**/*.ts', 'test/**/*.controlled.test.ts'];
