/**
 * Round robin: every actor takes `quantum` steps, then the next ready one; 1 switches at every point.
 *
 * One schedule only, which `first` begins, with every choice left to the machine.
 */
import { READY, readyFrom, type Strategy } from './strategy.js';

export function roundRobin(quantum = 1, first = 0): Strategy {
  let left = quantum;
  return {
    begin: () => {
      left = quantum;
    },
    pick: (view, running) => {
      left--;
      if (view.steps === 1) return readyFrom(view, first);
      if (left >= 0 && view.state[running] === READY) return running;
      left = quantum - 1;
      return readyFrom(view, running + 1);
    },
    choose: () => 0,
    next: () => false,
  };
}
