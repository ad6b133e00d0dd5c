/** Thread entry of fault injection: one design of one small scenario, over and over. Controlled build only. */
import { injectThread } from '../src/lab/inject/thread.js';
import { smallGuests } from './small.js';

injectThread(smallGuests);
