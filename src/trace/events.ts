/**
 * Event ids of the trace, with the names a reader sees; ids are stable, so an old trace can still be read.
 */
export const EVENT = {
  /** A free mark of a design, workload or test. */
  mark: 1,
  gateEnter: 2,
  gateExit: 3,
  gateContinue: 4,
  /** Two more arguments of the call that was entered. */
  gateArgs: 5,
  /** An entry of a multicall. */
  subcall: 6,
  lockContended: 8,
  pageFault: 16,
  ptwrEmulate: 17,
  tlbFlush: 18,
  invlpg: 19,
  setBase: 20,
  typeValidate: 32,
  typeInvalidate: 33,
  pin: 34,
  unpin: 35,
  pageFree: 36,
  grantMap: 48,
  grantUnmap: 49,
  grantCopy: 50,
  grantTransfer: 51,
  eventSend: 52,
  domainCreate: 64,
  domainPause: 65,
  domainDestroy: 66,
  domainCrash: 67,
  vcpuKilled: 68,
  faultInjected: 80,
} as const;

export type EventName = keyof typeof EVENT;
export type Event = (typeof EVENT)[EventName];

/** Name of the event, and of its two words. */
export interface EventShape {
  readonly name: EventName;
  readonly a: string;
  readonly b: string;
}

const ARGUMENTS: Readonly<Record<EventName, readonly [string, string]>> = Object.freeze({
  mark: ['a', 'b'],
  gateEnter: ['nr', 'arg'],
  gateExit: ['nr', 'result'],
  gateContinue: ['nr', 'done'],
  gateArgs: ['arg1', 'arg2'],
  subcall: ['nr', 'arg1'],
  lockContended: ['address', 'rank'],
  pageFault: ['va', 'error'],
  ptwrEmulate: ['va', 'mfn'],
  tlbFlush: ['stamp', 'mask'],
  invlpg: ['va', 'asked'],
  setBase: ['mfn', 'user'],
  typeValidate: ['mfn', 'level'],
  typeInvalidate: ['mfn', 'level'],
  pin: ['mfn', 'type'],
  unpin: ['mfn', 'result'],
  pageFree: ['mfn', 'domid'],
  grantMap: ['gref', 'handle'],
  grantUnmap: ['gref', 'handle'],
  grantCopy: ['source', 'dest'],
  grantTransfer: ['mfn', 'domid'],
  eventSend: ['port', 'domid'],
  domainCreate: ['domid', 'result'],
  domainPause: ['domid', 'paused'],
  domainDestroy: ['domid', 'result'],
  domainCrash: ['domid', 'site'],
  vcpuKilled: ['vcpu', 'mode'],
  faultInjected: ['site', 'status'],
});

const shapes: ReadonlyMap<number, EventShape> = new Map<number, EventShape>(
  (Object.keys(EVENT) as EventName[]).map((name) => {
    const [a, b] = ARGUMENTS[name];
    return [EVENT[name], Object.freeze({ name, a, b })];
  }),
);

/** What the event with this id looks like; undefined for an id that is no event. */
export const eventShape = (id: number): EventShape | undefined => shapes.get(id);
