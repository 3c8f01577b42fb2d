// Curves of statistics over the steps, of one run or of several laid over each other.

import { brief, el, distance, getJson, path, whole } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 200;
const LEFT = 52;
const RIGHT = 8;
const BOTTOM = 22;
const TOP = 8;
/** Lines of statistics that are kept of a run. */
const MOST_LINES = 20000;

/** The statistics of a run, read as they grow. */
export class History {
  constructor(name) {
    this.name = name;
    this.cursor = null;
    this.lines = [];
  }

  /** Reads what is new. */
  async refresh() {
    let news;
    do {
      const after = this.cursor ? `?after=${this.cursor}` : "";
      news = await getJson(path("runs", this.name, "stats") + after);
      if (news.is_new) this.lines = [];
      this.cursor = news.cursor;
      this.lines.push(...news.lines);
      if (this.lines.length > MOST_LINES) {
        this.lines = this.lines.filter((line, i) => i % 2 === 1 || line.quality);
      }
    } while (news.has_more);
  }
}

const svg = (tag, attributes, text) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text != null) element.textContent = text;
  return element;
};

function niceStep(range, count) {
  const least = range / count;
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((times) => times * power >= least * 0.999999);
}

function ticks(low, high, count) {
  const step = niceStep(high - low || 1, count);
  const all = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) all.push(i * step);
  return all;
}

function logTicks(low, high) {
  const all = [];
  for (let n = Math.floor(Math.log10(low)); n <= Math.ceil(Math.log10(high)); n++) {
    for (const times of [1, 2, 5]) all.push(times * 10 ** n);
  }
  const first = all.findLastIndex((tick) => tick <= low);
  const last = all.findIndex((tick) => tick >= high);
  const some = all.slice(Math.max(first, 0), last < 0 ? undefined : Math.max(last, first + 1) + 1);
  return some.length <= 7 ? some : some.filter((tick) => String(tick.toExponential()).startsWith("1"));
}

/** The points of a long line that can be seen: the highest and lowest of each pixel across. */
function thin(points) {
  if (points.length < 1200) return points;
  const kept = [];
  let column = [];
  const flush = () => {
    if (!column.length) return;
    const byHeight = [...column].sort((a, b) => a[1] - b[1]);
    const some = new Set([column[0], byHeight[0], byHeight.at(-1), column.at(-1)]);
    kept.push(...column.filter((point) => some.has(point)));
    column = [];
  };
  for (const point of points) {
    if (column.length && Math.floor(point[0]) !== Math.floor(column[0][0])) flush();
    column.push(point);
  }
  flush();
  return kept;
}

/** A diagram. `update` gets series of { name, color, dash, points: [[step, value]] } and the last step. */
export function chart(title, { log = false, unit = false } = {}) {
  const picture = svg("svg", { role: "img", "aria-label": title });
  const legend = el("ul", { class: "legend" });
  const element = el("section", { class: "card chart" }, el("h2", {}, title), picture, legend);
  let series = [];
  let last = 1;
  let scale = null;
  let at = null;

  function draw() {
    const width = Math.max(picture.clientWidth, 200);
    const shown = series.flatMap((one) => one.points);
    const values = shown.map((point) => point[1]);
    let low = values.reduce((a, b) => Math.min(a, b), Infinity);
    let high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    let marks;
    if (!values.length) {
      [low, high, marks] = log ? [1, 10, []] : [0, 1, []];
    } else if (log) {
      marks = logTicks(low, high);
      [low, high] = [Math.min(low, marks[0]), Math.max(high, marks.at(-1))];
    } else {
      [low, high] = [Math.min(low, 0), unit ? Math.max(high, 1) : Math.max(high, 0)];
      if (low === high) high = low + 1;
      const step = niceStep(high - low, 4);
      [low, high] = [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
      marks = ticks(low, high, 4);
    }
    const height = (value) => (log ? Math.log10(value) : value);
    const x = (step) => LEFT + ((width - LEFT - RIGHT) * step) / last;
    const y = (value) =>
      HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * (height(value) - height(low))) / (height(high) - height(low));
    scale = { x, last, width };
    const parts = [];
    for (const mark of marks) {
      parts.push(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(mark), y2: y(mark) }));
      parts.push(svg("text", { x: LEFT - 7, y: y(mark) + 4, "text-anchor": "end" }, label(mark)));
    }
    for (const step of ticks(0, last, Math.max(2, Math.floor(width / 110)))) {
      const text = step === 0 ? "step 0" : whole(step);
      const anchor = step === 0 ? "start" : x(step) > width - 30 ? "end" : "middle";
      parts.push(svg("text", { x: x(step), y: HEIGHT - 5, "text-anchor": anchor }, text));
    }
    for (const { color, dash, points } of series) {
      const places = thin(points.map(([step, value]) => [x(step), y(value)]));
      if (places.length === 1) {
        parts.push(svg("circle", { cx: places[0][0], cy: places[0][1], r: 2.5, fill: `var(${color})` }));
      } else if (places.length) {
        const d = places.map(([px, py], i) => `${i ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
        parts.push(svg("path", { d, stroke: `var(${color})`, "stroke-dasharray": dash ?? "none" }));
      }
    }
    if (at != null) parts.push(svg("line", { class: "cursor", x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM }));
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.replaceChildren(...parts);
    const said = series.map(legendEntry);
    legend.replaceChildren(...said.map(([, entry]) => entry));
    picture.setAttribute("aria-label", `${title}: ${said.map(([text]) => text).join(", ") || "nothing yet"}`);
  }

  function legendEntry({ name, color, dash, points }) {
    const value = at == null ? points.at(-1) : nearest(points, at);
    const sign = svg("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" });
    sign.append(svg("path", { d: "M0 4H22", stroke: `var(${color})`, "stroke-dasharray": dash ?? "none" }));
    const text = value ? `${name} ${brief(value[1])}` : name;
    const step = value && at != null ? el("span", { class: "soft" }, `step ${whole(value[0])}`) : null;
    return [text, el("li", {}, sign, el("span", { class: "number" }, text), step)];
  }

  picture.addEventListener("pointermove", (event) => {
    if (!scale) return;
    const along = ((event.offsetX - LEFT) / (scale.width - LEFT - RIGHT)) * scale.last;
    at = Math.min(Math.max(along, 0), scale.last);
    draw();
  });
  picture.addEventListener("pointerleave", () => {
    at = null;
    draw();
  });
  const observer = new ResizeObserver(draw);
  observer.observe(picture);
  const update = (next, end) => {
    last = Math.max(end, 1);
    series = next.filter((one) => one.points.length);
    draw();
  };
  return { element, update, close: () => observer.disconnect() };
}

const label = (value) => {
  if (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e6)) return value.toExponential(0);
  return Number(value.toFixed(4)).toLocaleString("en", { maximumFractionDigits: 4 });
};

function nearest(points, step) {
  return points.reduce((best, point) => (Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best));
}

const COLORS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6"];

/** The four diagrams of runs. */
export function curves() {
  const charts = [
    chart("Losses"),
    chart("Scores", { unit: true }),
    chart("Distance from real images", { log: true }),
    chart("Images per second"),
  ];
  const values = [
    [
      ["discriminator", (line) => line.discriminator_loss],
      ["generator", (line) => line.generator_loss],
    ],
    [
      ["real", (line) => line.real_score],
      ["generated", (line) => line.fake_score],
    ],
    [["distance", (line) => distance(line.quality)?.value]],
    [["images/s", (line) => line.images_per_second]],
  ];
  const update = (histories) => {
    const end = Math.max(0, ...histories.map((history) => history.lines.at(-1)?.step ?? 0));
    charts.forEach((one, i) => {
      const isAlone = histories.length === 1;
      const of = (history, number) =>
        values[i].map(([name, value], second) => ({
          name: isAlone ? name : values[i].length > 1 ? `${history.name}, ${name}` : history.name,
          color: COLORS[(isAlone ? second + (i > 1 ? i : 0) : number) % COLORS.length],
          dash: !isAlone && second ? "4 3" : null,
          points: history.lines
            .map((line) => [line.step, value(line)])
            .filter(([, v]) => Number.isFinite(v) && Math.abs(v) < 1e100 && (i !== 2 || v > 1e-100)),
        }));
      one.update(histories.flatMap(of), end);
    });
  };
  const element = el("div", { class: "charts" }, charts.map((one) => one.element));
  return { element, update, close: () => charts.forEach((one) => one.close()) };
}
