import { EINVAL } from '../../../src/abi/errno.js';
import { HYPERVISOR_mmu_update } from '../../../src/abi/hypercall.js';
import { GNTST_eagain } from '../../../src/abi/grant.js';
import { SITE } from '../../../src/fault/sites.js';
import { eventText } from '../../../src/lab/explore/event-text.js';
import { EVENT } from '../../../src/trace/events.js';
import { expect, test } from 'vitest';

test.each([
  [EVENT.gateEnter, HYPERVISOR_mmu_update, 0, 'hypercall mmu_update'],
  [EVENT.gateExit, HYPERVISOR_mmu_update, -EINVAL, 'hypercall mmu_update answers -EINVAL'],
  [EVENT.gateExit, HYPERVISOR_mmu_update, -4000, 'hypercall mmu_update answers -4000'],
  [EVENT.gateExit, HYPERVISOR_mmu_update, 0, ''],
  [EVENT.grantUnmap, 8, 1, 'grantUnmap gref=8 handle=1'],
  [EVENT.faultInjected, SITE['gnttab.unmap'], GNTST_eagain, 'fault at gnttab.unmap: eagain'],
  [EVENT.faultInjected, SITE.mmu_update, -EINVAL, 'fault at mmu_update: EINVAL'],
  [EVENT.faultInjected, SITE['flush.late'], 3, 'fault at flush.late: 3'],
  [EVENT.faultInjected, SITE['vcpu.dead'], 1, 'fault at vcpu.dead'],
  [EVENT.mark, 1, 2, ''],
] as const)('an event of the listing is named as the field names it: %d %d %d', (event, a, b, text) => {
  expect(eventText(event, a, b)).toBe(text);
});
