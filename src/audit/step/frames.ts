/**
 * I3, I4 and the page-lock rule of one frame, as they hold after every step, calls under way included.
 *
 * Words 0 and 1 change in two atomics in Xen's own order, so only what that order keeps is asked for: a reference before
 * a type, an owner before a reference, the allocation bit before its reference goes. What forces a dying domain's tables
 * is excepted ([X64]). Word 1 of a free frame links the heap's list.
 * Source: reference xen-pv-memory.md, section 6; [X1], [X4], [X10], [X12], [X14].
 */
import type { Mfn } from '../../abi/frames.js';
import { domain, DOMDYING_alive, domainSlot, domainSlots, type DomainRef } from '../../hypervisor/domain.js';
import * as f from '../../machine/frame.js';
import { peek } from '../../sync/primitives.js';
import { frameLabel, ownerLabel, typeLabel } from '../view.js';
import { finding, type Finding } from './finding.js';

/** The domain's record, or 0; zombies can be found. */
export function domainById(domid: number): DomainRef {
  for (let i = 0; i < domainSlots; i++) {
    const d = domainSlot((domid + i) % domainSlots);
    if (peek(domain.key(d)) === domid + 1) return d;
  }
  return 0 as DomainRef;
}

/** A domain whose record says that it is not being destroyed. */
export function isAlive(domid: number): boolean {
  const d = domainById(domid);
  return d !== 0 && peek(domain.dying(d)) === DOMDYING_alive;
}

/** A table, or a part of one, whose entries hold references. */
export function holdsRefs(typeWord: number): boolean {
  return f.isTableType(typeWord) && (typeWord & (f.PGT_validated | f.PGT_partial)) !== 0;
}

/** What is wrong with the frame; undefined when nothing is. */
export function frameFault(mfn: Mfn): Finding | undefined {
  const c = peek(f.countInfo(mfn));
  const refs = c & f.PGC_count_mask;
  const owner = f.ownerOf(peek(f.ownerWord(mfn)));
  if ((c & f.PGC_state) === f.PGC_state_free) {
    if (refs === 0 && (c & f.PGC_allocated) === 0 && owner === f.NO_OWNER) return undefined;
    return wrong('I3', mfn, `is free with ${String(refs)} references, owner ${ownerLabel(owner)}`);
  }
  if (refs > 0 && owner === f.NO_OWNER) return wrong('I3', mfn, `has ${String(refs)} references and no owner`);
  if ((c & f.PGC_allocated) !== 0 && refs === 0) return wrong('I3', mfn, 'is allocated with no reference');
  return typeFault(mfn, c, owner);
}

function typeFault(mfn: Mfn, c: number, owner: number): Finding | undefined {
  const t = peek(f.typeInfo(mfn));
  const count = t & f.PGT_count_mask;
  const what = typeLabel(f.typeLevel(t));
  if (count > 0 && (c & (f.PGC_count_mask | f.PGC_xen_heap)) === 0)
    return wrong('I3', mfn, `is ${what} with no reference`);
  const locked = (c & f.PGT_locked) !== 0;
  if ((t & (f.PGT_pinned | f.PGT_partial)) === 0 && !locked) return undefined;
  const pinned = (t & f.PGT_pinned) !== 0;
  const validated = (t & f.PGT_validated) !== 0;
  const partial = (t & f.PGT_partial) !== 0;
  const holds = validated && count > (locked ? 1 : 0);
  if ((!pinned || (validated && count > 0)) && (!partial || (!validated && count === 1)) && (!locked || holds)) {
    return undefined;
  }
  if (owner < 0x7ff0 && !isAlive(owner)) return undefined;
  if (partial && validated) return wrong('I4', mfn, 'is both partial and validated');
  if (partial && count !== 1) return wrong('I4', mfn, `is partial with type count ${String(count)}`);
  if (pinned && !(validated && count > 0))
    return wrong('I3', mfn, `is pinned, but ${validated ? 'without a type reference' : 'not validated'}`);
  const why = validated
    ? `with type count ${String(count)}: the lock's own reference is the last`
    : 'and not validated';
  return wrong('page-lock', mfn, `is page-locked ${why}`);
}

const wrong = (rule: string, mfn: Mfn, text: string): Finding => finding(rule, `${frameLabel(mfn)} ${text}`);
