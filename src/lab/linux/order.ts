/**
 * The recorded steps as lines that can be held against ours: what is compared of their order.
 *
 * Left out: steps of parents, idle CPUs and workers; context switches; stores, traps and zaps, which are in the totals;
 * continuations; functions that our kernel has no point for. A lazy-MMU buffer that a context switch cut in two is put
 * together again. Tables are numbered anew by first appearance in what is left.
 * Source: ../linux-teardown FORMAT.md (steps).
 */
import type { Step } from './recording.js';

const PLAIN: ReadonlySet<string> = new Set([
  'do_group_exit',
  'do_exit',
  'exit_mmap',
  'exit_mmap_ret',
  'notifier_release',
  'notifier_release_ret',
  'unmap_done',
  'xen_exit_mmap',
  'xen_exit_mmap_ret',
  'drop_mm_ref_this_cpu',
  'leave_mm',
  'pgd_pin',
  'pgd_unpin',
  'pgd_unpin_ret',
  'tlb_gather_fullmm',
  'tlb_gather_mmu',
  'unmap_vmas',
  'unmap_vmas_ret',
  'free_pgtables',
  'free_pgtables_ret',
  'tlb_finish_mmu',
  'tlb_finish_ret',
  'gntdev_vma_open',
  'gntdev_vma_close',
  'gntdev_release',
  'mmu_interval_notifier_remove',
  'gntdev_free_map',
  'dup_mmap',
  'gntdev_map_grant_pages',
  'change_protection',
  'move_page_tables',
  'flush_tlb_mm_range',
  'pagefault',
]);
/** Names of an area that is what another is. */
const SAME_AREA: Readonly<Record<string, string>> = { va: 'gnt' };
const ENDS_AT = 'tiny';
const PTES = /^flush 1 0 mmu_update pte(, mmu_update\+ pte)*$/;

class Order {
  readonly lines: string[] = [];
  readonly #names = new Map<string, string>();
  readonly #numbers = new Map<string, number>();
  /** Requests of a part already issued, to be added to the call that comes next. */
  #joined = 0;
  /** A context switch came right after a buffer of stores to entries was issued. */
  #cut = false;

  take(s: Step): void {
    if (s.kind === 'switch_cr3') this.#cut = PTES.test(this.lines.at(-2) ?? '');
    else if (s.by === 'main' || s.by === 'thread') this.#own(s);
  }

  #own(s: Step): void {
    const first = typeof s.args[0] === 'string' ? s.args[0] : '';
    if (PLAIN.has(s.kind)) this.#line(s.kind);
    else if (s.kind === 'mark') this.#line(`mark ${first}`);
    else if (s.kind === 'hc') this.#hypercall(first, s.fields);
    else if (s.kind === 'flush') this.#flush(s.fields);
    else if (/^set_p(md|ud|4d)$/.test(s.kind)) this.#line(`${s.kind} ${this.#rename(first)} ${String(s.args[1])}`);
    else if (s.kind === 'alloc_pt' || s.kind === 'release_pt')
      this.#line(`${s.kind} ${this.#rename(first)} ${String(s.args[1])}`);
    else if (s.kind === 'unmap_vma') this.#line(`unmap_vma ${area(first)}`);
    else if (s.kind === 'gntdev_invalidate')
      this.#line(`gntdev_invalidate ${String(s.fields['event'])} ${range(String(s.fields['range']))}`);
    else if (s.kind === 'unmap_try')
      this.#line(`unmap_try ${String(s.fields['count'])} age ${String(s.fields['age'])}`);
    else if (s.kind === 'gnttab_unmap_refs') this.#line(`gnttab_unmap_refs ${String(s.fields['count'])}`);
  }

  #line(text: string): void {
    this.#cut = false;
    this.lines.push(text);
  }

  #hypercall(name: string, fields: Readonly<Record<string, unknown>>): void {
    if (name.includes('(continuation)')) return;
    const text = `hc ${name} ${String(Number(fields['n'] ?? fields['ops']) + this.#joined)}`;
    this.#joined = 0;
    if (this.lines.at(-1) !== text) this.#line(text);
  }

  #flush(fields: Readonly<Record<string, unknown>>): void {
    const what = (fields['what'] as readonly unknown[]).flatMap((w) => this.#queued(w));
    const text = `flush ${String(fields['entries'])} ${String(fields['callbacks'])} ${what.join(', ')}`;
    if (!this.#cut || !PTES.test(text)) {
      this.#line(text);
      return;
    }
    const call = this.lines.pop() ?? '';
    const before = this.lines.pop() ?? '';
    this.lines.push(`${before}, ${what.map(() => 'mmu_update+ pte').join(', ')}`);
    // The call of the second part is the next step: it becomes that of the whole.
    this.#joined = Number(call.split(' ')[2]);
    this.#cut = false;
  }

  #queued(w: unknown): string[] {
    if (Array.isArray(w)) {
      const [what, n] = w as [unknown, number];
      return Array.from({ length: n }, () => this.#queued(what)).flat();
    }
    const text = String(w);
    const pairs = /^pairs\[(.*)\]$/.exec(text);
    if (pairs !== null) return (pairs[1] ?? '').split(', ').map((p) => this.#rename(plain(p)));
    return [this.#rename(plain(text))];
  }

  /** The text with its tables numbered by first appearance. */
  #rename(text: string): string {
    return text.replace(/L\d\.\d+/g, (name) => {
      let mine = this.#names.get(name);
      if (mine === undefined) {
        const level = name.slice(0, 2);
        const n = (this.#numbers.get(level) ?? 0) + 1;
        this.#numbers.set(level, n);
        mine = `${level}.${String(n)}`;
        this.#names.set(name, mine);
      }
      return mine;
    });
  }
}

/** A queued request in the words of both sides. */
function plain(text: string): string {
  return text
    .replace(/ (NEW_BASEPTR|NEW_USER_BASEPTR) .*/, ' $1')
    .replace(/PIN_(L\d) .*/, 'PIN $1')
    .replace(/UNPIN L4[ku]/, 'UNPIN L4')
    .replace(/^(alias_r[wo]) L4[ku]/, '$1 L4')
    .replace('INVLPG_LOCAL', 'flush_one')
    .replace('TLB_FLUSH_LOCAL', 'flush_local')
    .replace('TLB_FLUSH/INVLPG_MULTI', 'flush_multi');
}

const area = (text: string): string => {
  const name = text.split('+')[0] ?? '';
  return SAME_AREA[name] ?? name;
};
const range = (text: string): string => text.replace(/^\w+\+(\d+)\.\.\+(\d+)$/, '$1..$2');

/** The lines of a recording, up to where the program that execve started takes over. */
export function orderOf(steps: readonly Step[]): string[] {
  const order = new Order();
  for (const s of steps) {
    if (s.kind === 'mark' && s.args[0] === ENDS_AT) break;
    order.take(s);
  }
  return order.lines;
}
