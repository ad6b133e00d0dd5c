/** The script of the HTML report: draws the plots that the page carries. Runs in a browser; bundled by html.ts. */
import uPlot from 'uplot';
import type { Plot } from './figures.js';

/** What is used of the browser. */
interface Element {
  textContent: string | null;
  appendChild(e: Element): void;
  clientWidth: number;
}
declare const document: {
  getElementById(id: string): Element | null;
  createElement(tag: string): Element;
};

const COLOURS = [
  '#1f77b4',
  '#d62728',
  '#2ca02c',
  '#9467bd',
  '#ff7f0e',
  '#17becf',
  '#8c564b',
  '#e377c2',
  '#7f7f7f',
  '#bcbd22',
];
const WIDTH = 900;
const HEIGHT = 420;

const us = (ns: number | null): string => (ns === null ? '' : `${(ns / 1000).toPrecision(3)} us`);

function draw(plot: Plot, into: Element): void {
  const heading = document.createElement('h2');
  heading.textContent = plot.title;
  into.appendChild(heading);
  const xs = [...new Set(plot.lines.flatMap((l) => l.points.map((p) => p[0])))].sort((a, b) => a - b);
  const ys = plot.lines.map((l) => xs.map((x) => l.points.find((p) => p[0] === x)?.[1] ?? null));
  const options = {
    width: WIDTH,
    height: HEIGHT,
    scales: { x: { time: false, distr: plot.x === 'pages' ? 3 : 1 }, y: { distr: 3 } },
    axes: [
      { label: plot.xLabel },
      { label: plot.yLabel, size: 90, values: (_u: unknown, vs: number[]) => vs.map((v) => us(v)) },
    ],
    series: [
      { label: plot.xLabel },
      ...plot.lines.map((l, i) => ({
        label: l.design,
        stroke: COLOURS[i % COLOURS.length] ?? '#000',
        width: 2,
        spanGaps: true,
        value: (_u: unknown, v: number | null) => us(v),
      })),
    ],
  };
  const place = document.createElement('div');
  into.appendChild(place);
  new uPlot(options, [xs, ...ys], place);
  const list = document.createElement('ul');
  for (const c of plot.crossovers) {
    const item = document.createElement('li');
    const at = plot.x === 'pages' ? `${String(Math.round(c.at))} pages` : `${c.at.toPrecision(3)}% granted`;
    item.textContent = `below ${at} ${c.cheaper} is cheaper, above it ${c.dearer}`;
    list.appendChild(item);
  }
  into.appendChild(list);
}

const data = document.getElementById('data');
const plots = document.getElementById('plots');
if (data !== null && plots !== null) {
  for (const plot of JSON.parse(data.textContent ?? '[]') as Plot[]) draw(plot, plots);
}
