// From counts that only grow to rates: the last minute of them, and charts of it.
import { prepare, css } from "./format.js";

const KEPT = 300; // at five a second

// One series of counts; `step` takes the next one and the machine's time in milliseconds.
export class Series {
  constructor() { this.reset(); }
  reset() {
    this.points = []; // [ms, count]
    this.values = []; // rates, the newest last
    this.total = 0;
  }
  step(ms, total) {
    this.total = total;
    this.points.push([ms, total]);
    while (this.points.length > 2 && this.points[0][0] < ms - 1000) this.points.shift();
    const [first, before] = this.points[0];
    this.values.push(ms > first ? ((total - before) * 1000) / (ms - first) : 0);
    if (this.values.length > KEPT) this.values.shift();
  }
  get now() { return this.values.at(-1) ?? 0; }
  get peak() { return Math.max(0, ...this.values); }
}

const xOf = (i, length, width) => width - ((length - 1 - i) * width) / (KEPT - 1);

export function sparkline(canvas, values, colour) {
  const { context, width, height } = prepare(canvas);
  const top = Math.max(1, ...values);
  const y = (value) => height - 1.5 - (value / top) * (height - 5);
  context.strokeStyle = css("--line");
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(0, height - 0.5);
  context.lineTo(width, height - 0.5);
  context.stroke();
  if (values.length < 2) return;
  context.beginPath();
  values.forEach((value, i) => context.lineTo(xOf(i, values.length, width), y(value)));
  context.strokeStyle = css(colour);
  context.lineWidth = 1.75;
  context.lineJoin = "round";
  context.stroke();
  context.lineTo(width, height);
  context.lineTo(xOf(0, values.length, width), height);
  context.globalAlpha = 0.13;
  context.fillStyle = css(colour);
  context.fill();
  context.globalAlpha = 1;
}

function axis(context, width, height, top, format) {
  context.font = `11px ${css("--sans")}`;
  context.fillStyle = css("--muted");
  context.strokeStyle = css("--line");
  context.lineWidth = 1;
  for (const part of [0, 0.5, 1]) {
    const y = Math.round(14 + (1 - part) * (height - 30)) + 0.5;
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(width, y);
    context.stroke();
    if (part) context.fillText(format(top * part), 0, y - 3);
  }
  context.fillText("a minute ago", 0, height - 3);
  context.textAlign = "right";
  context.fillText("now", width, height - 3);
  context.textAlign = "left";
}

// A top for the axis that is easy to read: 1, 2 or 5 times a power of ten.
export function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 5, 10].map((m) => m * power).find((top) => top >= value) ?? value;
}

// Areas on top of each other; layers are [values, colour name], the lowest first.
export function stacked(canvas, layers, format) {
  const { context, width, height } = prepare(canvas);
  const length = Math.max(0, ...layers.map(([values]) => values.length));
  const sums = new Array(length).fill(0);
  const at = (values, i) => values[i - (length - values.length)] ?? 0;
  for (const [values] of layers) for (let i = 0; i < length; i++) sums[i] += at(values, i);
  const top = niceTop(Math.max(10, ...sums));
  axis(context, width, height, top, format);
  const y = (value) => height - 16 - (value / top) * (height - 30);
  const base = new Array(length).fill(0);
  for (const [values, colour] of layers) {
    context.beginPath();
    for (let i = 0; i < length; i++) context.lineTo(xOf(i, length, width), y(base[i] + at(values, i)));
    for (let i = length - 1; i >= 0; i--) context.lineTo(xOf(i, length, width), y(base[i]));
    context.fillStyle = css(colour);
    context.globalAlpha = 0.9;
    context.fill();
    context.globalAlpha = 1;
    for (let i = 0; i < length; i++) base[i] += at(values, i);
  }
}
