/**
 * Where everything lies in the shared memory: a function of its size alone, so every isolate computes the same.
 *
 *   0            machine memory: FRAMES frames
 *   FRAME_TABLE  frame records, 4 words each
 *   TLBS         one TLB per actor
 *   GLOBALS      words of the hypervisor that exist once, a line each
 *   ARENA        chunks of 1024 words for everything made at run time
 *   CPUS_BASE    actor records, then the machine header (src/sync/actor.ts)
 *
 * Invariant: nothing above FRAMES * 1024 has an mfn, so no guest can ever map it.
 */
import { PAGE_WORDS } from '../abi/frames.js';
import { TOTAL_WORDS } from '../ops/memory.js';
import { CPUS_BASE, MAX_CPUS } from '../sync/actor.js';

const SMALL = TOTAL_WORDS <= 1 << 20;

/** Machine frames: three quarters of the memory. */
export const FRAMES = Math.floor(((TOTAL_WORDS / PAGE_WORDS) * 3) / 4);

export const FRAME_WORDS = 4;
export const FRAME_TABLE = FRAMES * PAGE_WORDS;

export const TLB_SLOTS = SMALL ? 64 : 256;
export const TLB_SLOT_WORDS = 8;
export const TLB_WORDS = TLB_SLOTS * TLB_SLOT_WORDS;
const line = (a: number): number => (a + 15) & ~15;
export const TLBS = line(FRAME_TABLE + FRAMES * FRAME_WORDS);

export const GLOBALS = line(TLBS + MAX_CPUS * TLB_WORDS);
export const GLOBALS_WORDS = SMALL ? 2048 : 8192;

export const ARENA = line(GLOBALS + GLOBALS_WORDS);
export const CHUNK_WORDS = 1024;
export const ARENA_CHUNKS = Math.floor((CPUS_BASE - ARENA) / CHUNK_WORDS);

export const frameRecord = (mfn: number): number => FRAME_TABLE + mfn * FRAME_WORDS;
export const tlbOf = (actorIndex: number): number => TLBS + actorIndex * TLB_WORDS;
