/**
 * From zod's issues to problems with a place in the file and a hint.
 *
 * Invariant: every issue becomes at least one problem; an unknown key is reported at the key itself.
 * Lock: none. Pure: the JSON Schema of the same shape says which keys and values a place knows.
 */
import type { z } from 'zod';
import type { Problem } from './error.js';
import type { Path, Positions } from './positions.js';
import { hintFor } from './suggest.js';

type Issue = z.core.$ZodIssue;

/** The parts of a JSON Schema that hints are made of. */
interface Shape {
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly items?: Shape;
  readonly oneOf?: readonly Shape[];
  readonly anyOf?: readonly Shape[];
  readonly propertyNames?: { readonly enum?: readonly string[] };
  readonly additionalProperties?: Shape | boolean;
  readonly const?: unknown;
}

interface Context {
  readonly root: Shape;
  readonly value: unknown;
  readonly positions: Positions;
}

/** Problems of `issues`, which zod found in `value`. */
export function problemsOf(issues: readonly Issue[], root: unknown, value: unknown, positions: Positions): Problem[] {
  const context: Context = { root: root as Shape, value, positions };
  return issues.flatMap((issue) => explain(context, issue, []));
}

function explain(c: Context, issue: Issue, above: Path): Problem[] {
  const path = [...above, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))];
  const here = c.positions.value(path);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({
        position: c.positions.key(path, key),
        message: `unknown key '${key}'`,
        hint: hintFor(key, knownKeys(c, path)),
      }));
    case 'invalid_union':
      return union(c, issue, path);
    case 'invalid_key':
      return [{ position: here, message: `${label(path)}: ${issue.issues[0]?.message ?? issue.message}` }];
    case 'invalid_value':
      return [choice(c, path, issue.values.map(String))];
    case 'invalid_type':
      return [wrongType(c, path, issue.expected)];
    case 'too_small':
      return [
        { position: here, message: `${label(path)} must be at least ${String(issue.minimum)}${unit(issue.origin)}` },
      ];
    case 'too_big':
      return [
        { position: here, message: `${label(path)} must be at most ${String(issue.maximum)}${unit(issue.origin)}` },
      ];
    default:
      return [{ position: here, message: `${label(path)}: ${issue.message}` }];
  }
}

function union(c: Context, issue: Extract<Issue, { code: 'invalid_union' }>, path: Path): Problem[] {
  const discriminator = 'discriminator' in issue ? String(issue.discriminator) : undefined;
  if (discriminator !== undefined) {
    // the issue's path ends in the discriminator already
    const options = (shapeAt(c, path.slice(0, -1))?.oneOf ?? []).map((s) =>
      String(s.properties?.[discriminator]?.const),
    );
    return [choice(c, path, options)];
  }
  const inside = issue.errors.filter((branch) =>
    branch.every((i) => i.path.length > 0 || i.code === 'unrecognized_keys'),
  );
  const [only] = inside;
  if (inside.length === 1 && only !== undefined) return only.flatMap((i) => explain(c, i, path));
  return [{ position: c.positions.value(path), message: `${label(path)}: ${issue.message}` }];
}

function choice(c: Context, path: Path, values: readonly string[]): Problem {
  const found = valueAt(c.value, path);
  if (found === undefined) return missing(c, path, hintFor('', values));
  const message = `${label(path)}: ${show(found)} is not known here`;
  return { position: c.positions.value(path), message, hint: hintFor(typeof found === 'string' ? found : '', values) };
}

function missing(c: Context, path: Path, hint?: string): Problem {
  const key = String(path.at(-1));
  const message = `missing key '${key}'`;
  const position = c.positions.value(path.slice(0, -1));
  return hint === undefined ? { position, message } : { position, message, hint };
}

const NOUNS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
};

function wrongType(c: Context, path: Path, expected: string): Problem {
  const found = valueAt(c.value, path);
  if (found === undefined && path.length > 0) return missing(c, path);
  const position = c.positions.value(path);
  const message = `${label(path)}: expected ${NOUNS[expected] ?? expected}, found ${show(found)}`;
  if (expected === 'boolean' && typeof found === 'string' && /^(yes|no|on|off)$/i.test(found)) {
    return { position, message, hint: 'YAML 1.2 writes true and false' };
  }
  if (typeof found === 'bigint') return { position, message, hint: 'the number is too large' };
  return { position, message };
}

const unit = (origin: string): string => (origin === 'array' ? ' entries' : origin === 'string' ? ' characters' : '');

const label = (path: Path): string => {
  if (path.length === 0) return 'scenario';
  return path.map((step, i) => (typeof step === 'number' ? `[${String(step)}]` : i === 0 ? step : `.${step}`)).join('');
};

function show(v: unknown): string {
  switch (typeof v) {
    case 'string':
      return v.length > 40 ? `'${v.slice(0, 40)}…'` : `'${v}'`;
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(v);
    default:
      return v === null || v === undefined ? 'nothing' : Array.isArray(v) ? 'a list' : 'a mapping';
  }
}

function valueAt(root: unknown, path: Path): unknown {
  let v = root;
  for (const step of path) {
    if (typeof v !== 'object' || v === null || !Object.hasOwn(v, step)) return undefined;
    v = (v as Record<string | number, unknown>)[step];
  }
  return v;
}

/** The schema of the place `path`; among alternatives the one whose constants fit the value. */
function shapeAt(c: Context, path: Path): Shape | undefined {
  let shape: Shape | undefined = c.root;
  path.forEach((step, i) => {
    shape = narrow(shape, valueAt(c.value, path.slice(0, i)));
    const wide: Shape | boolean | undefined = shape?.additionalProperties;
    if (typeof step === 'number') shape = shape?.items;
    else shape = shape?.properties?.[step] ?? (typeof wide === 'object' ? wide : undefined);
  });
  return shape;
}

function narrow(shape: Shape | undefined, value: unknown): Shape | undefined {
  const options = shape?.oneOf ?? shape?.anyOf;
  if (options === undefined) return shape;
  return options.find((o) => fits(o, value));
}

function fits(option: Shape, value: unknown): boolean {
  if (Array.isArray(value)) return option.items !== undefined;
  if (typeof value !== 'object' || value === null || option.properties === undefined) return false;
  return Object.entries(option.properties).every(
    ([key, p]) => p.const === undefined || p.const === (value as Record<string, unknown>)[key],
  );
}

function knownKeys(c: Context, path: Path): readonly string[] {
  const shape = narrow(shapeAt(c, path), valueAt(c.value, path));
  return Object.keys(shape?.properties ?? {}).concat(shape?.propertyNames?.enum ?? []);
}
