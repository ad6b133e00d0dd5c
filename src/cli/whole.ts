/** A flag that is a whole number in decimal. */
import { InvalidArgumentError } from 'commander';

/** A parser of numbers from `min` to `max`; anything else is a usage error. */
export function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const n = /^[0-9]{1,10}$/.test(text) ? Number(text) : NaN;
    if (!(n >= min && n <= max)) {
      throw new InvalidArgumentError(`a whole number from ${String(min)} to ${String(max)} is needed.`);
    }
    return n;
  };
}
