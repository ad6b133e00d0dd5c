/** Thread entry of a campaign of faults: one design of one small scenario. */
import { faultThread } from '../src/lab/faults/thread.js';
import { smallGuests } from './small.js';

faultThread(smallGuests);
