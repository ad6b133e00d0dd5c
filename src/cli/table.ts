/** Text tables: aligned columns where they fit, one block a row where they do not. Pure. */

export interface Column {
  readonly title: string;
  readonly right?: boolean;
}

const GAP = '  ';

/** Rows under their titles, or undefined when the widest line would not fit in `width`. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
  gap = 2,
): string[] | undefined {
  const widths = columns.map((c, i) => Math.max(c.title.length, ...rows.map((r) => (r[i] ?? '').length)));
  if (widths.reduce((n, w) => n + w, gap * (columns.length - 1)) > width) return undefined;
  const line = (cells: readonly string[]): string =>
    columns
      .map((c, i) =>
        c.right === true ? (cells[i] ?? '').padStart(widths[i] ?? 0) : (cells[i] ?? '').padEnd(widths[i] ?? 0),
      )
      .join(' '.repeat(gap))
      .trimEnd();
  return [line(columns.map((c) => c.title)), ...rows.map(line)];
}

/** The same row as lines of `title value`, a long value in several. */
export function block(columns: readonly Column[], row: readonly string[], width: number): string[] {
  const titles = Math.max(...columns.map((c) => c.title.length));
  return columns.flatMap((c, i) => {
    const lines = wrap(row[i] ?? '', Math.max(1, width - titles - GAP.length), '');
    return lines.map((line, n) => `${(n === 0 ? c.title : '').padEnd(titles)}${GAP}${line}`.trimEnd());
  });
}

/** `text` in lines of at most `width`, each behind `indent`; a word that is longer stands alone. */
export function wrap(text: string, width: number, indent: string): string[] {
  if (text.length + indent.length <= width) return [indent + text];
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line !== '' && indent.length + longer.length > width) {
      lines.push(indent + line);
      line = word;
    } else line = longer;
  }
  if (line !== '') lines.push(indent + line);
  return lines;
}

export const count = (n: number): string => n.toLocaleString('en-US');
