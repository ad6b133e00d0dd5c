/**
 * A hostile vCPU from its first instruction to its last step: no kernel, only what it takes to make calls.
 *
 * Invariant: its handlers give every refused access up, so that nothing it does ends the thread it runs on.
 */
import { GNTTABOP_set_version } from '../../src/abi/grant.js';
import { HYPERVISOR_grant_table_op, HYPERVISOR_vm_assist } from '../../src/abi/hypercall.js';
import { VMASST_CMD_enable, VMASST_TYPE_writable_pagetables } from '../../src/abi/mmu.js';
import { ldOnce, peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GuestCpu, GuestHandlers } from '../../src/vcpu/guest-cpu.js';
import { stackTop, textVa } from './image.js';
import { peekVa } from '../kernel/words.js';
import { chance, hostile, seedStream, type Hostile } from './record.js';
import { leaveRings } from './rings.js';
import { hostileStep } from './step.js';

export function hostileHandlers(): GuestHandlers {
  return {
    *pageFault(): Steps<boolean> {
      return yield* givenUp();
    },
    *generalProtection(): Steps<void> {
      yield* givenUp();
    },
    *event(): Steps<void> {
      yield* givenUp();
    },
    *ipi(): Steps<void> {
      yield* givenUp();
    },
  };
}
function* givenUp(): Steps<false> {
  return false;
}

/** First instructions: stores to read-only L1s are to be emulated; with `checked` a kernel stack and text must stay mapped. */
export function* hostileBoot(g: GuestCpu, h: Hostile, checked: boolean): Steps<void> {
  g.arg(0, VMASST_CMD_enable, 0);
  g.arg(1, VMASST_TYPE_writable_pagetables, 0);
  yield* g.hypercall(HYPERVISOR_vm_assist);
  if (chance(h, 96)) yield* toVersion2(g, h);
  if (checked) g.setKernel(stackTop(peek(hostile.vcpu(h))), textVa);
}

/** The domain's grant table becomes one of version 2, if no sibling was faster. */
function* toVersion2(g: GuestCpu, h: Hostile): Steps<void> {
  const at = peekVa(hostile.argsVa(h));
  yield* g.store32(at, 2);
  g.arg(0, GNTTABOP_set_version, 0);
  g.argVa(1, at);
  g.arg(2, 1, 0);
  if ((yield* g.hypercall(HYPERVISOR_grant_table_op)) === 0) poke(hostile.grantVersion(h), 2);
}

/** Boots and takes `steps` steps, its program's if it has one, or as many as it can. */
export function* hostileLife(g: GuestCpu, h: Hostile, steps: number, checked: boolean): Steps<void> {
  yield* hostileBoot(g, h, checked);
  const program = peek(hostile.program(h));
  for (let i = 0; i < steps; i++) {
    if (program !== 0) seedStream(h, peek(program + 2 * i + 1));
    if (!(yield* hostileStep(g, h, program === 0 ? -1 : peek(program + 2 * i)))) return;
  }
}

/**
 * The same beside normal guests, until `over` is not 0, or some `steps` are done: then its rings are let go. A vCPU that can
 * do nothing more leaves earlier.
 */
export function* hostileBeside(g: GuestCpu, h: Hostile, steps: number, over: number, checked: boolean): Steps<void> {
  yield* hostileBoot(g, h, checked);
  for (let i = 0; i < steps; i++) {
    if ((yield* ldOnce(over)) !== 0) break; // raced on purpose: set once
    if (!(yield* hostileStep(g, h))) break;
  }
  if (g.userMode()) yield* g.toKernel();
  yield* leaveRings(h);
}
