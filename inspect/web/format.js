// Numbers and small pieces of the page.

export const $ = (id) => document.getElementById(id);

export const hex = (value, digits = 8) => (value >>> 0).toString(16).padStart(digits, "0");

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

// 12,345 in full, larger ones as 1.23M.
export const count = (value) => (value < 100000 ? plain : short).format(value);
export const rate = (value) => (value > 0 && value < 9.95 ? value.toFixed(1) : count(value));

export function bytes(value) {
  if (value < 1024) return `${value} B`;
  return value < 1048576 ? `${(value / 1024).toFixed(value < 102400 ? 1 : 0)} KiB` : `${(value / 1048576).toFixed(1)} MiB`;
}

// An element with properties and children; text goes in as text and never as markup.
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key === "dataset") Object.assign(node.dataset, value);
    else if (key === "vars") for (const [name, v] of Object.entries(value)) node.style.setProperty(name, v);
    else if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// Sets text only where it changes, so that assistive technology and selections are left alone.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// <dl> of big numbers: creates the pairs once, then only changes the numbers.
export function figures(list, pairs) {
  for (const [name, value] of pairs) {
    let row = list.querySelector(`[data-name="${name}"]`);
    if (!row) {
      row = el("div", { dataset: { name } }, el("dt", {}, name), el("dd"));
      list.append(row);
    }
    setText(row.lastChild, value);
  }
}

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A colour scheme that changes calls everybody who draws.
const redraws = [];
export const onScheme = (draw) => redraws.push(draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraws.forEach((draw) => draw()));

// A canvas as large as it is shown, in the screen's own pixels; returns its context and size.
export function prepare(canvas) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

// Colours between stops, made once for each scheme: 64 steps.
export function ramp(names) {
  const scratch = document.createElement("canvas");
  scratch.width = 64;
  scratch.height = 1;
  const context = scratch.getContext("2d", { willReadFrequently: true });
  const gradient = context.createLinearGradient(0, 0, 64, 0);
  names.forEach((name, i) => gradient.addColorStop(i / (names.length - 1), css(name)));
  context.fillStyle = gradient;
  context.fillRect(0, 0, 64, 1);
  const data = context.getImageData(0, 0, 64, 1).data;
  return Array.from({ length: 64 }, (_, i) => `rgb(${data[4 * i]} ${data[4 * i + 1]} ${data[4 * i + 2]})`);
}

// Arrow keys in a canvas of squares: calls move(dx, dy), choose().
export function arrows(canvas, move, choose) {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], PageUp: [0, -8], PageDown: [0, 8] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const step = steps[event.key];
    if (step) move(...step);
    else if (event.key === "Enter" || event.key === " ") choose();
    else return;
    event.preventDefault();
  });
}
