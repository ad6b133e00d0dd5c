/** A version 3 source map of a file onto itself, token by token, through a list of edits. */
/** @typedef {{ version: 3, file: string, sources: string[], sourcesContent: string[], names: string[], mappings: string }} RawMap */

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/**
 * One signed number as base64 VLQ.
 * @param {number} value
 */
function vlq(value) {
  let rest = value < 0 ? (-value << 1) | 1 : value << 1;
  let out = '';
  do {
    const digit = rest & 31;
    rest >>>= 5;
    out += DIGITS.charAt(rest > 0 ? digit | 32 : digit);
  } while (rest > 0);
  return out;
}

/**
 * Maps every token of `source` that the edits leave (they hold no line break) to where it stood.
 * @param {import('typescript').SourceFile} source the file before the edits
 * @param {import('./erase.mjs').Edit[]} edits sorted, not overlapping
 * @returns {RawMap}
 */
export function identityMap(source, edits) {
  const text = source.text;
  const starts = source.getLineStarts();
  /** @type {string[]} */
  const lines = [];
  let edit = 0;
  let from = { line: 0, column: 0 };
  for (const [line, start] of starts.entries()) {
    let shift = 0;
    let before = 0;
    const segments = [];
    for (const at of tokenStarts(text, start, starts[line + 1] ?? text.length)) {
      for (let e = edits[edit]; e !== undefined && e.end <= at; e = edits[++edit]) {
        shift += e.text.length - (e.end - e.start);
      }
      const column = at - start;
      segments.push(vlq(column + shift - before) + vlq(0) + vlq(line - from.line) + vlq(column - from.column));
      before = column + shift;
      from = { line, column };
    }
    lines.push(segments.join(','));
    for (let e = edits[edit]; e !== undefined && e.start < (starts[line + 1] ?? Infinity); e = edits[++edit]);
  }
  const file = source.fileName;
  return { version: 3, file, sources: [file], sourcesContent: [text], names: [], mappings: lines.join(';') };
}

/**
 * Where words and signs begin in one line; finer than the language's tokens, which does no harm.
 * @param {string} text
 * @param {number} start
 * @param {number} end
 */
function* tokenStarts(text, start, end) {
  const token = /[\p{ID_Continue}$]+|[^\s\p{ID_Continue}$]/gu;
  token.lastIndex = start;
  for (let m = token.exec(text); m !== null && m.index < end; m = token.exec(text)) yield m.index;
}
