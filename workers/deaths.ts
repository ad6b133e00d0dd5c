/** Thread entry of a campaign of deaths: one design of one small scenario. Controlled build only. */
import { deathThread } from '../src/lab/deaths/thread.js';
import { smallGuests } from './small.js';

deathThread(smallGuests);
