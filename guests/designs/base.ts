/**
 * What a kernel does when no design has a say: everything by default, unpin before unmapping.
 *
 * Lock: as the interface says. Source: Linux arch/x86/xen/mmu_pv.c.
 */
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from '../kernel/context.js';
import { xenExitMmap } from '../kernel/exit.js';
import { pgdOf, type Mm } from '../kernel/mm.js';
import { isPinned } from '../kernel/tables.js';
import { CLEAR_PLAIN } from '../kernel/vm-ops.js';
import { VM_DONTCOPY, VM_DONTEXPAND, VM_MIXEDMAP } from '../kernel/vma.js';
import type { TeardownDesign } from './design.js';
import { retryKeptEntry } from './kept.js';

function* nothing(): Steps<void> {
  return;
}
function* yes(): Steps<boolean> {
  return true;
}
function* no(): Steps<boolean> {
  return false;
}
function* plain(): Steps<number> {
  return CLEAR_PLAIN;
}
function* unpinNow(c: KernelCpu, m: Mm): Steps<void> {
  yield* xenExitMmap(c, m);
}
/** A tree that nobody unpinned at exit is unpinned with the last holder ([X76]). */
function* unpinLate(c: KernelCpu, m: Mm): Steps<void> {
  if (isPinned(c.k, pgdOf(m))) yield* xenExitMmap(c, m);
}

export const baseDesign: Omit<TeardownDesign, 'name'> = Object.freeze({
  oneLock: false,
  usesNotifier: false,
  vmFlags: VM_DONTCOPY | VM_DONTEXPAND | VM_MIXEDMAP,
  mapUnderPteLock: false,
  forgetsRefused: false,
  prepareMap: yes,
  mapInstalled: nothing,
  clearPte: plain,
  setPte: no,
  exitMmapPre: unpinNow,
  exitMmapPost: nothing,
  beforeUnpin: nothing,
  unpinPtePage: yes,
  releasePtePage: yes,
  retryEntry: retryKeptEntry,
  mmFree: unpinLate,
  invalidate: yes,
  vmaOpen: nothing,
  vmaClose: nothing,
  mapRelease: nothing,
  refuses: () => '',
  check: () => [],
});
