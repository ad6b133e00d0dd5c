/**
 * From a recording to the script of its programs: their marks, the system call that each mark announces, and the pages
 * they touched.
 *
 * What programs did is input, what the kernel did for it is compared: marks name the calls, page-fault steps say which
 * page was touched (the instructions themselves were not recorded), and the order is that of the steps.
 * Invariant: nothing here depends on a recording's id.
 * Source: ../linux-teardown FORMAT.md (mark, pagefault, results).
 */
import { ACTOR_ELSEWHERE, ACTOR_MAIN, ACTOR_NOBODY, ACTOR_OTHER, OP } from '../../abi/script.js';
import { DATA, dataPages, GRANTS, isWritten, layProgram, Script, VM_READ, VM_RW } from './program.js';
import { stepsOf, type Recording, type Step } from './recording.js';
import { TableNames } from './table-names.js';

const SIGKILL = 9;
const PAGE = 4096;

/** Who makes a step in the script; undefined for parents, idle CPUs and workers. */
const actorOf = (s: Step): number | undefined =>
  s.by === 'main' ? ACTOR_MAIN : s.by === 'thread' ? ACTOR_OTHER : undefined;

const number = (v: unknown, otherwise: number): number => (typeof v === 'number' ? v : otherwise);

class Writer {
  readonly script = new Script();
  readonly #r: Recording;
  readonly #steps: readonly Step[];
  readonly #tables: TableNames;
  readonly #forks: boolean;
  /** A second thread of the process. */
  readonly #threads: boolean;
  /** The processor of the thread that exits first had gone elsewhere when the last one ended the address space. */
  readonly #elsewhere: boolean;
  /** Where the grants are, and how many pages from there on. */
  #grantsAt = GRANTS;

  constructor(r: Recording) {
    this.#r = r;
    this.#steps = stepsOf(r);
    this.#tables = new TableNames(this.#steps);
    const marks = this.#marks();
    this.#forks = marks.includes('fork');
    this.#threads = !this.#forks && this.#steps.some((s) => s.by === 'thread');
    const leaves = r.varies.totals['leave_mm'] ?? [r.totals['leave_mm'] ?? 0];
    this.#elsewhere = this.#threads && Math.min(...leaves) === 1;
    layProgram(this.script, r, this.#threads, marks.includes('mapped'));
    if (this.#elsewhere) this.script.op(ACTOR_MAIN, OP.prepareOther, 0, 0, 1 - this.#lastOut());
    this.script.op(ACTOR_MAIN, OP.begin);
  }

  #marks(): unknown[] {
    return this.#steps.filter((s) => s.kind === 'mark').map((s) => s.args[0]);
  }

  write(): Script {
    this.#steps.forEach((s, i) => {
      const actor = actorOf(s);
      if (actor === undefined) return;
      if (s.kind === 'mark') this.#mark(actor, String(s.args[0]), this.#unmaps(i));
      else if (s.kind === 'pagefault') this.#touched(actor, s, i);
      else if (s.kind === 'do_group_exit' && !this.#threads) this.#exit(actor);
      else if (s.kind === 'exit_mmap' && this.#threads) this.#exitThreads();
    });
    return this.script;
  }

  #exit(actor: number): void {
    const status = number(this.#r.results['status'], 0);
    if (actor === ACTOR_MAIN && status === SIGKILL) this.script.op(actor, OP.kill, 0, 0, SIGKILL);
    else if (actor === ACTOR_OTHER || status === 0) this.script.op(actor, OP.exit);
  }

  /** The thread that ends the address space; each thread has the processor of its number. */
  #lastOut(): number {
    const end = this.#steps.find((s) => s.kind === 'exit_mmap');
    return (end === undefined ? undefined : actorOf(end)) ?? ACTOR_MAIN;
  }

  /** Both threads exit, in the recorded order; or the second one is killed by what it touches, and the first with it. */
  #exitThreads(): void {
    const { script: s } = this;
    const last = this.#lastOut();
    if (number(this.#r.results['status'], 0) !== 0) {
      s.op(ACTOR_OTHER, OP.touch, ...this.#grants(), 1);
      s.op(ACTOR_NOBODY, OP.pass);
      return;
    }
    if (this.#elsewhere) s.op(ACTOR_MAIN, OP.startOther);
    s.op(1 - last, OP.exitThread);
    if (this.#elsewhere) s.op(ACTOR_ELSEWHERE, OP.pass);
    s.op(last, OP.exitThread);
    if (this.#elsewhere) s.op(ACTOR_ELSEWHERE, OP.end);
  }

  #grants(): [number, number] {
    return [this.#grantsAt, this.#r.grants];
  }

  /** The page that a fault of the program was about. */
  #touched(actor: number, fault: Step, at: number): void {
    const page = this.#faultPage(fault, at);
    if (page !== undefined) this.script.op(actor, OP.touch, page, 1, isWritten(page) ? 1 : 0);
    else if (this.#lastMark(at) !== 'touch') this.script.op(actor, OP.touch, 0, 1, 1);
  }

  #faultPage(fault: Step, at: number): number | undefined {
    for (const s of this.#steps.slice(at + 1)) {
      if (s.by !== fault.by) continue;
      if (s.kind === 'set_pte' && s.args[0] !== 'frame') {
        const [first] = s.args[1] as readonly number[];
        return this.#tables.pageOf(String(s.args[0]), first ?? 0);
      }
      if (s.kind === 'pagefault' || s.kind === 'do_group_exit' || s.kind === 'mark') return undefined;
    }
    return undefined;
  }

  /** Whether a munmap was made between the mark at `at` and the next. */
  #unmaps(at: number): boolean {
    const rest = this.#steps.slice(at + 1);
    const next = rest.findIndex((s) => s.kind === 'mark');
    return rest.slice(0, next < 0 ? rest.length : next).some((s) => s.kind === 'do_mas_munmap');
  }

  #lastMark(at: number): unknown {
    return this.#steps.slice(0, at).findLast((s) => s.kind === 'mark')?.args[0];
  }

  /** The mark, and the call that the program made after it. */
  #mark(actor: number, name: string, unmaps: boolean): void {
    const { script: s } = this;
    const r = this.#r;
    const grants = this.#grants();
    if (name === 'tiny') {
      s.op(actor, OP.end);
      s.op(actor, OP.exit);
      return;
    }
    s.mark(actor, name);
    if (name === 'munmap' && unmaps) {
      if (r.grants > 0) s.op(actor, OP.munmap, ...grants);
      else s.op(actor, OP.munmap, DATA, dataPages(r));
    } else if (name === 'munmap-part') {
      const first = number(r.results['part'], 0);
      s.op(actor, OP.munmap, this.#grantsAt + first, number(r.results['partn'], 0));
      if (first === 0) this.#grantsAt += number(r.results['partn'], 0);
    } else if (name === 'mprotect') s.op(actor, OP.mprotect, ...grants, VM_READ);
    else if (name === 'mprotect-back') s.op(actor, OP.mprotect, ...grants, VM_RW);
    else if (name === 'madvise') s.op(actor, OP.madvise, ...grants);
    else if (name === 'mremap') this.#mremap(actor);
    else if (name === 'touch' && r.grants > 0) s.op(actor, OP.touch, this.#grantsAt, 1);
    else if (name === 'read') s.op(actor, OP.touch, ...grants);
    else if (name === 'close') s.op(actor, OP.close);
    else if (name === 'unmap-ioctl') s.op(actor, OP.forget);
    else if (name === 'fork') s.op(actor, OP.fork);
    else if (name === 'go' && this.#marks().includes('mapped')) s.op(actor, OP.mapGrants, GRANTS);
    else if (name === 'execve') {
      s.op(actor, OP.exec);
      if (r.grants > 0) s.op(actor, OP.close);
    }
  }

  /** To the address that the call answered; where that is the old one, the area became half as long. */
  #mremap(actor: number): void {
    const to = number(this.#r.results['q'], 0) / PAGE;
    const n = this.#r.grants;
    const pages = to === this.#grantsAt ? n / 2 : n;
    this.script.op(actor, OP.mremap, this.#grantsAt, n, pages, to | 0, Math.floor(to / 2 ** 32));
    this.#grantsAt = to;
  }
}

export const scriptOf = (r: Recording): Script => new Writer(r).write();
