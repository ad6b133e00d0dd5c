/** Modes, trap frames, and a kernel that loses its stack or text; interrupts and their mask. */
import { beforeEach, describe, expect, it } from 'vitest';
import { ENOSYS } from '../../src/abi/errno.js';
import { mfnWord, type Mfn, type Va } from '../../src/abi/frames.js';
import {
  HYPERVISOR_iret,
  HYPERVISOR_mmuext_op,
  HYPERVISOR_update_va_mapping,
  HYPERVISOR_vm_assist,
} from '../../src/abi/hypercall.js';
import { MMUEXT_NEW_BASEPTR, UVMF_INVLPG } from '../../src/abi/mmu.js';
import { CRASH_KERNEL_MAPPING_LOST, domain } from '../../src/hypervisor/domain.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { words } from '../../src/ops/memory.js';
import { actor, MODE_GUEST, MODE_OFF, REQ_EVENT } from '../../src/sync/actor.js';
import { run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { Vcpu } from '../../src/vcpu/guest-cpu.js';
import { VcpuStopped } from '../../src/vcpu/stopped.js';
import { bootGuest, DATA, HOLE, kernelVa, Noted, processor, STACK, TEXT, userVa, type Image } from './guest.js';

let image: Image;
let handlers: Noted;
let g: Vcpu;

beforeEach(() => {
  image = bootGuest();
  handlers = new Noted();
  g = processor(image, 0, handlers);
  run(function* () {
    yield* g.start();
  });
});

const word = (a: number): number => words[a] as number;
const crashed = (): [number, number, number] => [
  word(domain.shuttingDown(image.d)),
  word(domain.crashSite(image.d)),
  word(actor.mode(g.cpu)),
];
const CRASHED = [1, CRASH_KERNEL_MAPPING_LOST, MODE_OFF];

/** update_va_mapping of a kernel page, with invlpg. */
function* map(page: number, lo: number): Steps<number> {
  g.argVa(0, kernelVa(page));
  g.arg(1, lo, 0);
  g.arg(2, UVMF_INVLPG, 0);
  return yield* g.hypercall(HYPERVISOR_update_va_mapping);
}
/** NEW_BASEPTR, its argument in a data page. */
function* newBase(mfn: Mfn): Steps<number> {
  yield* g.store(kernelVa(DATA), MMUEXT_NEW_BASEPTR, 0);
  yield* g.store(kernelVa(DATA, 8), mfn, 0);
  g.argVa(0, kernelVa(DATA));
  g.arg(1, 1, 0);
  g.arg(2, 0, 0);
  g.arg(3, 0x7ff0, 0);
  return yield* g.hypercall(HYPERVISOR_mmuext_op);
}

describe('modes', () => {
  it('toUser and toKernel change the root and the kernel mode word', () => {
    const roots = run(function* () {
      const seen = [word(vcpu.cr3(g.cpu)), g.userMode()];
      yield* g.toUser();
      seen.push(word(vcpu.cr3(g.cpu)), g.userMode());
      yield* g.store32(userVa(1), 3);
      yield* g.toKernel();
      seen.push(word(vcpu.cr3(g.cpu)), g.userMode(), yield* g.load32(userVa(1)));
      return seen;
    });
    expect(roots).toEqual([image.kernel + 1, false, image.user + 1, true, image.kernel + 1, false, 3]);
  });

  it('the iret hypercall switches too', () => {
    run(function* () {
      yield* g.hypercall(HYPERVISOR_iret);
    });
    expect([g.userMode(), word(vcpu.cr3(g.cpu))]).toEqual([true, image.user + 1]);
  });

  it('user mode without user tables is the end of the domain', () => {
    words[vcpu.guestTableUser(g.cpu)] = 0;
    expect(() =>
      run(function* () {
        yield* g.toUser();
      }),
    ).toThrow(VcpuStopped);
    expect(word(domain.shuttingDown(image.d))).toBe(1);
  });

  it('a hypercall from user mode does not reach the hypervisor', () => {
    const rc = run(function* () {
      yield* g.toUser();
      return yield* g.hypercall(HYPERVISOR_vm_assist);
    });
    expect([rc, g.resultHi(), word(vcpu.nHypercalls(g.cpu))]).toEqual([-ENOSYS, -1, 0]);
  });

  it('an unknown hypercall answers -ENOSYS, sign extended', () => {
    expect(
      run(function* () {
        return yield* g.hypercall(63);
      }),
    ).toBe(-ENOSYS);
    expect(g.resultHi()).toBe(-1);
  });
});

describe('a kernel that lost', () => {
  it('its stack is crashed by the next trap, not before', () => {
    run(function* () {
      expect(yield* map(STACK, 0)).toBe(0);
      yield* g.store32(kernelVa(DATA), 1);
    });
    expect(crashed()[0]).toBe(0);
    expect(() =>
      run(function* () {
        yield* g.load(kernelVa(HOLE));
      }),
    ).toThrow(VcpuStopped);
    expect(crashed()).toEqual(CRASHED);
    expect(handlers.log).toEqual([]);
  });

  it('the write right on its stack likewise', () => {
    run(function* () {
      yield* map(STACK, (image.page(STACK) << 12) | 0x61);
    });
    expect(() =>
      run(function* () {
        yield* g.load(kernelVa(HOLE));
      }),
    ).toThrow(VcpuStopped);
    expect(crashed()).toEqual(CRASHED);
  });

  it('its text dies when the hypercall that took it returns', () => {
    expect(() =>
      run(function* () {
        yield* map(TEXT, 0);
      }),
    ).toThrow(VcpuStopped);
    expect(crashed()).toEqual(CRASHED);
  });

  it('all its mappings by a new base dies at its next instruction', () => {
    expect(() =>
      run(function* () {
        yield* newBase(image.user);
      }),
    ).toThrow(VcpuStopped);
    expect(crashed()).toEqual(CRASHED);
    expect(word(vcpu.guestTable(g.cpu))).toBe(image.user + 1);
  });

  it('an entry but not yet the translation of its text goes on: the TLB is real', () => {
    run(function* () {
      g.argVa(0, kernelVa(TEXT));
      g.arg(1, 0, 0);
      g.arg(2, 0, 0);
      yield* g.hypercall(HYPERVISOR_vm_assist); // fetches the text once
      g.argVa(0, kernelVa(TEXT));
      expect(yield* g.hypercall(HYPERVISOR_update_va_mapping)).toBe(0);
      yield* g.store32(kernelVa(DATA), 1);
    });
    expect(crashed()).toEqual([0, 0, MODE_GUEST]);
  });
});

describe('faults within fault handlers', () => {
  it('go deeper on the stack until it ends, and then the domain dies', () => {
    handlers.onFault = function* (cpu, va) {
      yield* cpu.load(va);
      return false;
    };
    expect(() =>
      run(function* () {
        yield* g.load(kernelVa(HOLE));
      }),
    ).toThrow(VcpuStopped);
    // The page below the stack is text: 64 frames of 64 bytes fit above it.
    expect([handlers.log.length, ...crashed()]).toEqual([64, ...CRASHED]);
  });

  it('come back in order when they end', () => {
    let depth = 0;
    handlers.onFault = function* (cpu, va) {
      if (++depth < 5) yield* cpu.load((va + 8) as Va);
      return false;
    };
    run(function* () {
      yield* g.load(kernelVa(HOLE));
    });
    expect([handlers.log.length, word(vcpu.trapDepth(g.cpu))]).toEqual([5, 0]);
  });
});

describe('interrupts', () => {
  const raise = (): void => {
    words[vcpu.upcallPending(g.cpu)] = 1;
    words[actor.request(g.cpu)] = word(actor.request(g.cpu)) | REQ_EVENT;
  };
  const does = (f: () => Steps<unknown>): void => {
    run(function* () {
      yield* f();
    });
  };

  it('arrive at a poll, masked while their handler runs, once', () => {
    raise();
    does(() => g.load32(kernelVa(DATA)));
    expect(handlers.log).toEqual([]);
    does(() => g.poll());
    does(() => g.poll());
    expect([handlers.log, g.eventsMasked(), word(vcpu.upcallPending(g.cpu))]).toEqual([['event'], false, 0]);
  });

  it('arrive when a hypercall returns, and do not disturb its result', () => {
    handlers.event = function* () {
      handlers.log.push('event');
      expect(yield* g.hypercall(63)).toBe(-ENOSYS);
    };
    raise();
    run(function* () {
      g.arg(0, 0, 0);
      g.arg(1, 2, 0);
      expect(yield* g.hypercall(HYPERVISOR_vm_assist)).toBe(0);
    });
    expect([handlers.log, g.resultHi()]).toEqual([['event'], 0]);
  });

  it('wait while masked and come at once when unmasked', () => {
    g.maskEvents();
    raise();
    does(() => g.poll());
    does(() => g.sendIpi(g.cpu));
    does(() => g.poll());
    expect(handlers.log).toEqual([]);
    does(() => g.unmaskEvents());
    expect(handlers.log).toEqual(['ipi', 'event']);
    does(() => g.unmaskEvents());
    expect(handlers.log.length).toBe(2);
  });

  it('reach a kernel whose user code is running, and user code goes on', () => {
    does(() => g.toUser());
    raise();
    does(() => g.poll());
    expect([handlers.log, g.userMode(), word(vcpu.cr3(g.cpu))]).toEqual([['event'], true, image.user + 1]);
  });

  it('a #GP left pending by the hypervisor is delivered when the hypercall returns', () => {
    words[vcpu.pendingGp(g.cpu)] = 1;
    does(() => g.hypercall(63));
    expect([handlers.log, word(vcpu.pendingGp(g.cpu))]).toEqual([['gp 0'], 0]);
    expect(word(mfnWord(image.page(STACK)) + 1024 - 16 + 4)).toBe(0);
  });
});
