/** Thread entry of the control plane. */
import { controlThread } from '../src/lab/run/control.js';
import { controlGuests } from './control-guests.js';

controlThread(controlGuests);
