/** Thread entry of a whole scenario beside hostile guests, all of its vCPUs coroutines. Controlled build only. */
import { controlledThread } from '../src/lab/hostile/controlled-thread.js';
import { controlGuests } from './control-guests.js';
import { vcpuLife } from './vcpu-life.js';

controlledThread(controlGuests, vcpuLife);
