/** Imported names as constants of their module: what is rewritten, what is left alone, and that it still runs. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bindImports, importGroups } from '../../build/bind-imports.mjs';

const FILE = 'src/machine/a.ts';
const none = new Map<string, number>();
const bound = (js: string, file = FILE, groups: ReadonlyMap<string, number> = none): string =>
  bindImports(ts, js, file, groups);

describe('the imports of a hot room', () => {
  it('become constants on the same line, renamed ones and those over several lines too', () => {
    expect(bound("import { a, b as c } from './x.js';\nc(a);\n")).toBe(
      "import { a as $a, b as $c } from './x.js'; const a = $a, c = $c;\nc(a);\n",
    );
    const lines = "import {\n  a,\n  b,\n} from '../y.js';\na();\n";
    expect(bound(lines).split('\n').length).toBe(lines.split('\n').length);
    expect(bound(lines)).toContain("} from '../y.js'; const a = $a, b = $b;");
  });

  it('stay as they are when they are a package, a namespace, a default or nothing', () => {
    for (const js of ["import { a } from 'node:fs';", "import * as o from './o.js';", "import './s.js';", 'a();']) {
      expect(bound(js)).toBe(js);
    }
  });

  it('stay as they are between modules that import each other, and outside the hot rooms', () => {
    const js = "import { b } from './b.js';\n";
    expect(
      bound(
        js,
        FILE,
        new Map([
          [FILE, 1],
          ['src/machine/b.ts', 1],
        ]),
      ),
    ).toBe(js);
    expect(
      bound(
        js,
        FILE,
        new Map([
          [FILE, 1],
          ['src/machine/b.ts', 2],
        ]),
      ),
    ).not.toBe(js);
    expect(bound(js, 'src/lab/a.ts')).toBe(js);
  });
});

describe('the exported constants of a hot room', () => {
  it('are constants of the module, exported under their names behind the last statement', () => {
    expect(bound('export const a = 1;\nexport const { b, c: [d] } = a;\n//# end\n')).toBe(
      '       const a = 1;\n       const { b, c: [d] } = a; ' +
        'const $$a = a, $$b = b, $$d = d; export { $$a as a, $$b as b, $$d as d };\n//# end\n',
    );
  });

  it('stay as they are when they are functions or classes, and in modules that import each other; none may change', () => {
    for (const js of ['export function f() {}', 'export class C {}', "export { y } from './y.js';"]) {
      expect(bound(js)).toBe(js);
    }
    expect(() => bound('export let x = 1;')).toThrow('an export that may change');
    const pair = new Map([FILE, 'src/machine/b.ts'].map((f) => [f, 1]));
    expect(bound('export const a = 1;', FILE, pair)).toBe('export const a = 1;');
    expect(bound('export const a = 1;', FILE, new Map([[FILE, 1]]))).not.toBe('export const a = 1;');
  });

  it('can be imported as before', async () => {
    const js = bound('export const a = 20;\nexport const { b } = { b: a + 1 };\nexport const sum = () => a + b;\n');
    const module = (await import(`data:text/javascript,${encodeURIComponent(js)}`)) as Record<string, unknown>;
    expect(Object.keys(module).sort()).toEqual(['a', 'b', 'sum']);
    expect((module['sum'] as () => number)()).toBe(41);
  });
});

describe('groups of modules', () => {
  let root: string;
  const put = (file: string, text: string): void => {
    mkdirSync(join(root, file, '..'), { recursive: true });
    writeFileSync(join(root, file), text);
  };
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'bind-'));
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  it('are what reaches each other through values; types do not count', () => {
    put('src/a.ts', "import { b } from './b.js';\n");
    put('src/b.ts', "import { c } from './d/c.js';\nimport type { A } from './a.js';\n");
    put('src/d/c.ts', "import { b } from '../b.js';\nexport { x } from '../e.js';\n");
    put('src/e.ts', 'export const x = 1;\n');
    const groups = importGroups(root, ['src/a.ts', 'src/b.ts', 'src/d/c.ts', 'src/e.ts']);
    expect(groups.get('src/b.ts')).toBe(groups.get('src/d/c.ts'));
    expect(new Set(groups.values()).size).toBe(3);
  });
});
