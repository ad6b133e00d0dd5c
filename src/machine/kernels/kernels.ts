/**
 * The contract of the kernels: whole-table loops, in two implementations with one signature (`wasm.ts`, `twin.ts`).
 *
 * A kernel does entry by entry what the hypervisor's own loop does, in the commonest cases only, and stops with the index
 * of the first entry that is not one of them; the caller does that entry the long way and goes on behind it.
 * Source: reference performance.md 5.3; DESIGN "Atomicity is Xen's" (fused in the parallel build only).
 */

/** In an answer of `validateL1`: the entry's references are held although its frame changed hands; drop them. */
export const CHANGED_HANDS = 1024;

/** In an answer of `updateL1`: the next request is stored too; its value words now hold the old entry, still to be put. */
export const STORED_NEXT = 1 << 16;
/** In an answer of `updateL1`: nothing of the next request is done but its references, of a frame that changed hands. */
export const TAKEN_NEXT = 1 << 17;

export interface Kernels {
  /**
   * A TLB miss: walks from the L4 `root` (-1: none) for `access` (ACCESS_*), setting A and D of the leaf, and says in the TLB slot
   * `slot` what it found; `keys` is the address of vcpu.tlbKey. Answers the word of `va`, or -1 with nothing done where
   * something is to be refused, is no memory, or is to be set above the leaf.
   */
  readonly walkFill: (
    va: number,
    root: number,
    slot: number,
    keys: number,
    access: number,
    frameTable: number,
    frames: number,
  ) => number;
  /**
   * Takes the references of the present entries of the L1 at word `base`, from index `from` on, and stores each entry
   * adjusted ([X25]). Fast are frames of `owner` with no flag of `badLo`/`badHi`, and for writable entries frames that
   * are typed writable (validated) already. Answers ENTRIES, or the index it stopped at, perhaps with CHANGED_HANDS.
   */
  readonly validateL1: (
    base: number,
    from: number,
    owner: number,
    frameTable: number,
    frames: number,
    badLo: number,
    badHi: number,
  ) => number;
  /**
   * Drops the references of the present entries `from` .. `to`-1; entries stay as they are. Fast are frames that keep a
   * reference and are not Xen's own, no flag of `badHi`, and for writable entries a type count not watched by a page lock. A frame whose last
   * writable use goes is stamped with the word at `clock`. Answers `to`, or the index it stopped at.
   */
  readonly unvalidateL1: (
    base: number,
    from: number,
    to: number,
    frameTable: number,
    frames: number,
    badHi: number,
    clock: number,
  ) => number;
  /**
   * Makes the `count` mmu_update requests at `reqs` that are normal updates of entries of the L1 `mfn`, whose page lock
   * is held. Answers how many were done before the first that is none, or not a common case; perhaps with STORED_NEXT or
   * TAKEN_NEXT.
   */
  readonly updateL1: (
    reqs: number,
    count: number,
    mfn: number,
    owner: number,
    frameTable: number,
    frames: number,
    badLo: number,
    badHi: number,
    clock: number,
  ) => number;
  /** Number of present entries of the table at `base`. */
  readonly countPresent: (base: number) => number;
  /** Writes their indices to the words from `out` (room for 513); answers how many. */
  readonly listPresent: (base: number, out: number) => number;
  readonly zeroPage: (base: number) => void;
  readonly copyPage: (to: number, from: number) => void;
}
