/**
 * Spoils one recorded answer of a tape: the check of the check.
 *
 * A mutation changes or removes one value of one operation's expectation, and answers which operation that was. What
 * the comparison may overlook is left alone: entries shown as "xen".
 */

interface Leaf {
  readonly parent: Record<string, unknown>;
  readonly key: string;
  readonly path: string;
}

export interface Mutation {
  readonly index: number;
  readonly path: string;
}

interface TapeJson {
  readonly ops: { readonly expect: Record<string, unknown> }[];
}

/** Spoils `tape` in place; `random(n)` answers a number below n. */
export function mutate(tape: TapeJson, random: (n: number) => number): Mutation {
  for (;;) {
    const index = random(tape.ops.length);
    const leaves = leavesOf(tape.ops[index]?.expect ?? {}, '');
    const leaf = leaves[random(leaves.length)];
    if (leaf === undefined || leaf.parent[leaf.key] === 'xen') continue;
    if (random(4) === 0 && /^\.(\w+|types\.[^.]+)$/.test(leaf.path)) {
      Reflect.deleteProperty(leaf.parent, leaf.key);
      return { index, path: `${leaf.path} removed` };
    }
    leaf.parent[leaf.key] = spoiled(leaf.parent[leaf.key], leaf.path);
    return { index, path: leaf.path };
  }
}

function leavesOf(node: Record<string, unknown>, path: string): Leaf[] {
  return Object.entries(node).flatMap(([key, value]) => {
    const here = `${path}.${key}`;
    if (typeof value === 'object' && value !== null) return leavesOf(value as Record<string, unknown>, here);
    return [{ parent: node, key, path: here }];
  });
}

/** What stands in the probes where nothing was recorded. */
const SOMETHING: Readonly<Record<string, unknown>> = {
  types: 'd0:NOTAB',
  doms: { dying: 1, shutdown: 0, tot: 0, shr: 0 },
  grants: { flags: 0, dom: 'd0', f: 0 },
};

function spoiled(value: unknown, path: string): unknown {
  if (typeof value === 'number') return value + 1;
  if (typeof value === 'boolean') return !value;
  if (value === null) return SOMETHING[path.split('.')[1] ?? ''];
  const text = typeof value === 'string' ? value : '';
  // The low digit's second bit: RW of an entry, never A or D.
  if (/^0x/.test(text)) return text.slice(0, -1) + (Number.parseInt(text.slice(-1), 16) ^ 2).toString(16);
  if (text === 'caller_dead') return 'caller_crash';
  if (/_crash$/.test(text)) return 'caller_dead';
  return /^d\d:/.test(text)
    ? `${text}!`
    : text === 'f0'
      ? 'f1'
      : text === 'd0'
        ? 'd1'
        : /^d\d$/.test(text)
          ? 'd0'
          : 'f0';
}
