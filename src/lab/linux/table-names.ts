/**
 * Where the tables that a recording names hang in the address space.
 *
 * Invariant: a table's place is what the steps that link or unlink it say; one that is never linked has none.
 * Source: ../linux-teardown FORMAT.md (set_pmd/pud/p4d, alloc_pt, release_pt).
 */
import type { Step } from './recording.js';

const ENTRY = /^(L\d\w?(?:\.\d+)?|L4k)\[(\d+)\]$/;

interface Place {
  readonly parent: string;
  readonly index: number;
}

/** For each table named in the steps: the page number of the first page it covers. */
export class TableNames {
  readonly #places = new Map<string, Place>();

  constructor(steps: readonly Step[]) {
    let allocated = '';
    let unlinked: Place | undefined;
    for (const s of steps) {
      const name = typeof s.args[0] === 'string' ? s.args[0] : '';
      if (s.kind === 'alloc_pt') allocated = name;
      else if (/^set_p(md|ud|4d)$/.test(s.kind)) {
        const [, parent, index] = ENTRY.exec(name) ?? [];
        if (parent === undefined) continue;
        const place = { parent, index: Number(index) };
        if (s.args[1] === 'set') this.#places.set(allocated, place);
        else unlinked = place;
      } else if (s.kind === 'release_pt' && unlinked !== undefined) {
        this.#places.set(name, unlinked);
        unlinked = undefined;
      }
    }
  }

  /** The page number of entry `index` of L1 table `name`; undefined when its place is not told. */
  pageOf(name: string, index: number): number | undefined {
    let page = index;
    let at = name;
    for (let span = 512; !at.startsWith('L4'); span *= 512) {
      const place = this.#places.get(at);
      if (place === undefined) return undefined;
      page += place.index * span;
      at = place.parent;
    }
    return page;
  }
}
