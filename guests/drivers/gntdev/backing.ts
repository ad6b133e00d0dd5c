/**
 * What backs the pages at which a kernel maps grants: what they had before, and what they get back.
 *
 * While a grant is mapped there, a page's place in the direct map shows the foreign frame. Three choices, of the kernel,
 * not of the teardown design: a page without a frame, which has nothing to get back; a page whose own frame is put back
 * after the unmap, with a moment of no mapping between; or one that gets it in the unmap itself, out of a scratch address.
 * Invariant ([I18]): given back, a page shows its own frame writable, or nothing if it has none.
 * Lock: none; the page is its taker's until it is given back.
 * Source: section 5, "Restore backing"; Linux drivers/xen/gntdev.c, arch/x86/xen/p2m.c (m2p_remove_override, 3.x).
 */
import type { Pfn, Va } from '../../../src/abi/frames.js';
import { peek } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import type { KernelCpu } from '../../kernel/context.js';
import { kernel } from '../../kernel/records.js';
import { balloonBacking } from './backing-balloon.js';
import { remapBacking } from './backing-remap.js';
import { replaceBacking } from './backing-replace.js';

export interface Backing {
  readonly name: string;
  /** GNTTABOP_* that takes the kernel's mapping away. */
  readonly command: number;
  /** Whether a page has a frame of its own to get back. */
  readonly restores: boolean;
  /** A page with one reference; PFN_NONE when there is none. */
  take(c: KernelCpu): Steps<Pfn>;
  /** A grant is about to be mapped at the page; false: its own frame could not be taken away. */
  vacate(c: KernelCpu, pfn: Pfn): Steps<boolean>;
  /** What the operation is to move to the page: an address that shows it now; 0 for nothing. */
  replacement(c: KernelCpu, pfn: Pfn): Steps<Va>;
  /** The operation was carried out; false when the page did not get back what it had. */
  unmapped(c: KernelCpu, pfn: Pfn): Steps<boolean>;
  /** The operation was refused; the grant is still mapped. */
  refused(c: KernelCpu, pfn: Pfn): Steps<void>;
  /** Lets the page go; no grant is mapped there. */
  give(c: KernelCpu, pfn: Pfn): Steps<void>;
}

export const BACKING_BALLOON = 0;
export const BACKING_REMAP = 1;
export const BACKING_REPLACE = 2;
const BACKINGS: readonly Backing[] = Object.freeze([balloonBacking, remapBacking, replaceBacking]);

export const backingNamed = (name: string): number => BACKINGS.findIndex((b) => b.name === name);

export const backingOf = (c: KernelCpu): Backing => BACKINGS[peek(kernel.backing(c.k))] ?? balloonBacking;
export const restoresBacking = (c: KernelCpu): boolean => backingOf(c).restores;
