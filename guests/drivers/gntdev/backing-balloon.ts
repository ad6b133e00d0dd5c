/**
 * Backing by the balloon: the page has no frame, so nothing is lost while a grant is there and nothing comes back.
 *
 * Invariant: p2m of the page is INVALID and its place in the direct map empty whenever no grant is mapped ([I18]).
 * Lock: the balloon's own. Source: 2.6.18-xen and today's gntdev (unpopulated pages).
 */
import type { Pfn, Va } from '../../../src/abi/frames.js';
import { GNTTABOP_unmap_grant_ref } from '../../../src/abi/grant.js';
import type { Steps } from '../../../src/sync/steps.js';
import type { KernelCpu } from '../../kernel/context.js';
import { releasePage } from '../../kernel/lru.js';
import { borrowUnpopulated } from '../balloon.js';
import type { Backing } from './backing.js';

function* nothing(): Steps<void> {
  return;
}

export const balloonBacking: Backing = Object.freeze({
  name: 'balloon',
  command: GNTTABOP_unmap_grant_ref,
  restores: false,
  *take(c: KernelCpu): Steps<Pfn> {
    return yield* borrowUnpopulated(c);
  },
  *vacate(): Steps<boolean> {
    return true;
  },
  *replacement(): Steps<Va> {
    return 0 as Va;
  },
  *unmapped(): Steps<boolean> {
    return true;
  },
  refused: nothing,
  *give(c: KernelCpu, pfn: Pfn): Steps<void> {
    yield* releasePage(c, pfn);
  },
});
