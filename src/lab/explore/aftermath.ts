/**
 * What the control plane does when an execution is over and something in it died: it takes the dying domains away, and
 * the others do what they had put off.
 *
 * Invariant: a domain dies when it was asked to be destroyed, or when a vCPU of it is dead while it is not shut down; a
 * dead vCPU's coroutine was dropped where it was.
 * Lock: none; everybody stands still.
 * Source: DESIGN decision 9.
 */
import { ERESTART } from '../../abi/errno.js';
import { HypervisorBug, MachineLost } from '../../abi/errors.js';
import type { Wait } from '../../explore/program.js';
import { domain, DOMDYING_dead, findDomain, vcpuDead, vcpuOf, type DomainRef } from '../../hypervisor/domain.js';
import { destroyDomain } from '../../hypervisor/domctl.js';
import { reapDomains } from '../../hypervisor/reap.js';
import { actor, CONTROL, MODE_GUEST, MODE_OFF } from '../../sync/actor.js';
import { peek, run } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { haltVcpu } from '../../vcpu/border.js';
import { VcpuStopped } from '../../vcpu/stopped.js';
import { isWhole } from '../run/life.js';
import type { SmallVcpu } from './guests.js';
import type { ExploreMachine } from './machine.js';

/** Parts in which a domain may be destroyed. */
const PARTS = 100_000;

export class Aftermath {
  readonly #machine: ExploreMachine;

  constructor(machine: ExploreMachine) {
    this.#machine = machine;
  }

  /** Those of a deadlock who are not of a dying domain: its own waiters die with it. */
  stuck(waits: readonly Wait[]): Wait[] {
    const dying = this.#machine.domains.filter((d) => this.dies(d.built.words.domid)).map((d) => d.spec.name);
    return waits.filter((w) => {
      const side = this.#machine.sides[w.body];
      return side === undefined || !dying.some((name) => side.name.startsWith(`${name}.`));
    });
  }

  /** Destroys what died, settles the others; adds the names of the dead to `deaths` and answers what did not end. */
  clear(deaths: string[]): string {
    try {
      for (let round = 0; round < 2; round++) {
        for (const d of this.#machine.domains) this.#bury(d.spec.name, d.built.words.domid, deaths);
        for (const d of this.#machine.domains) {
          if (isWhole(d.built.words) && !this.dies(d.built.words.domid)) d.built.vcpus.forEach(settled);
        }
      }
      run(() => reapDomains(CONTROL));
      return '';
    } catch (e) {
      if (e instanceof HypervisorBug || e instanceof MachineLost) return e.message;
      throw e;
    }
  }

  /** Whether the control plane is to take the domain away. */
  dies(domid: number): boolean {
    const d = run(() => findDomain(domid));
    if (d === 0 || peek(domain.shuttingDown(d)) !== 0) return false;
    if (peek(domain.destroyAsked(d)) !== 0) return true;
    return this.#vcpusOf(domid).some((v) => vcpuDead(v.cpu));
  }

  /** The same, and nobody has done it yet. */
  due(domid: number): boolean {
    const d = run(() => findDomain(domid));
    return this.dies(domid) && peek(domain.dying(d)) !== DOMDYING_dead;
  }

  #vcpusOf(domid: number): readonly SmallVcpu[] {
    return this.#machine.domains.find((d) => d.built.words.domid === domid)?.built.vcpus ?? [];
  }

  #bury(name: string, domid: number, deaths: string[]): void {
    if (!this.dies(domid)) return;
    const d = run<DomainRef>(() => findDomain(domid));
    deaths.push(name);
    this.#vcpusOf(domid).forEach((_, i) => {
      const cpu = vcpuOf(d, i);
      const mode = peek(actor.mode(cpu));
      // Its coroutine was dropped where it waited, in guest code: there a vCPU may die anywhere.
      if (mode !== MODE_OFF && (mode !== MODE_GUEST || peek(actor.doing(cpu)) === 0)) run(() => haltVcpu(cpu));
    });
    for (let part = 0; part < PARTS; part++) {
      const rc = run(() => destroyDomain(CONTROL, d));
      if (rc === 0) return;
      if (rc !== -ERESTART) throw new HypervisorBug(`destroying ${name}: ${String(rc)}`);
    }
    throw new HypervisorBug(`${name} is not destroyed after ${String(PARTS)} parts`);
  }
}

/** Deferred work as far as it can be done; a death there is one like any other. */
export function settled(v: SmallVcpu): void {
  if (!v.unsettled() || vcpuDead(v.cpu)) return;
  const body = function* (): Steps<void> {
    yield* v.start();
    yield* v.settle();
    yield* v.park();
  };
  try {
    run(body);
  } catch (e) {
    if (!(e instanceof VcpuStopped)) throw e;
  }
}
