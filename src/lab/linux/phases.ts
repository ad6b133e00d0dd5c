/**
 * Phases of a teardown, as the recordings name them: kept per processor, nested.
 *
 * The ground is the last mark of the programs on that processor (`user:go`), or `after_exit_mmap` once an exit_mmap has
 * returned there. Source: ../linux-teardown FORMAT.md (by_phase).
 */
import type { MarkName } from '../../abi/marks.js';

/** Functions that are a phase while they run. */
const OPENS: Readonly<Partial<Record<MarkName, string>>> = Object.freeze({
  exit_mmap: 'exit_mmap',
  notifier_release: 'release',
  xen_exit_mmap: 'arch_exit',
  pgd_pin: 'pin',
  pgd_unpin: 'unpin',
  unmap_vmas: 'unmap_vmas',
  free_pgtables: 'free_pgtables',
  tlb_finish_mmu: 'tlb_finish',
});
const CLOSES: ReadonlySet<MarkName> = new Set<MarkName>([
  'exit_mmap_ret',
  'notifier_release_ret',
  'xen_exit_mmap_ret',
  'pgd_pin_ret',
  'pgd_unpin_ret',
  'unmap_vmas_ret',
  'free_pgtables_ret',
  'tlb_finish_ret',
]);

export class Phase {
  #ground = 'user';
  readonly #nested: string[] = [];

  get now(): string {
    return this.#nested.at(-1) ?? this.#ground;
  }

  userMark(name: string): void {
    this.#ground = `user:${name}`;
  }

  enter(name: MarkName): void {
    const opened = OPENS[name];
    if (opened !== undefined) this.#nested.push(opened);
    else if (CLOSES.has(name)) this.#nested.pop();
    if (name === 'exit_mmap_ret') this.#ground = 'after_exit_mmap';
  }
}
