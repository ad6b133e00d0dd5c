/**
 * Names of the twins: the hypervisor with one rule broken, as it once was or as somebody might write it.
 *
 * Invariant: plain data; the number of a twin is its place in the list, from 1.
 * Source: the rule named with each (reference xen-pv-memory.md, sections 1 to 3 and 7).
 */

/** Name, rule and what is wrong; the number of a twin is its place in the list, from 1. */
const LIST = [
  ['xsa-218-handle', 'X54', 'a handle is freed in the second pass, by whoever then sees no half of it left'],
  ['xsa-218-pin', 'X54', 'pin and shared bits go in the first pass, before the TLB flush'],
  ['xsa-228', 'X47', 'handles are stolen without the lock of the list that they are stolen from'],
  ['xsa-230', 'X45', 'the shared bits are cleared when no host pin is left, whatever device pins say'],
  ['xsa-236', 'X57', 'a copy lets go of the frame before the pin, and trusts a pin to hold the frame'],
  ['xsa-240', 'X17', 'the two linear counts are looked at first and changed later'],
  ['xsa-242', 'X12', 'the last reference but the page lock’s own is dropped without waiting for the lock'],
  ['xsa-287', 'X58', 'a frame is stolen by a look at its count and a store, not by a compare-exchange'],
  ['xsa-299', 'X14', 'a put of a partial table acts although somebody else has taken the partial state over'],
  ['xsa-401', 'X6', 'a frame is flushed before it is claimed for its new type, not after'],
  ['stamp-late', 'X13', 'a frame is stamped with the flush clock after its type count is 0'],
  ['validate-nowait', 'X6', 'a type reference is taken on a frame whose validation is under way'],
  ['owner-before-ref', 'X2', 'the owner of a frame is looked at before the reference is taken'],
  ['get-blind', 'X2', 'a reference is taken by an addition, and given back if there was none before'],
  ['alloc-ref-race', 'X1', 'the allocation bit is looked at and cleared in two steps'],
  ['pin-race', 'X10', 'the pinned bit is looked at and set in two steps'],
  ['unpin-race', 'X10', 'the pinned bit is looked at and cleared in two steps'],
  ['pte-unlocked', 'X12', 'entries of L1 tables are changed without the page lock'],
  ['put-before-write', 'X26', 'the references of an L1 entry are dropped before the entry is overwritten'],
  ['v1-claim-blind', 'X41', 'a version 1 entry is claimed by an or, not by a compare-exchange with what was checked'],
  ['v2-no-reread', 'X43', 'a version 2 entry is not looked at again after its status was set'],
  ['status-not-locked', 'X45', 'shared bits are cleared by a load and a store of their word'],
  ['relatch', 'X46', 'the frame of a grant in use is read from the shared entry again'],
  ['publish-early', 'X50', 'a handle is live before its page-table entry is there'],
  ['flags-first', 'X47', 'of a new handle the flags are stored first, not last'],
  ['unmap-unchecked', 'X54', 'a handle is not looked at again under the lock of its grant'],
  ['unmap-no-flush', 'X54', 'nothing is flushed between the two passes of an unmap'],
  ['flush-guest-mode-only', 'X54', 'a vCPU that is in the hypervisor is not told to flush'],
  ['reuse-no-flush', 'X13', 'a freed frame is given out again without a flush'],
  ['total-unlocked', 'X1', 'the frames of a domain are counted down without the lock'],
  ['destroy-no-wait', 'X64', 'a domain is taken apart without waiting for its vCPUs to stop'],
  ['dying-unchecked', 'X64', 'a frame is assigned without asking whether its new owner is dying'],
  ['xsa-241', 'X13', 'the flush clock is read before an entry is overwritten, and stored as the stamp after it'],
  [
    'xsa-286',
    'X29',
    'an entry is stored through a translation that only a flush forgets, and upper updates do not flush',
  ],
  [
    'events-unordered',
    'X49',
    'of two domains’ event locks the caller’s is taken first, not the one at the lower address',
  ],
  ['version-early', 'X59', 'the pins are looked at before the table is locked for its change of version'],
] as const;

export type TwinName = (typeof LIST)[number][0];

export interface Twin {
  readonly name: TwinName;
  /** The rule that it breaks, in the Xen reference. */
  readonly rule: string;
  readonly wrong: string;
}

export const TWINS: readonly Twin[] = Object.freeze(LIST.map(([name, rule, wrong]) => ({ name, rule, wrong })));

export const TWIN_NAMES: readonly TwinName[] = Object.freeze(LIST.map(([name]) => name));
