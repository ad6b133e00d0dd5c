/**
 * What a command line changes in a scenario: designs, vCPUs, extent, seed.
 *
 * Invariant: the result obeys the rules a file obeys; a flag that breaks one is a LabError.
 */
import { LabError } from '../abi/errors.js';
import { TWIN_NAMES, type TwinName } from '../abi/twins.js';
import { VCPUS_MAX, VCPUS_SMALL } from '../scenario/rules.js';
import type { Extent, FaultSpec, Scenario } from '../scenario/scenario.js';
import { hintFor } from '../scenario/suggest.js';

export interface Override {
  /** Design names; `all` is every design of the scenario. */
  readonly designs?: readonly string[];
  /** vCPUs of each domain. */
  readonly vcpus?: number;
  readonly extent?: Extent;
  readonly seed?: number;
  /** The rule that the hypervisor is to break. */
  readonly twin?: string;
  /** Faults besides those of the scenario. */
  readonly faults?: readonly FaultSpec[];
}

/** `s` with `o` applied; `known` are the designs that exist. */
export function override(s: Scenario, o: Override, known: readonly string[]): Scenario {
  const designs = o.designs === undefined || o.designs.includes('all') ? s.designs : [...new Set(o.designs)];
  for (const d of designs) {
    if (!known.includes(d))
      throw new LabError('UNKNOWN_DESIGN', `there is no design '${d}'`, { hint: hintFor(d, known) });
    if (s.expect[d] === undefined) {
      throw new LabError('UNKNOWN_DESIGN', `scenario '${s.name}' leaves out the design '${d}'`, {
        hint: hintFor(d, s.designs),
      });
    }
  }
  return {
    ...s,
    designs,
    seed: o.seed ?? s.seed,
    faults: [...s.faults, ...(o.faults ?? [])],
    hypervisor: o.twin === undefined ? s.hypervisor : { ...s.hypervisor, twin: twinByName(o.twin) },
    extent: o.extent ?? s.extent,
    domains: o.vcpus === undefined ? s.domains : withVcpus(s, o.vcpus),
  };
}

/** A twin by its name; '' is none. */
export function twinByName(name: string): TwinName | '' {
  if (name === '') return '';
  const known = TWIN_NAMES.find((n) => n === name);
  if (known !== undefined) return known;
  throw new LabError('UNKNOWN_TWIN', `there is no twin '${name}'`, { hint: hintFor(name, TWIN_NAMES) });
}

function withVcpus(s: Scenario, vcpus: number): Scenario['domains'] {
  const most = s.memoryMib <= 4 ? VCPUS_SMALL : VCPUS_MAX;
  const all = vcpus * s.domains.length;
  if (all > most) {
    throw new LabError(
      'TOO_MANY_VCPUS',
      `${String(s.domains.length)} domains of ${String(vcpus)} vCPUs are ${String(all)}`,
      {
        hint: `this machine has at most ${String(most)}`,
      },
    );
  }
  return s.domains.map((d) => ({ ...d, vcpus }));
}
