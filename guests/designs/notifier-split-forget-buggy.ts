/**
 * notifier-split that drops a handle whose unmap Xen refused: the entry is then cleared like any other.
 *
 * Breaks: an implicit unmap leaves handle, pin and the grant's bits behind ([X61]); nobody knows the handle any more.
 */
import type { TeardownDesign } from './design.js';
import { notifierSplit } from './notifier-split.js';

export const notifierSplitForgetBuggy: TeardownDesign = Object.freeze({
  ...notifierSplit,
  name: 'notifier-split-forget-buggy',
  forgetsRefused: true,
});
