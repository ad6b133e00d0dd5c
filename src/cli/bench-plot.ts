/** A plot in characters: cost upwards on a logarithmic scale, a letter per design. Pure. */
import type { Line, Plot } from '../lab/bench/figures.js';

const ROWS = 16;
const AXIS = 12;
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
/** Where several lines meet. */
const MANY = '*';

const time = (ns: number): string =>
  ns >= 1e6 ? `${(ns / 1e6).toPrecision(3)} ms` : `${(ns / 1000).toPrecision(3)} us`;

/** A value's place between two others, 0 to 1, on the axis' scale. */
const scaled = (v: number, low: number, high: number, log: boolean): number => {
  if (high === low) return 0;
  return log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
};

/** The plot as lines of at most `width` characters. */
export function plotText(plot: Plot, width: number): string {
  const columns = Math.max(20, Math.min(width, 200) - AXIS - 2);
  const all = plot.lines.flatMap((l) => l.points);
  const xs = all.map((p) => p[0]);
  const ys = all.map((p) => p[1]);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const logX = plot.x === 'pages';
  const grid = Array.from({ length: ROWS }, () => Array<string>(columns).fill(' '));
  plot.lines.forEach((line, i) => {
    for (const [x, y] of between(line, x0, x1, logX, columns)) {
      const c = Math.round(scaled(x, x0, x1, logX) * (columns - 1));
      const r = ROWS - 1 - Math.round(scaled(y, y0, y1, true) * (ROWS - 1));
      const row = grid[r];
      if (row === undefined) continue;
      const letter = LETTERS[i % LETTERS.length] ?? '?';
      row[c] = row[c] === ' ' || row[c] === letter ? letter : MANY;
    }
  });
  const axis = (r: number): string => {
    const share = (ROWS - 1 - r) / (ROWS - 1);
    const marked = r % 5 === 0 || r === ROWS - 1;
    return (marked ? time(y0 * (y1 / y0) ** share) : '').padStart(AXIS);
  };
  const left = String(x0);
  const lines = [
    plot.title,
    ...grid.map((row, r) => `${axis(r)} |${row.join('').trimEnd()}`),
    `${' '.repeat(AXIS)} +${'-'.repeat(columns)}`,
    `${' '.repeat(AXIS + 2)}${left}${`${String(x1)} ${plot.xLabel}`.padStart(columns - left.length)}`,
    ...plot.lines.map((l, i) => `  ${LETTERS[i % LETTERS.length] ?? '?'} ${l.design}`),
    ...plot.crossovers.map((c) => `  below ${place(plot, c.at)} ${c.cheaper} is cheaper, above it ${c.dearer}`),
    ...(plot.crossovers.length === 0 ? ['  no two lines cross'] : []),
  ];
  return `${lines.join('\n')}\n`;
}

const place = (plot: Plot, at: number): string =>
  plot.x === 'pages' ? `${String(Math.round(at))} pages` : `${at.toPrecision(3)}% granted`;

/** The line's points and, between neighbours, one per column. */
function between(line: Line, x0: number, x1: number, log: boolean, columns: number): (readonly [number, number])[] {
  const out: (readonly [number, number])[] = [];
  line.points.forEach((to, i) => {
    const from = line.points[i - 1];
    if (from !== undefined) {
      const steps = Math.ceil((scaled(to[0], x0, x1, log) - scaled(from[0], x0, x1, log)) * columns);
      for (let s = 1; s < steps; s++) {
        const at = s / steps;
        const x = log ? from[0] * (to[0] / from[0]) ** at : from[0] + (to[0] - from[0]) * at;
        out.push([x, from[1] * (to[1] / from[1]) ** at]);
      }
    }
    out.push(to);
  });
  return out;
}
