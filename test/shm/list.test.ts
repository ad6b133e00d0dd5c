import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { words } from '../../src/ops/memory.js';
import {
  listAdd,
  listAddTail,
  listDel,
  listEmpty,
  listFirst,
  listInit,
  listLinked,
  listNext,
  LIST_WORDS,
} from '../../src/shm/list.js';
import { run } from '../../src/sync/primitives.js';

const HEAD = 1024;
const node = (i: number): number => HEAD + LIST_WORDS * (i + 1);

function nodes(head: number): number[] {
  return run(function* () {
    const found: number[] = [];
    for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) found.push(n);
    return found;
  });
}

beforeEach(() => {
  words.fill(0);
  run(() => listInit(HEAD));
});

describe('list', () => {
  it('holds what an array holds, in the same order', () => {
    const step = fc.tuple(fc.constantFrom('first', 'last', 'out'), fc.nat({ max: 7 }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        words.fill(0, HEAD, HEAD + 64);
        run(() => listInit(HEAD));
        let model: number[] = [];
        for (const [what, i] of steps) {
          const n = node(i);
          const there = model.includes(n);
          expect(run(() => listLinked(n))).toBe(there);
          if (what === 'out' && there) {
            run(() => listDel(n));
            model = model.filter((m) => m !== n);
          } else if (what === 'first' && !there) {
            run(() => listAdd(HEAD, n));
            model.unshift(n);
          } else if (what === 'last' && !there) {
            run(() => listAddTail(HEAD, n));
            model.push(n);
          }
          expect(nodes(HEAD)).toEqual(model);
          expect(run(() => listEmpty(HEAD))).toBe(model.length === 0);
        }
      }),
    );
  });

  it('calls adding twice and deleting twice a bug, even for the only node', () => {
    run(() => listAdd(HEAD, node(0)));
    expect(() => {
      run(() => listAddTail(HEAD, node(0)));
    }).toThrow(/is in a list/);
    run(() => listDel(node(0)));
    expect(() => {
      run(() => listDel(node(0)));
    }).toThrow(/is in no list/);
    expect(nodes(HEAD)).toEqual([]);
  });

  it('can be walked while the node in hand is deleted, if the next was taken before', () => {
    for (const i of [0, 1, 2]) run(() => listAddTail(HEAD, node(i)));
    run(function* () {
      let n = yield* listFirst(HEAD);
      while (n !== 0) {
        const next = yield* listNext(HEAD, n);
        yield* listDel(n);
        n = next;
      }
    });
    expect(run(() => listEmpty(HEAD))).toBe(true);
  });
});
