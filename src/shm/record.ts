/**
 * Records of the shared memory, declared once: a field is a function from the record's address to the field's.
 *
 * Invariant: offsets never overlap; `words` is the record's size, even, so that 64-bit fields can be aligned.
 * Lock: none here; each record's file says which lock guards which field.
 *
 *   export const vma = record('vma', { mm: 1, startLo: 1, startHi: 1, name: 4 });
 *   const end = yield* ld(vma.endLo(v));
 *
 * The access kind (`ld`, `ldOnce`, `cas` …) is said at the access, where a reader checks it.
 */
declare const refBrand: unique symbol;

/** Address of a record of kind N; 0 is none. */
export type Ref<N extends string> = number & { readonly [refBrand]: N };

export type RecordOf<N extends string, F extends Record<string, number>> = {
  readonly [K in keyof F]: (r: Ref<N>) => number;
} & { readonly words: number; readonly kind: N };

/** Declares a record: field name to size in words; a size of 2 or more is aligned to an even offset. */
export function record<N extends string, const F extends Record<string, number>>(kind: N, fields: F): RecordOf<N, F> {
  const out: Record<string, unknown> = { kind };
  let offset = 0;
  for (const [name, size] of Object.entries(fields)) {
    if (size >= 2) offset = (offset + 1) & ~1;
    const at = offset;
    out[name] = (r: number): number => r + at;
    offset += size;
  }
  out['words'] = (offset + 1) & ~1;
  // Copied, because V8 keeps an object that grew by many computed names as a hash table, some ten times slower to read.
  return Object.freeze({ ...out }) as RecordOf<N, F>;
}
