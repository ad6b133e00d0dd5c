/** How a vCPU leaves for good: thrown at the hypervisor's border or between two guest accesses, never inside. */
export class VcpuStopped extends Error {
  override readonly name = 'VcpuStopped';
  constructor() {
    super('this vCPU was stopped');
  }
}
