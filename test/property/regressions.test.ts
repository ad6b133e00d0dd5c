/** What the fuzzer and the random programs found, each as small as it could be made, with the story on top. */
import { describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import * as ctl from '../../src/abi/domctl.js';
import { EINVAL, ENOMEM } from '../../src/abi/errno.js';
import { HYPERVISOR_domctl } from '../../src/abi/hypercall.js';
import { auditHypervisor } from '../../src/audit/index.js';
import { allocDomainFrame } from '../../src/hypervisor/allocation.js';
import { globals } from '../../src/hypervisor/globals.js';
import { CONTROL } from '../../src/sync/actor.js';
import { peek, run } from '../../src/sync/primitives.js';
import { single, type Dom } from '../hypervisor/machine.js';

const U = 16 + ctl.DOMCTL_U;

/** The control domain asks for a domain of that many grant frames. */
function create(d0: Dom, domid: number, grantFrames: number): number {
  for (let i = 16; i < 16 + ctl.DOMCTL_WORDS; i++) d0.word(i, 0);
  d0.word(16 + ctl.DOMCTL_CMD, ctl.XEN_DOMCTL_createdomain);
  d0.word(16 + ctl.DOMCTL_VERSION, ctl.XEN_DOMCTL_INTERFACE_VERSION);
  d0.word(16 + ctl.DOMCTL_DOMAIN, domid);
  d0.word(U + ctl.CREATE_MAX_VCPUS, 1);
  d0.word(U + ctl.CREATE_MAX_GRANT_FRAMES, grantFrames);
  return d0.call(HYPERVISOR_domctl, d0.at(16));
}

/**
 * createdomain that fails behind the event channels: their shared page was given back through its owner, whom nobody can
 * look up before the domain is finished, which is a bug of ours wherever it happens. (Fuzz seed 1, after 95 calls.)
 */
describe('a domain that cannot be finished', () => {
  it('is refused for its grant table, and leaves nothing', () => {
    const d0 = single();
    const free = peek(globals.freeFrames);
    expect(create(d0, 7, 0)).toBe(-EINVAL);
    expect(peek(globals.freeFrames)).toBe(free);
    expect(create(d0, 7, 1)).toBe(0);
    expect(auditHypervisor()).toEqual([]);
  });

  it('is refused for want of frames at each of those it needs, and leaves nothing', () => {
    const d0 = single();
    while (peek(globals.freeFrames) > 1) run(() => allocDomainFrame(CONTROL, d0.d));
    expect(create(d0, 7, 1)).toBe(-ENOMEM);
    expect(peek(globals.freeFrames)).toBe(1);
    run(() => allocDomainFrame(CONTROL, d0.d));
    expect(create(d0, 7, 1)).toBe(-ENOMEM);
    expect(peek(globals.freeFrames)).toBe(0);
    expect(auditHypervisor()).toEqual([]);
  });
});
