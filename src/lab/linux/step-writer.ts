/**
 * Our steps as lines that can be held against the recording's, and the totals that only the kernel's marks tell.
 *
 * Tables are numbered by first appearance, level by level, as the recordings do; L1s inside a buffer have no number.
 * Equal hypercalls in a row are one line: how many they are is in the totals.
 * Source: ../linux-teardown FORMAT.md (steps, tables).
 */
import {
  MARK_ALIAS_FLUSH,
  MARK_ALIAS_RW,
  MARK_APPENDED,
  MARK_CLEARED,
  MARK_PINNED,
  type MarkName,
} from '../../abi/marks.js';
import {
  MMUEXT_INVLPG_LOCAL,
  MMUEXT_INVLPG_MULTI,
  MMUEXT_NEW_BASEPTR,
  MMUEXT_NEW_USER_BASEPTR,
  MMUEXT_PIN_L1_TABLE,
  MMUEXT_PIN_L4_TABLE,
  MMUEXT_TLB_FLUSH_LOCAL,
  MMUEXT_TLB_FLUSH_MULTI,
  MMUEXT_UNPIN_TABLE,
} from '../../abi/mmu.js';
import { areaName } from './program.js';

const UPPER = ['', '', 'set_pmd', 'set_pud', 'set_p4d'] as const;
const NOTIFY: Readonly<Record<number, string>> = { 0: 'UNMAP', 1: 'CLEAR', 2: 'PROTECTION_VMA', 6: 'RELEASE' };
const MULTI = 'flush_multi';
const FLUSHES: Readonly<Record<number, string>> = {
  [MMUEXT_INVLPG_LOCAL]: 'flush_one',
  [MMUEXT_TLB_FLUSH_LOCAL]: 'flush_local',
  [MMUEXT_INVLPG_MULTI]: MULTI,
  [MMUEXT_TLB_FLUSH_MULTI]: MULTI,
};
/** Marks that count, by the name they have in the totals. */
const COUNTED: ReadonlySet<MarkName> = new Set<MarkName>([
  'leave_lazy_mmu',
  'drop_mm_ref_this_cpu',
  'leave_mm',
  'gnttab_unmap_refs',
]);
/** Marks that are no line: they count, or their place is not recorded. */
const SILENT: ReadonlySet<MarkName> = new Set<MarkName>(['leave_lazy_mmu', 'zap_rmap', 'pgd_pin_ret', 'do_mas_munmap']);

export class StepWriter {
  readonly lines: string[] = [];
  readonly #total: (field: string, n: number) => void;
  /** Level of a table by frame, and its name. */
  readonly #levels = new Map<number, number>();
  readonly #names = new Map<number, string>();
  readonly #numbers = [0, 0, 0, 0, 0];
  /** What is in the buffer. */
  #queued: string[] = [];

  constructor(total: (field: string, n: number) => void) {
    this.#total = total;
  }

  line(text: string): void {
    this.lines.push(text);
  }

  hypercall(name: string, n: number): void {
    const text = `hc ${name} ${String(n)}`;
    if (this.lines.at(-1) !== text) this.line(text);
  }

  /** A buffer is issued. */
  flush(entries: number, callbacks: number): void {
    this.line(`flush ${String(entries)} ${String(callbacks)} ${this.#queued.join(', ')}`);
    this.#queued = [];
  }

  /** An upper-level store; answers the name of its field. */
  setUpper(detail: number, frame: number): string {
    const cleared = (detail & MARK_CLEARED) !== 0;
    const level = (detail & ~MARK_CLEARED) >>> 10;
    const field = UPPER[level] ?? '?';
    this.#levels.set(frame, level);
    this.line(`${field} ${this.#table(frame)}[${String(detail & 1023)}] ${cleared ? 'zero' : 'set'}`);
    return field;
  }

  point(name: MarkName, detail: number, word: number): void {
    if (COUNTED.has(name)) this.#total(name, 1);
    if (name === 'zap_rmap') this.#total('pte_zaps_with_rmap', detail);
    if (name === 'queue_alias') this.#alias(detail, word);
    else if (name === 'queue_mmuext') this.#mmuext(detail & 0xffff, (detail & MARK_APPENDED) !== 0, word);
    else if (name === 'queue_update') this.#update(detail & 0xffff, (detail & MARK_APPENDED) !== 0, word);
    else if (name === 'alloc_pt' || name === 'release_pt') this.#ptPage(name, detail, word);
    else if (!SILENT.has(name)) this.line(this.#text(name, detail, word));
  }

  #text(name: MarkName, detail: number, word: number): string {
    switch (name) {
      case 'gntdev_invalidate': {
        const range = word === -1 ? 'all' : `${String(word >>> 16)}..${String(word & 0xffff)}`;
        return `gntdev_invalidate ${NOTIFY[detail] ?? '?'} ${range}`;
      }
      case 'unmap_try':
        this.#total('unmap_tries', 1);
        return `unmap_try ${String(word)} age ${String(detail)}`;
      case 'gnttab_unmap_refs':
        this.#total('unmap_user_ops', word);
        this.#total('unmap_kernel_ops', word);
        return `gnttab_unmap_refs ${String(word)}`;
      case 'unmap_vma':
        return `unmap_vma ${areaName(detail * 2 ** 32 + (word >>> 0))}`;
      default:
        return name;
    }
  }

  #ptPage(name: 'alloc_pt' | 'release_pt', detail: number, frame: number): void {
    const level = detail & 0xff;
    const pinned = (detail & MARK_PINNED) !== 0 ? 'pinned' : 'unpinned';
    this.#levels.set(frame, level);
    // A frame may have been another table before.
    if (name === 'alloc_pt') this.#names.delete(frame);
    this.#total(name, 1);
    this.#total(`${name}_L${String(level)}_${pinned}`, 1);
    this.line(`${name} ${this.#table(frame)} ${pinned}`);
  }

  #alias(detail: number, frame: number): void {
    const rw = (detail & MARK_ALIAS_RW) !== 0 ? 'alias_rw' : 'alias_ro';
    const flush = (detail & MARK_ALIAS_FLUSH) !== 0 ? ' flush' : '';
    this.#levels.set(frame, detail >>> 8);
    this.#total(rw, 1);
    this.#queued.push(`${rw} ${this.#inBuffer(frame)}${flush}`);
  }

  #mmuext(cmd: number, appended: boolean, frame: number): void {
    const flush = FLUSHES[cmd];
    if (flush !== undefined) {
      this.#total(flush, 1);
      this.#queued.push(`mmuext ${flush}`);
    } else if (cmd === MMUEXT_NEW_BASEPTR || cmd === MMUEXT_NEW_USER_BASEPTR) {
      this.#queued.push(cmd === MMUEXT_NEW_BASEPTR ? 'mmuext NEW_BASEPTR' : 'mmuext NEW_USER_BASEPTR');
    } else if (cmd === MMUEXT_PIN_L1_TABLE || cmd === MMUEXT_PIN_L4_TABLE) {
      const level = cmd === MMUEXT_PIN_L1_TABLE ? 'L1' : 'L4';
      this.#total(`pin_${level}`, 1);
      this.#queued.push(`mmuext PIN ${level}`);
    } else if (cmd === MMUEXT_UNPIN_TABLE) {
      const level = this.#unpinLevel(appended, frame);
      this.#total(`unpin_${level}`, 1);
      this.#queued.push(`mmuext UNPIN ${level}`);
    } else this.#queued.push(`mmuext ${String(cmd)}`);
  }

  /** Roots are unpinned first, two at once; every other unpin is an L1's. */
  #unpinLevel(appended: boolean, frame: number): string {
    const root = this.#levels.get(frame) === 4 || appended || (this.#queued.length === 0 && this.#unpinning());
    return root ? 'L4' : 'L1';
  }

  #unpinning(): boolean {
    return this.lines.at(-1) === 'pgd_unpin';
  }

  #update(index: number, appended: boolean, frame: number): void {
    const level = this.#levels.get(frame) ?? 1;
    const before = this.#queued.at(-1) ?? '';
    const root = level === 4 || (appended && before.startsWith('mmu_update L4'));
    const what = root ? `L4k[${String(index)}]` : level > 1 ? `${this.#table(frame)}[${String(index)}]` : 'pte';
    this.#queued.push(`mmu_update${appended ? '+' : ''} ${what}`);
  }

  /** A table's name inside a buffer: L1s have no number there. */
  #inBuffer(frame: number): string {
    const level = this.#levels.get(frame) ?? 0;
    return level === 1 || level === 4 ? `L${String(level)}` : this.#table(frame);
  }

  #table(frame: number): string {
    const level = this.#levels.get(frame) ?? 0;
    if (level === 4) return 'L4k';
    let name = this.#names.get(frame);
    if (name === undefined) {
      const n = (this.#numbers[level] ?? 0) + 1;
      this.#numbers[level] = n;
      name = `L${String(level)}.${String(n)}`;
      this.#names.set(frame, name);
    }
    return name;
  }
}
