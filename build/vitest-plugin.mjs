/** The Vite plugin of the parallel test project: the sources as `dist/parallel` has them, compiled on the way in. */
import { relative } from 'node:path';
import { erase, isPair } from './erase.mjs';
import { ROOT } from './files.mjs';

const ERASED = /^(src|guests|workers|test)\/.*\.ts$/;

/** @returns {import('vite').Plugin} */
export function parallelBuild() {
  return {
    name: 'xenolith-parallel-build',
    enforce: 'pre',
    transform(code, id) {
      const path = id.split('?', 1)[0] ?? id;
      const file = relative(ROOT, path).replaceAll('\\', '/');
      if (!ERASED.test(file) || isPair(file)) return null;
      const erased = erase(code, file);
      return { code: erased.code, map: { ...erased.map, sources: [path] } };
    },
  };
}
