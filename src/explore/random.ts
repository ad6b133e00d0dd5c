/** A xorshift32 generator; answers 32 unsigned bits a call. Source: Marsaglia, Xorshift RNGs, 2003. */
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
