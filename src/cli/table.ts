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
): string[] | undefined {
  const widths = columns.map((c, i) => Math.max(c.title.length, ...rows.map((r) => (r[i] ?? '').length)));
  if (widths.reduce((n, w) => n + w, GAP.length * (columns.length - 1)) > width) return undefined;
  const line = (cells: readonly string[]): string =>
    columns
      .map((c, i) =>
        c.right === true ? (cells[i] ?? '').padStart(widths[i] ?? 0) : (cells[i] ?? '').padEnd(widths[i] ?? 0),
      )
      .join(GAP)
      .trimEnd();
  return [line(columns.map((c) => c.title)), ...rows.map(line)];
}

/** The same row as lines of `title value`. */
export function block(columns: readonly Column[], row: readonly string[]): string[] {
  const width = Math.max(...columns.map((c) => c.title.length));
  return columns.map((c, i) => `${c.title.padEnd(width)}${GAP}${row[i] ?? ''}`.trimEnd());
}

/** `text` in lines of at most `width`, each behind `indent`. */
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
