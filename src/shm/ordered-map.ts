/**
 * Ordered map over words: intrusive nodes, keys of two words compared as one unsigned 64-bit number.
 *
 * A treap: a search tree by key and a heap by a priority that is a hash of the node's address, so it is balanced
 * whatever the order of insertion, and its shape is a function of its content alone.
 * Invariant: left < node < right by key; priority(node) <= priority(parent); the root's parent is the map itself,
 * whose word 0 stands where a node has its left child. A node in no map has parent 0.
 * Lock: the caller's; nothing here takes one.
 * Source: Seidel and Aragon 1996. Linux keeps VMAs in a maple tree; what matters here is order and log n.
 *
 * Functions answer node addresses, 0 for none; with the node as a field of a record, the record is node - offset.
 */
import { HypervisorBug } from '../abi/errors.js';
import { ld, peek, st } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';

/** Words of a map, and of a node embedded in a record. */
export const MAP_WORDS = 2;
export const MAP_NODE_WORDS = 6;

const LEFT = 0;
const RIGHT = 1;
const COUNT = 1;
const PARENT = 2;
const KEY_HI = 3;
const KEY_LO = 4;

function priority(node: number): number {
  let h = Math.imul(node ^ (node >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Field addresses of a node's key; change it only through `mapRekey`. */
export const mapKeyHi = (node: number): number => node + KEY_HI;
export const mapKeyLo = (node: number): number => node + KEY_LO;

export function* mapInit(m: number): Steps<void> {
  yield* st(m, 0);
  yield* st(m + COUNT, 0);
}

/** Negative, zero or positive as (hi, lo) is below, at or above the node's key. */
function* compare(hi: number, lo: number, node: number): Steps<number> {
  const nodeHi = (yield* ld(node + KEY_HI)) >>> 0;
  if (nodeHi !== hi >>> 0) return (hi >>> 0) - nodeHi;
  return (lo >>> 0) - ((yield* ld(node + KEY_LO)) >>> 0);
}

/** Puts `node` in under (hi, lo); false, and nothing done, when the key is there already. */
export function* mapInsert(m: number, node: number, hi: number, lo: number): Steps<boolean> {
  if ((yield* ld(node + PARENT)) !== 0) throw new HypervisorBug(`map: ${String(node)} is in a map`);
  let parent = m;
  let side = LEFT;
  for (let at = yield* ld(m); at !== 0; at = yield* ld(parent + side)) {
    const order = yield* compare(hi, lo, at);
    if (order === 0) return false;
    parent = at;
    side = order < 0 ? LEFT : RIGHT;
  }
  yield* st(node + LEFT, 0);
  yield* st(node + RIGHT, 0);
  yield* st(node + PARENT, parent);
  yield* st(node + KEY_HI, hi);
  yield* st(node + KEY_LO, lo);
  yield* st(parent + side, node);
  while (parent !== m && priority(node) > priority(parent)) {
    yield* rotateUp(node, parent);
    parent = yield* ld(node + PARENT);
  }
  yield* st(m + COUNT, (yield* ld(m + COUNT)) + 1);
  return true;
}

/** Lifts `node` above its parent; the order by key stays. */
function* rotateUp(node: number, parent: number): Steps<void> {
  const side = (yield* ld(parent + LEFT)) === node ? LEFT : RIGHT;
  const inner = yield* ld(node + 1 - side);
  yield* st(parent + side, inner);
  if (inner !== 0) yield* st(inner + PARENT, parent);
  yield* replaceChild(yield* ld(parent + PARENT), parent, node);
  yield* st(node + 1 - side, parent);
  yield* st(parent + PARENT, node);
}

/** Puts `next` (0: nobody) where `old` hangs below `parent`. */
function* replaceChild(parent: number, old: number, next: number): Steps<void> {
  const side = (yield* ld(parent + LEFT)) === old ? LEFT : RIGHT;
  yield* st(parent + side, next);
  if (next !== 0) yield* st(next + PARENT, parent);
}

/** Takes `node` out of the map. */
export function* mapRemove(m: number, node: number): Steps<void> {
  if ((yield* ld(node + PARENT)) === 0) throw new HypervisorBug(`map: ${String(node)} is in no map`);
  for (;;) {
    const left = yield* ld(node + LEFT);
    const right = yield* ld(node + RIGHT);
    if (left === 0 || right === 0) {
      yield* replaceChild(yield* ld(node + PARENT), node, left === 0 ? right : left);
      break;
    }
    yield* rotateUp(priority(left) > priority(right) ? left : right, node);
  }
  yield* st(node + PARENT, 0);
  yield* st(m + COUNT, (yield* ld(m + COUNT)) - 1);
}

/** Gives a node of the map another key; the caller knows that its place in the order is the same. */
export function* mapRekey(node: number, hi: number, lo: number): Steps<void> {
  yield* st(node + KEY_HI, hi);
  yield* st(node + KEY_LO, lo);
}

/** The node with exactly this key. */
export function* mapFind(m: number, hi: number, lo: number): Steps<number> {
  let at = yield* ld(m);
  while (at !== 0) {
    const order = yield* compare(hi, lo, at);
    if (order === 0) break;
    at = yield* ld(at + (order < 0 ? LEFT : RIGHT));
  }
  return at;
}

/** The node with the greatest key not above (hi, lo). */
export function* mapFloor(m: number, hi: number, lo: number): Steps<number> {
  let best = 0;
  let at = yield* ld(m);
  while (at !== 0) {
    const order = yield* compare(hi, lo, at);
    if (order >= 0) best = at;
    if (order === 0) break;
    at = yield* ld(at + (order < 0 ? LEFT : RIGHT));
  }
  return best;
}

/** The node with the smallest key not below (hi, lo). */
export function* mapCeil(m: number, hi: number, lo: number): Steps<number> {
  let best = 0;
  let at = yield* ld(m);
  while (at !== 0) {
    const order = yield* compare(hi, lo, at);
    if (order <= 0) best = at;
    if (order === 0) break;
    at = yield* ld(at + (order < 0 ? LEFT : RIGHT));
  }
  return best;
}

/** The node furthest on one side of the tree below `at`. */
function* outermost(at: number, side: number): Steps<number> {
  let node = at;
  while (node !== 0) {
    const below = yield* ld(node + side);
    if (below === 0) break;
    node = below;
  }
  return node;
}

/** The neighbour of `node` on one side, in key order. */
function* neighbour(m: number, node: number, side: number): Steps<number> {
  const below = yield* ld(node + side);
  if (below !== 0) return yield* outermost(below, 1 - side);
  let child = node;
  let parent = yield* ld(node + PARENT);
  while (parent !== m && (yield* ld(parent + side)) === child) {
    child = parent;
    parent = yield* ld(child + PARENT);
  }
  return parent === m ? 0 : parent;
}

export function* mapFirst(m: number): Steps<number> {
  return yield* outermost(yield* ld(m), LEFT);
}
export function* mapLast(m: number): Steps<number> {
  return yield* outermost(yield* ld(m), RIGHT);
}
export function* mapNext(m: number, node: number): Steps<number> {
  return yield* neighbour(m, node, RIGHT);
}
export function* mapPrev(m: number, node: number): Steps<number> {
  return yield* neighbour(m, node, LEFT);
}

/** Nodes in the map; of a still machine, or under the caller's lock. */
export const mapCount = (m: number): number => peek(m + COUNT);
