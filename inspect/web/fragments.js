// The fragments of the translation cache, as the server has them: five words for each, and one of heat.
import { getWords, getJson, every, machine, on } from "./live.js";

const HEADER = 4, WORDS = 5, DEAD = 0x80000000;
const CPL = 3, CODE16 = 4, VM86 = 0x40000, REAL = 0x80000;

export const fragments = {
  generation: -1,
  count: 0, // index 0 is no fragment
  records: new Uint32Array(0),
  heat: new Uint32Array(0),
  top: 1, // the hottest one's samples
  hot: [],
  samples: 0,
};

const listeners = [];
export const onFragments = (listener) => listeners.push(listener);
const tell = () => listeners.forEach((listener) => listener());

export const linearOf = (i) => fragments.records[WORDS * i];
export const sizeOf = (i) => fragments.records[WORDS * i + 2] & 0xffff;
export const bornOf = (i) => fragments.records[WORDS * i + 4];
export const heatOf = (i) => (fragments.heat[i] ?? 0) & ~DEAD;
export const isDead = (i) => ((fragments.heat[i] ?? 0) & DEAD) !== 0;

// "0" to "3": the ring; "16": real, virtual-8086 or 16-bit code.
export function ringOf(mode) {
  return mode & (REAL | VM86 | CODE16) ? "16" : (mode & CPL) === 0 ? "0" : "3";
}
export const modeOf = (i) => fragments.records[WORDS * i + 3];

function forget(generation) {
  fragments.generation = generation;
  fragments.count = 0;
  fragments.heat = new Uint32Array(0);
  fragments.hot = [];
}

function keep(words) {
  const [generation, from, amount] = words;
  if (generation !== fragments.generation) forget(generation);
  const end = (from + amount) * WORDS;
  if (fragments.records.length < end) {
    const more = new Uint32Array(Math.max(end, fragments.records.length * 2));
    more.set(fragments.records);
    fragments.records = more;
  }
  fragments.records.set(words.subarray(HEADER, HEADER + amount * WORDS), from * WORDS);
  fragments.count = from + amount;
  return words[3] > fragments.count;
}

async function fetchNew() {
  const cache = machine.state.cache;
  if (!cache || (cache.count === fragments.count && cache.generation === fragments.generation)) return;
  let more = true;
  while (more) more = keep(await getWords(`fragments?generation=${Math.max(0, fragments.generation)}&from=${fragments.count}`));
  tell();
}

async function fetchHeat() {
  const words = await getWords("heat");
  if (words[0] !== fragments.generation) return;
  fragments.heat = words.subarray(2);
  fragments.top = fragments.heat.reduce((top, word) => Math.max(top, word & ~DEAD), 1);
  const { hot, samples } = await getJson("hot");
  fragments.hot = hot;
  fragments.samples = samples;
  tell();
}

export function startFragments() {
  on("boot", () => { forget(-1); tell(); });
  every(400, fetchNew);
  every(1000, fetchHeat);
}
