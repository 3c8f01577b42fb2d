// Curves of statistics over the steps, of one run or of several laid over each other.

import { brief, distance, el, getJson, path, setText, whole } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 200;
const LEFT = 52;
const RIGHT = 8;
const BOTTOM = 22;
const TOP = 8;
/** Lines of statistics that are kept of a run: more than a diagram has pixels. */
const MOST_LINES = 4000;

/** The statistics of a run, read as they grow. */
export class History {
  constructor(name) {
    this.name = name;
    this.cursor = null;
    this.lines = [];
    this.reading = null;
  }

  /** Reads what is new. Whoever asks meanwhile waits for the same answer. */
  refresh() {
    this.reading ??= this.read().finally(() => (this.reading = null));
    return this.reading;
  }

  async read() {
    let news;
    do {
      const after = this.cursor ? `?after=${this.cursor}` : "";
      news = await getJson(path("runs", this.name, "stats") + after);
      if (news.is_new) this.lines = [];
      this.cursor = news.cursor;
      this.lines.push(...news.lines);
      while (this.lines.length > MOST_LINES) this.lines = half(this.lines);
    } while (news.has_more);
  }
}

/** Every second line, and of the others those with a measurement, if they are not too many themselves. */
function half(lines) {
  const kept = lines.filter((line, i) => i % 2 === 1 || line.quality);
  return kept.length <= MOST_LINES ? kept : lines.filter((line, i) => i % 2 === 1);
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

/** Where the values of a diagram are: the axis from `low` to `high`, and its marks. */
function axis(values, { log, unit }) {
  let low = values.reduce((a, b) => Math.min(a, b), Infinity);
  let high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!values.length) return log ? { low: 1, high: 10, marks: [] } : { low: 0, high: 1, marks: [] };
  if (log) {
    const marks = logTicks(low, high);
    return { low: Math.min(low, marks[0]), high: Math.max(high, marks.at(-1)), marks };
  }
  [low, high] = [Math.min(low, 0), unit ? Math.max(high, 1) : Math.max(high, 0)];
  if (low === high) high = low + 1;
  const step = niceStep(high - low, 4);
  [low, high] = [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
  return { low, high, marks: ticks(low, high, 4) };
}

/**
 * A diagram. `update` gets series of { name, color, dash, points: [[step, value]] } and the last step. What is
 * out of sight waits, and the axes are drawn anew only if they change: a page must not slow the run down that
 * it shows.
 */
export function chart(title, { log = false, unit = false } = {}) {
  const axes = svg("g", {});
  const lines = svg("g", {});
  const cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const picture = svg("svg", { role: "img", "aria-label": title });
  picture.append(axes, lines, cursor);
  const legend = el("ul", { class: "legend" });
  const element = el("section", { class: "card chart" }, el("h2", {}, title), picture, legend);
  let series = [];
  let last = 1;
  let width = 0;
  let drawnAxes = "";
  let at = null;
  let isVisible = false;

  const x = (step) => LEFT + ((width - LEFT - RIGHT) * step) / last;

  function draw() {
    if (!isVisible || !width) return;
    const { low, high, marks } = axis(series.flatMap((one) => one.points.map((point) => point[1])), { log, unit });
    const height = (value) => (log ? Math.log10(value) : value);
    const y = (value) =>
      HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * (height(value) - height(low))) / (height(high) - height(low));
    const wanted = [width, last, low, high].join();
    if (wanted !== drawnAxes) drawAxes(marks, y);
    drawnAxes = wanted;
    while (lines.childElementCount > series.length) lines.lastChild.remove();
    series.forEach(({ color, dash, points }, i) => {
      const line = lines.children[i] ?? lines.appendChild(svg("path", {}));
      line.setAttribute("stroke", `var(${color})`);
      line.setAttribute("stroke-dasharray", dash ?? "none");
      line.setAttribute("d", outline(thin(points.map(([step, value]) => [x(step), y(value)]))));
    });
    drawLegend();
  }

  function drawAxes(marks, y) {
    const parts = [];
    for (const mark of marks) {
      parts.push(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(mark), y2: y(mark) }));
      parts.push(svg("text", { x: LEFT - 7, y: y(mark) + 4, "text-anchor": "end" }, label(mark)));
    }
    for (const step of ticks(0, last, Math.max(2, Math.floor(width / 110))).filter(Number.isInteger)) {
      const text = step === 0 ? "step 0" : whole(step);
      const anchor = step === 0 ? "start" : x(step) > width - 30 ? "end" : "middle";
      parts.push(svg("text", { x: x(step), y: HEIGHT - 5, "text-anchor": anchor }, text));
    }
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    axes.replaceChildren(...parts);
  }

  /** Names and values: the last ones, or those under the pointer. */
  function drawLegend() {
    cursor.setAttribute("visibility", at == null ? "hidden" : "visible");
    if (at != null) ["x1", "x2"].forEach((name) => cursor.setAttribute(name, x(at)));
    while (legend.childElementCount > series.length) legend.lastChild.remove();
    const all = series.map(({ name, color, dash, points }, i) => {
      const entry = legend.children[i] ?? legend.appendChild(legendEntry());
      const value = at == null ? points.at(-1) : nearest(points, at);
      const [sign, text, step] = entry.children;
      sign.firstChild.setAttribute("stroke", `var(${color})`);
      sign.firstChild.setAttribute("stroke-dasharray", dash ?? "none");
      setText(text, value ? `${name} ${brief(value[1])}` : name);
      setText(step, value && at != null ? `step ${whole(value[0])}` : "");
      return text.textContent;
    });
    picture.setAttribute("aria-label", `${title}: ${all.join(", ") || "nothing yet"}`);
  }

  picture.addEventListener("pointermove", (event) => {
    if (!width) return;
    const along = ((event.offsetX - LEFT) / (width - LEFT - RIGHT)) * last;
    at = Math.min(Math.max(along, 0), last);
    drawLegend();
  });
  picture.addEventListener("pointerleave", () => {
    at = null;
    drawLegend();
  });
  const size = new ResizeObserver(([entry]) => {
    width = Math.max(Math.round(entry.contentRect.width), 200);
    draw();
  });
  size.observe(picture);
  const sight = new IntersectionObserver((entries) => {
    isVisible = entries.at(-1).isIntersecting;
    draw();
  });
  sight.observe(picture);
  const update = (next, end) => {
    // Up to a round number, so that the axis stays for a while.
    const round = niceStep(Math.max(end, 1), 20);
    last = Math.ceil(Math.max(end, 1) / round) * round;
    series = next.filter((one) => one.points.length);
    draw();
  };
  const close = () => [size, sight].forEach((observer) => observer.disconnect());
  return { element, update, close };
}

function legendEntry() {
  const sign = svg("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" });
  sign.append(svg("path", { d: "M0 4H22" }));
  return el("li", {}, sign, el("span", { class: "number" }), el("span", { class: "soft" }));
}

/** The path through points; a single one is a dash. */
function outline(points) {
  const places = points.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`);
  return places.length === 1 ? `M${places[0]}m-2 0h4` : `M${places.join("L")}`;
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
