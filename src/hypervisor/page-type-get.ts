/**
 * Taking a type reference: claim, flush, validate.
 *
 * Invariant: a type is exclusive while its count is above 0; between the claim (type, count 1, neither validated nor
 * partial) and the verdict one CPU has the frame for itself ([X6]).
 * Lock: none but compare-exchange; others wait for the verdict.
 * Source: _get_page_type, xen/arch/x86/mm.c; [X4], [X6], [X7], [X13], XSA-401.
 * Differs: nothing takes PGT_seg_desc_page (no descriptor tables).
 */
import { EINTR, EINVAL } from '../abi/errno.js';
import { HypervisorBug } from '../abi/errors.js';
import type { Mfn } from '../abi/frames.js';
import {
  PGT_count_mask,
  PGT_l1_page_table,
  PGT_none,
  PGT_partial,
  PGT_seg_desc_page,
  PGT_type_mask,
  PGT_validated,
  stampWord,
  typeInfo,
} from '../machine/frame.js';
import type { Cpu } from '../sync/actor.js';
import { cas, ldOnce, or, peek, st, waitChange, wake } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { flushOwnerStale } from './flush.js';
import { putPage } from './page-ref.js';
import { hypercallPreemptCheck } from './preempt.js';
import { validatePage } from './validate.js';
import { TWIN, twin } from './twins.js';

/** _get_page_type: claims by compare-exchange, then flushes, then validates ([X6], XSA-401). */
export function* getPageTypeFlags(cpu: Cpu, mfn: Mfn, type: number, preemptible: boolean): Steps<number> {
  const a = typeInfo(mfn);
  let y = peek(a);
  let x: number;
  let nx: number;
  for (;;) {
    x = y;
    nx = x + 1;
    const count = x & PGT_count_mask;
    if (count === PGT_count_mask || (count !== 0 && (x & PGT_type_mask) !== type)) {
      y = yield* ldOnce(a); // raced on purpose: type words are claimed by compare-exchange
      if (y !== x) continue;
      return -EINVAL;
    }
    if (count === 0) {
      if ((x & PGT_type_mask) !== type) nx = (nx & ~(PGT_type_mask | PGT_validated)) | type;
    } else if ((x & PGT_validated) === 0) {
      if ((x & PGT_partial) === 0 && !twin(TWIN['validate-nowait'])) {
        if (preemptible && (yield* hypercallPreemptCheck(cpu))) return -EINTR;
        yield* waitChange(cpu, a, x);
        y = yield* ldOnce(a); // raced on purpose: its validator publishes the verdict here
        continue;
      }
      nx = x & ~PGT_partial;
    }
    if (twin(TWIN['xsa-401']) && count === 0 && (x & PGT_type_mask) !== type) yield* flushOwnerStale(cpu, mfn);
    y = yield* cas(a, x, nx);
    if (y === x) break;
    if (preemptible && (yield* hypercallPreemptCheck(cpu))) return -EINTR;
  }
  if ((nx & PGT_validated) !== 0 || (twin(TWIN['validate-nowait']) && (x & PGT_count_mask) !== 0)) return 0;
  return yield* claimed(cpu, mfn, type, x, preemptible);
}

/** The frame is ours alone ("validate locked"), found as `x`: flush before use as another type, then validate. */
function* claimed(cpu: Cpu, mfn: Mfn, type: number, x: number, preemptible: boolean): Steps<number> {
  const flushed = twin(TWIN['xsa-401']);
  if (!flushed && (x & PGT_count_mask) === 0 && (x & PGT_type_mask) !== type) yield* flushOwnerStale(cpu, mfn);
  if (type < PGT_seg_desc_page && type !== PGT_none) {
    if ((x & PGT_partial) === 0) yield* st(stampWord(mfn), 0);
    if (type !== PGT_l1_page_table && !preemptible) throw new HypervisorBug('upper table typed unpreemptibly');
    const rc = yield* validatePage(cpu, mfn, type);
    if ((x & PGT_partial) !== 0) yield* putPage(cpu, mfn);
    return rc;
  }
  yield* or(typeInfo(mfn), PGT_validated);
  wake(typeInfo(mfn));
  return 0;
}
