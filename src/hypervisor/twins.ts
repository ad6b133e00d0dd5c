/**
 * Twins: the hypervisor with one rule broken, as it once was or as somebody might write it, for searches to find.
 *
 * Invariant: at most one twin is on; none is after power on; only `setTwin` turns one on, before anything runs. A twin does
 * nothing but leave out, weaken or reorder what its rule asks for: what goes wrong then goes wrong by a race.
 * Lock: none; the word is written while the machine is still.
 * Differs: Xen's own walks do not go through a TLB here; the twin of XSA-286 remembers one translation of each CPU.
 * The kernels, which fuse what twins take apart, are off while one is on.
 * Source: the rule named with each (reference xen-pv-memory.md, sections 1 to 3 and 7).
 */
import { TWINS, type Twin, type TwinName } from '../abi/twins.js';
import { peek, poke } from '../sync/primitives.js';
import { globals } from './globals.js';

export { TWINS, type Twin, type TwinName } from '../abi/twins.js';

/** Numbers of the twins by name, for the sites. */
export const TWIN = Object.freeze(Object.fromEntries(TWINS.map(({ name }, i) => [name, i + 1]))) as Readonly<
  Record<TwinName, number>
>;

/** Is this twin on? */
export const twin = (number: number): boolean => peek(globals.twin) === number;

/** Turns the twin on; undefined: the hypervisor is right. The machine is still. */
export function setTwin(name: TwinName | undefined): void {
  poke(globals.twin, name === undefined ? 0 : TWIN[name]);
}

/** Is any twin on? */
export const isTwinned = (): boolean => peek(globals.twin) !== 0;

/** The number of no twin: an order that Xen does not have, which closes what page-type-put.ts says is known. */
const REPAIRED = TWINS.length + 1;
export const isRepaired = (): boolean => peek(globals.twin) === REPAIRED;
/** The machine is still; off again with `setTwin`. */
export const setRepaired = (): void => {
  poke(globals.twin, REPAIRED);
};

/** The twin that is on. */
export const twinOn = (): Twin | undefined => TWINS[peek(globals.twin) - 1];
