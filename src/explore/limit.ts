/**
 * Choices of one kind under a bound, as preemptions are: at most so many of them in an execution are not 0; or all of
 * them are 1.
 *
 * Invariant: whether one is still allowed is a function of the execution so far, so a search by the wrapped strategy meets
 * the same choices after the same beginning. A choice that is not allowed is 0, and the strategy is not asked.
 * Reduction stays sound: to choose 0 is always allowed and uses nothing up, a step's access is the same whatever is
 * chosen in it, and schedules that are equivalent hold the same choices, so none of them breaks the bound alone.
 */
import { xorshift } from './random.js';
import type { Strategy, View } from './strategy.js';

/** Choices `what`, of which at most `most` in an execution are not 0. */
export interface ChoiceLimit {
  readonly what: number;
  readonly most: number;
  /** What they are called, in the plural. */
  readonly name: string;
}

type Choose = (view: View, actor: number, what: number, n: number) => number;

/** `s` with other choices. */
function withChoices(s: Strategy, covers: string | undefined, begin: (view: View) => void, choose: Choose): Strategy {
  return {
    begin: (view) => {
      s.begin(view);
      begin(view);
    },
    pick: (view, running) => s.pick(view, running),
    choose,
    next: () => s.next(),
    ...(covers === undefined ? {} : { covers }),
    ...(s.explored === undefined ? {} : { explored: () => s.explored!() }),
    ...(s.save === undefined ? {} : { save: () => s.save!() }),
    ...(s.load === undefined ? {} : { load: (saved) => s.load!(saved) }),
  };
}

/** `s`, which tries all that the limit allows. */
export function atMost(s: Strategy, { what, most, name }: ChoiceLimit): Strategy {
  let used = 0;
  const and = s.covers?.includes(' at most ') === true ? 'and' : 'of at most';
  const covers = s.covers === undefined ? undefined : `${s.covers} ${and} ${most} ${name}`;
  const choose: Choose = (view, actor, asked, n) => {
    if (asked !== what) return s.choose(view, actor, asked, n);
    if (used >= most) return 0;
    const value = s.choose(view, actor, asked, n);
    if (value !== 0) used++;
    return value;
  };
  return withChoices(s, covers, () => void (used = 0), choose);
}

/** `s`, in each of whose executions the places that are not 0 are drawn among those of the longest one so far; first none. */
export function drawnAtMost(s: Strategy, { what, most }: ChoiceLimit, seed: number): Strategy {
  const random = xorshift(seed);
  let longest = 0;
  let asked = 0;
  let places: number[] = [];
  const begin = (): void => {
    longest = Math.max(longest, asked);
    asked = 0;
    places = longest === 0 ? [] : Array.from({ length: most }, () => random() % longest);
  };
  const choose: Choose = (view, actor, of, n) => {
    if (of !== what) return s.choose(view, actor, of, n);
    return places.includes(asked++) ? 1 + (random() % (n - 1)) : 0;
  };
  return withChoices(s, s.covers, begin, choose);
}

/** `s`, in whose executions every choice `what` is 1. */
export function always(s: Strategy, what: number): Strategy {
  const choose: Choose = (view, actor, asked, n) => (asked === what ? 1 : s.choose(view, actor, asked, n));
  return withChoices(s, s.covers, () => undefined, choose);
}

/** How many of the choices are `what`, and not 0. */
export const countOf = (choices: readonly { readonly what: number; readonly value: number }[], what: number): number =>
  choices.filter((c) => c.what === what && c.value !== 0).length;
