/**
 * The type of code that another vCPU may interrupt.
 *
 * A function whose type is `(...a) => Steps<T>` is a generator function, called as `yield* f(...)`. In the parallel
 * build both marks are erased and the same function is `(...a) => T` (DESIGN decision 3).
 */
export type Steps<T> = Generator<undefined, T, undefined>;

/** What a module of generator functions looks like after erasure. */
export type Erased<M> = {
  readonly [K in keyof M]: M[K] extends (...a: infer A) => infer R
    ? (...a: A) => R extends Steps<infer T> ? T : R
    : M[K] extends 'controlled'
      ? 'parallel'
      : M[K];
};
