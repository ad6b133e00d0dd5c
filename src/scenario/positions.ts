/**
 * From a path inside a YAML document to a line and column of its file.
 *
 * Invariant: a path that does not exist answers the position of its nearest existing ancestor; a block answers its key's.
 * Lock: none. Source: reference ecosystem.md (YAML recipe).
 */
import { isCollection, isMap, isNode, isScalar, type Document, type LineCounter, type Node, type Pair } from 'yaml';
import type { SourcePosition } from '../abi/errors.js';

export type Path = readonly (string | number)[];

export interface Positions {
  /** Where the value at `path` stands. */
  value(path: Path): SourcePosition;
  /** Where the key `key` of the map at `path` stands. */
  key(path: Path, key: string): SourcePosition;
  /** A byte offset of the text. */
  at(offset: number): SourcePosition;
}

export function positionsOf(file: string, doc: Document, lines: LineCounter): Positions {
  const at = (offset: number): SourcePosition => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const start = (node: Node): SourcePosition => at(node.range?.[0] ?? 0);
  const value = (path: Path): SourcePosition => {
    for (let n = path.length; n > 0; n--) {
      const step = path[n - 1];
      const node = nodeAt(doc, path.slice(0, n));
      if (node === undefined) continue;
      const block = isCollection(node) && node.flow !== true;
      return block && typeof step === 'string' ? key(path.slice(0, n - 1), step) : start(node);
    }
    return isNode(doc.contents) ? start(doc.contents) : at(0);
  };
  function key(path: Path, name: string): SourcePosition {
    const pair = pairOf(path.length === 0 ? doc.contents : nodeAt(doc, path), name);
    return pair !== undefined && isNode(pair.key) ? start(pair.key) : value(path);
  }
  return { value, key, at };
}

/** Walks by hand: keys of a document may be numbers or quoted, a path's are what `toJS` made of them. */
function nodeAt(doc: Document, path: Path): Node | undefined {
  let node: unknown = doc.contents;
  for (const step of path) {
    if (isMap(node)) node = pairOf(node, String(step))?.value;
    else if (isCollection(node)) node = (node.items as unknown[])[Number(step)];
    else return undefined;
  }
  return isNode(node) ? node : undefined;
}

function pairOf(map: unknown, name: string): Pair | undefined {
  if (!isMap(map)) return undefined;
  return map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === name);
}
