/**
 * Known wrong: design (a) in a kernel that unpins at the beginning of exit_mmap.
 *
 * Breaks [X55]: with its root unpinned the L1 is no longer typed when the clears come, so each user unmap gets
 * general_error; the frames' references are gone already: I10. munmap of a live process is fine.
 */
import { baseDesign } from './base.js';
import type { TeardownDesign } from './design.js';
import { zapPte } from './zap-pte.js';

export const zapPteUnpinnedBuggy: TeardownDesign = Object.freeze({
  ...zapPte,
  name: 'zap-pte-unpinned-buggy',
  exitMmapPre: baseDesign.exitMmapPre,
});
