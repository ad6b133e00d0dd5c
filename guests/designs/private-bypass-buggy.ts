/**
 * Known wrong: design (d) with its check in set_pte alone.
 *
 * Breaks [X67]: munmap clears by an exchange, full-mm exit by a plain store, neither of which is set_pte. At exit the walk
 * of the unpin comes first and all is well; a munmap of a live process unmaps implicitly ([X61]) and the slot keeps a
 * handle nobody can use: I10, I16.
 */
import { baseDesign } from './base.js';
import type { TeardownDesign } from './design.js';
import { privatePage } from './private-page.js';

export const privateBypassBuggy: TeardownDesign = Object.freeze({
  ...privatePage,
  name: 'private-bypass-buggy',
  clearPte: baseDesign.clearPte,
});
