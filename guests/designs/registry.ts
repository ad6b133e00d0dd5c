/** Designs by name; a design is added by one line here and one entry in ../catalog.json. */
import type { TeardownDesign } from './design.js';
import { earlyUnpin } from './early-unpin.js';
import { kernelHandleBuggy } from './kernel-handle-buggy.js';
import { notifier } from './notifier.js';
import { notifierAsync } from './notifier-async.js';
import { notifierCoping } from './notifier-coping.js';
import { notifierSplit } from './notifier-split.js';
import { notifierSplitForgetBuggy } from './notifier-split-forget-buggy.js';
import { notifierSplitFreeBuggy } from './notifier-split-free-buggy.js';
import { prePost } from './pre-post.js';
import { prePostLateBuggy } from './pre-post-late-buggy.js';
import { privateBitmap } from './private-bitmap.js';
import { privateBypassBuggy } from './private-bypass-buggy.js';
import { privateFlags } from './private-flags.js';
import { privateL4FirstBuggy } from './private-l4-first-buggy.js';
import { privatePage } from './private-page.js';
import { privateTuples } from './private-tuples.js';
import { privateUnion } from './private-union.js';
import { privateZeroBuggy } from './private-zero-buggy.js';
import { zapPte } from './zap-pte.js';
import { zapPteClearedBuggy } from './zap-pte-cleared-buggy.js';
import { zapPteUnpinnedBuggy } from './zap-pte-unpinned-buggy.js';

export const DESIGNS: readonly TeardownDesign[] = Object.freeze([
  zapPte,
  earlyUnpin,
  prePost,
  privatePage,
  privateTuples,
  privateFlags,
  privateBitmap,
  privateUnion,
  notifier,
  notifierAsync,
  notifierCoping,
  notifierSplit,
  zapPteUnpinnedBuggy,
  kernelHandleBuggy,
  prePostLateBuggy,
  privateZeroBuggy,
  privateL4FirstBuggy,
  privateBypassBuggy,
  zapPteClearedBuggy,
  notifierSplitForgetBuggy,
  notifierSplitFreeBuggy,
]);

export const designByName = (name: string): TeardownDesign | undefined => DESIGNS.find((d) => d.name === name);
