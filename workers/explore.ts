/** Thread entry of a search: one design of one small scenario, or the replay of one execution. Controlled build only. */
import { exploreThread } from '../src/lab/explore/serve.js';
import { smallGuests } from './small.js';

exploreThread(smallGuests);
