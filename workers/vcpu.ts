/** Thread entry of a vCPU. */
import { awaitTurn } from '../src/lab/hostile/await.js';
import { vcpuThread } from '../src/lab/run/vcpu-thread.js';
import { vcpuLife } from './vcpu-life.js';

vcpuThread((cpu, task) => vcpuLife(cpu, task, awaitTurn));
