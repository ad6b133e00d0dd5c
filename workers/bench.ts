/** Thread entry of a teardown benchmark, of either build: binds the guests to the laboratory's station. */
import { benchThread } from '../src/lab/bench/station.js';
import type { BenchStart, Setting } from '../src/lab/bench/messages.js';
import { BYSTANDER_PAGES, FIRST_GRANTER, granters, MAPPER, PER_GRANTER } from '../src/lab/bench/plan.js';
import { reserveArena } from '../src/lab/run/build-guest.js';
import type { Cpu } from '../src/sync/actor.js';
import type { Steps } from '../src/sync/steps.js';
import { makeGuestCpu } from '../src/vcpu/vcpu.js';
import { BOARD_WORDS } from '../guests/bench/board.js';
import type { RoundSpec } from '../guests/bench/rounds.js';
import { BenchVcpu } from '../guests/bench/vcpu.js';
import { designByName } from '../guests/designs/registry.js';
import { makeKernelCpu, makeTraps } from '../guests/guest.js';
import { buildBenchDomains, splitLocks, type BenchDomains } from './bench-build.js';
import type { Start } from './kernel.js';
import { wordsOf } from './words.js';

interface Guests extends BenchDomains {
  readonly board: number;
  readonly round: RoundSpec;
}

function* build(s: Setting): Steps<BenchStart> {
  const domains = yield* buildBenchDomains(s);
  const board = yield* reserveArena(BOARD_WORDS + s.point.grants);
  const { pages, grants, threads, lazy, vcpus } = s.point;
  const refs = { refs: board + BOARD_WORDS, granter: FIRST_GRANTER, perGranter: PER_GRANTER };
  const bystander = s.bystander ? BYSTANDER_PAGES : 0;
  const round: RoundSpec = { ordinary: pages - grants, grants, threads, lazy, vcpus, bystander, ...refs };
  const guests: Guests = { ...domains, board, round };
  const { k, params } = domains.mapper;
  const named = { name: 'mapper', domid: MAPPER };
  const places = params.actors.map((cpu, id) => ({ cpu, domain: named.name, domid: MAPPER, id }));
  return { setting: s, places, words: wordsOf(k, named), phase: board, guests };
}

function context({ k, params }: Start, id: number, design: string) {
  const found = designByName(design);
  if (found === undefined) throw new RangeError(`no design '${design}'`);
  const traps = makeTraps();
  const g = makeGuestCpu(params.actors[id] as Cpu, traps.handlers);
  return { g, c: makeKernelCpu(g, traps, k, id, found), params };
}

function vcpu(start: BenchStart, id: number): BenchVcpu {
  const { mapper, granters: all, board, round } = start.guests as Guests;
  const { design, point } = start.setting;
  const counts = granters(point);
  const giving = id > 0 ? [] : all.map((s, i) => ({ ...context(s, 0, design), grants: counts[i] ?? 0 }));
  const { g, c, params } = context(mapper, id, design);
  return new BenchVcpu(g, c, params, board, round, giving);
}

const refuses = ({ design }: Setting): string =>
  designByName(design)?.refuses({ splitPteLocks: splitLocks(design), exitOrder: 0 }) ?? `no design '${design}' here`;
benchThread({ refuses, build, vcpu });
