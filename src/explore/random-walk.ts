/**
 * Random walk: at every point each ready actor has the same chance; the seed decides, and nothing else.
 *
 * Every execution goes on with the generator where the last one stopped, so one strategy walks many schedules.
 */
import { READY, type Strategy, type View } from './strategy.js';

/** A xorshift32 generator; answers 32 unsigned bits a call. */
export function xorshift(seed: number): () => number {
  let x = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) | 0;
  if (x === 0) x = 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/** The ready actor that has `k` ready ones before it. */
function nthReady(view: View, k: number): number {
  let left = k;
  for (let i = 0; ; i++) {
    if (view.state[i] === READY && left-- === 0) return i;
  }
}

export function randomWalk(seed: number): Strategy {
  const random = xorshift(seed);
  return {
    begin: () => undefined,
    pick: (view) => nthReady(view, random() % view.readyCount),
  };
}
