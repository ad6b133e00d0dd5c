/** The Vite plugins of the test projects. */
import { dirname, join, relative, resolve } from 'node:path';
import { erase, isPair } from './erase.mjs';
import { ROOT } from './files.mjs';
import { hasPoints, points } from './points.mjs';

const ERASED = /^(src|guests|workers|test)\/.*\.ts$/;
const BUILT = /^(src|guests|workers)\/.*\.js$/;

/** @param {string} path */
function inTree(path) {
  return relative(ROOT, path).replaceAll('\\', '/');
}

/**
 * The sources as `dist/parallel` has them, compiled on the way in.
 * @returns {import('vite').Plugin}
 */
export function parallelBuild() {
  return {
    name: 'xenolith-parallel-build',
    enforce: 'pre',
    transform(code, id) {
      const path = id.split('?', 1)[0] ?? id;
      const file = inTree(path);
      if (!ERASED.test(file) || isPair(file)) return null;
      const erased = erase(code, file);
      return { code: erased.code, map: { ...erased.map, sources: [path] } };
    },
  };
}

/**
 * The sources as `dist/controlled` has them; the tests themselves as they are.
 * @returns {import('vite').Plugin}
 */
export function controlledBuild() {
  return {
    name: 'xenolith-controlled-build',
    enforce: 'pre',
    transform(code, id) {
      const path = id.split('?', 1)[0] ?? id;
      const file = inTree(path);
      if (!file.endsWith('.ts') || !hasPoints(file)) return null;
      const rewritten = points(code, file);
      return { code: rewritten.code, map: { ...rewritten.map, sources: [path] } };
    },
  };
}

/**
 * For coverage: what a test imports of the sources is the file in `dist`, which Node loads by itself.
 * @param {'controlled' | 'parallel'} variant
 * @returns {import('vite').Plugin}
 */
export function builtSources(variant) {
  return {
    name: 'xenolith-built-sources',
    enforce: 'pre',
    resolveId(source, importer) {
      if (importer === undefined || !source.startsWith('.')) return null;
      const file = inTree(resolve(dirname(importer), source));
      return BUILT.test(file) ? join(ROOT, 'dist', variant, file) : null;
    },
  };
}
