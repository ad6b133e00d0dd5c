import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const DIST = fileURLToPath(new URL('../../dist/parallel/', import.meta.url));

/** In a process of its own: a 4 GiB memory is reserved, only its last page is ever touched. */
const SCRIPT = `
  const { TOTAL_WORDS, words } = await import('./src/ops/memory.js');
  const answers = [TOTAL_WORDS];
  for (const name of ['plain', 'atomics', 'wasm']) {
    const o = await import('./src/ops/' + name + '.js');
    const last = TOTAL_WORDS - 1;
    words.fill(0, last - 7);
    o.st(last, -5);
    o.cas16(2 * last, 0xfffb, 1);
    o.st64(last - 3, 1, 2);
    answers.push(o.ld(last), o.ld64(last - 3), o.hi64(), o.cas64(last - 3, 1, 2, 3, 4));
    o.copy(last - 5, last - 3, 2);
    o.fill(last - 3, 2);
    answers.push(...words.subarray(last - 7));
  }
  process.stdout.write(JSON.stringify(answers));
`;

describe('a memory of 4 GiB', () => {
  it('is addressed to its last word by all three implementations', () => {
    const out = execFileSync(process.execPath, ['--input-type=module', '-e', SCRIPT], {
      cwd: DIST,
      env: { ...process.env, XENOLITH_MEMORY_MIB: '4096' },
      encoding: 'utf8',
    });
    const one = [-65535, 1, 2, 1, 0, 0, 3, 4, 0, 0, 0, -65535];
    expect(JSON.parse(out)).toEqual([2 ** 30, ...one, ...one, ...one]);
  });
});
