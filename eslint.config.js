/**
 * Lint: typescript-eslint's strictest typed set, and the project's own rules (`build/lint/`), by room.
 *
 * Which files are which room's: `build/lint/rooms.mjs`. Layout is prettier's, so no rule here is about layout.
 */
import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';
import { xenolith } from './build/lint/plugin.mjs';
import { BELOW_LAB, COROUTINES, INTERRUPTIBLE, PRIMITIVES, RAW_MEMORY, WORDS } from './build/lint/rooms.mjs';

const UNBOUNDED_WAIT = {
  selector: 'CallExpression[callee.object.name="Atomics"][callee.property.name="wait"][arguments.length<4]',
  message: 'A wait without a time limit hangs its thread for good: pass the fourth argument.',
};
const CONST_ENUM = {
  selector: 'ExportNamedDeclaration > TSEnumDeclaration[const=true]',
  message: 'Files are compiled one by one: a const enum does not cross them.',
};
const BIGINTS = [
  { selector: 'Literal[bigint]', message: 'No BigInt where guests and the hypervisor run: use two words.' },
  { selector: 'CallExpression[callee.name="BigInt"]', message: 'No BigInt where guests and the hypervisor run.' },
];

export default defineConfig(
  globalIgnores(['dist/', 'coverage/', '**/*.gen.ts', '**/*.d.ts']),
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: ['**/*.{ts,mjs,js}'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Steps without a point of their own are generators without a yield.
      'require-yield': 'off',
      'no-restricted-syntax': ['error', UNBOUNDED_WAIT, CONST_ENUM],
      // `words[a]!` over typed arrays: the index is an address, and the check would be on the hot path.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  {
    // The compiler checks the scripts' names and types (checkJs); casts in JSDoc are not seen by typed rules.
    files: ['**/*.{mjs,js}'],
    rules: {
      'no-undef': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  {
    files: ['src/**/*.ts', 'guests/**/*.ts', 'workers/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts'],
    plugins: { xenolith },
    rules: { 'xenolith/steps': ['error', { interruptible: false, coroutines: false }] },
  },
  {
    files: ['src/**/*.ts', 'guests/**/*.ts'],
    ignores: RAW_MEMORY,
    rules: { 'xenolith/no-raw-view': 'error' },
  },
  { files: WORDS, ignores: RAW_MEMORY, rules: { 'xenolith/no-raw-view': ['error', { words: true }] } },
  { files: BELOW_LAB, rules: { 'xenolith/no-clock': 'error' } },
  {
    files: INTERRUPTIBLE,
    ignores: PRIMITIVES,
    rules: {
      'xenolith/steps': ['error', { interruptible: true, coroutines: false }],
      'xenolith/no-module-state': 'error',
      'no-restricted-syntax': ['error', UNBOUNDED_WAIT, CONST_ENUM, ...BIGINTS],
    },
  },
  { files: COROUTINES, rules: { 'xenolith/steps': ['error', { interruptible: false, coroutines: true }] } },
  {
    // A test hands over unbound matchers, and async bodies that only sometimes wait.
    files: ['test/**/*.ts'],
    rules: { '@typescript-eslint/unbound-method': 'off', '@typescript-eslint/require-await': 'off' },
  },
);
