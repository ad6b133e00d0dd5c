/**
 * What a guest tells the auditor over a still machine: what it holds, and what its own invariants say.
 *
 * Invariant: plain data, made after the last step; the auditor never asks a guest while it runs.
 * Source: DESIGN decision 8; invariants I15 to I18 of the Xen reference, section 6.
 */

/** One broken invariant, with what is involved. */
export interface Violation {
  /** Invariant id of the Xen reference, section 6: `I5`, `I10` … */
  readonly invariant: string;
  readonly detail: string;
  /** Holders involved, each one line: who, through what. */
  readonly holders: readonly string[];
  /** Held by someone who will release it (`degraded`), by nobody who ever will (`leaked`), or plainly broken. */
  readonly severity: 'broken' | 'leaked' | 'degraded';
}

/** A grant handle that some driver of the guest still knows. */
export interface GuestHandle {
  readonly handle: number;
  readonly who: string;
  /** False when the driver knows it but will never try to release it again. */
  readonly willRelease: boolean;
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
