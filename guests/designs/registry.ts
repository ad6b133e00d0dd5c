/** Designs by name; a design is added by one line here and one entry in ../catalog.json. */
import type { TeardownDesign } from './design.js';
import { earlyUnpin } from './early-unpin.js';
import { kernelHandleBuggy } from './kernel-handle-buggy.js';
import { notifier } from './notifier.js';
import { notifierAsync } from './notifier-async.js';
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
  zapPteUnpinnedBuggy,
  kernelHandleBuggy,
  prePostLateBuggy,
  privateZeroBuggy,
  privateL4FirstBuggy,
  privateBypassBuggy,
]);

export const designByName = (name: string): TeardownDesign | undefined => DESIGNS.find((d) => d.name === name);
