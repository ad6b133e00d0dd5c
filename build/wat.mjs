/**
 * Assembles every `src/**\/X.wat` to `X.wat.gen.ts` beside it, which exports the module's bytes.
 *
 * The generated file is not committed; `npm run generate`, `npm run build` and `npm run typecheck` make it.
 * Embedded bytes, not a `.wasm` file, so that a worker, a test and a packed CLI load it the same way.
 */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isFresh, listFiles, remove, ROOT, writeOutput } from './files.mjs';

const FEATURES = { threads: true, bulk_memory: true, simd: true, sign_extension: true, mutable_globals: true };

/**
 * The binary of one module; throws with the file's name, line and column.
 * @param {string} text
 * @param {string} fileName
 * @returns {Promise<Uint8Array>}
 */
export async function assemble(text, fileName) {
  const { default: init } = await import('wabt');
  const wabt = await init();
  const module = wabt.parseWat(fileName, text, FEATURES);
  try {
    module.resolveNames();
    // The package's types omit the argument; without it the module's features are the defaults.
    /** @type {(features: object) => void} */ (module.validate.bind(module))(FEATURES);
    return module.toBinary({}).buffer;
  } finally {
    module.destroy();
  }
}

/**
 * The generated module's text.
 * @param {Uint8Array} bytes
 * @param {string} fileName
 */
function moduleText(bytes, fileName) {
  const base64 = Buffer.from(bytes).toString('base64');
  return [
    `/** Assembled from ${basename(fileName)} by build/wat.mjs; not committed, not to be edited. */`,
    `export const bytes: Uint8Array<ArrayBuffer> = Uint8Array.from(`,
    `  atob('${base64}'),`,
    `  (c) => c.charCodeAt(0),`,
    `);`,
    '',
  ].join('\n');
}

/**
 * Brings every generated module up to date. Returns one message per `.wat` that does not assemble; such a file
 * has no generated module afterwards.
 * @param {string} [root]
 * @returns {Promise<string[]>}
 */
export async function generate(root = ROOT) {
  const errors = [];
  const files = listFiles(root, 'src');
  for (const file of files.filter((f) => f.endsWith('.wat'))) {
    const input = join(root, file);
    const output = `${input}.gen.ts`;
    if (isFresh(output, input)) continue;
    try {
      writeOutput(output, moduleText(await assemble(readFileSync(input, 'utf8'), file), file), input);
    } catch (e) {
      remove(output);
      errors.push(e instanceof Error ? e.message.trim() : String(e));
    }
  }
  for (const orphan of files.filter((f) => f.endsWith('.wat.gen.ts') && !files.includes(f.slice(0, -7)))) {
    remove(join(root, orphan));
  }
  return errors;
}
