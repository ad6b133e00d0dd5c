/**
 * What a guest tells the auditor over a still machine: what it holds, and what its own invariants say.
 *
 * Invariant: a report is plain data, made after the last step. A look between two steps of an explored execution reads and
 * writes nothing but what it remembers itself.
 * Source: DESIGN decision 8; invariants I15 to I18 of the Xen reference, section 6.
 */
import type { Mfn } from './frames.js';

/** What somebody holds: a grant handle of a mapper, or a frame by its type. */
export type Held =
  | { readonly kind: 'handle'; readonly domid: number; readonly handle: number }
  | { readonly kind: 'frame'; readonly mfn: number };

/** One broken invariant, with what is involved. */
export interface Violation {
  /** Invariant id of the Xen reference, section 6: `I5`, `I10` … */
  readonly invariant: string;
  readonly detail: string;
  /** Holders involved, each one line: who, through what. */
  readonly holders: readonly string[];
  /** Held by someone who will release it (`degraded`), by nobody who ever will (`leaked`), or plainly broken. */
  readonly severity: 'broken' | 'leaked' | 'degraded';
  /** What is held that should not be, if it is one thing, and since which operation, where a trace says it. */
  readonly held?: Held;
  readonly since?: string;
}

/** A grant handle that some driver of the guest still knows. */
export interface GuestHandle {
  readonly handle: number;
  readonly who: string;
  /** False when the driver knows it but has no try to release it before it. */
  readonly willRelease: boolean;
  /** Given up for now, and tried again when another map goes: its entry is where it was, so that this can succeed. */
  readonly mayRelease?: boolean;
  /** A process has it mapped: nobody waits for anything. */
  readonly inUse?: boolean;
}

/** A frame that the guest keeps for a reason of its own (page of a process, table, ring, page cache …). */
export interface GuestFrame {
  readonly mfn: number;
  readonly who: string;
}

/** The pages of a guest kernel, counted over a still machine. */
export interface GuestStock {
  /** On the free lists, with a frame or without. */
  readonly free: number;
  /** Kept out of use, and how many of these a named holder will let go. */
  readonly quarantined: number;
  readonly awaited: number;
  /** Granted and not revoked. */
  readonly granted: number;
  /** Pages that have a frame of the domain's own. */
  readonly framed: number;
}

export interface GuestReport {
  readonly domid: number;
  readonly handles: readonly GuestHandle[];
  readonly frames: readonly GuestFrame[];
  /** Findings of the guest's own checks (I15 to I18). */
  readonly violations: readonly Violation[];
  readonly stock?: GuestStock;
}

/** What a look at guests has to know of the machine beside its memory. */
export interface MachineView {
  /** Frames, whose words begin at 0; where their records of four words begin; where guests' records begin. */
  readonly frames: number;
  readonly frameTable: number;
  readonly arena: number;
  /** Xen has the frame as a page table. */
  typed(mfn: Mfn): boolean;
  /** The domain neither dies nor has crashed. */
  lives(domid: number): boolean;
}

/** Something that is out of step, as a look at everything finds it. */
export interface OutOfStep {
  readonly violation: Violation;
  /** The frame that it is about. */
  readonly mfn: Mfn;
  /** Whether it may be so while the actor `index` is the one that put it so. */
  excused(index: number): boolean;
}

/** Invariants of guests' kernels (I15, I16) after every step, on what the step wrote. */
export interface GuestLook {
  /** The machine was put back to what it was when this was made. */
  reset(): void;
  /** After a step of the actor `index` (of `cpuAt`), which did what it had declared; one that only reads need not be told. */
  step(index: number, address: number, kind: number, words: number): Violation | undefined;
  /** Everything, without any memory of what changed: what `step` is tested against. */
  recount(): readonly OutOfStep[];
}
