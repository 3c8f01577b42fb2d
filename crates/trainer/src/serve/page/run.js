// One run: curves, sample grids, configuration, and the button that stops it.

import { curves, History } from "./curves.js";
import {
  brief, distance, duration, el, getJson, path, pills, post, repeated, setText, slider, status, whole,
} from "./dom.js";

/** Milliseconds between two looks for new sample grids. Each that is shown costs the cores that train. */
const GRIDS_EVERY = 5000;

/** A list of terms, of which those with a text are shown. */
function facts(terms) {
  const rows = new Map(terms.map((term) => [term, { term: el("dt", {}, term), text: el("dd") }]));
  for (const row of rows.values()) row.element = el("div", { hidden: true }, row.term, row.text);
  const set = (term, text, name = term) => {
    const row = rows.get(term);
    row.element.hidden = !text;
    setText(row.term, name);
    setText(row.text, text ?? "");
  };
  return { element: el("dl", { class: "facts" }, [...rows.values()].map((row) => row.element)), set };
}

export function runView(name) {
  const history = new History(name);
  const diagrams = curves();
  const said = status();
  const failed = status();
  const state = el("span");
  const bar = el("progress", { max: 1, value: 0, "aria-label": "steps made" });
  const warnings = el("ul", { class: "bad small" });
  const warned = {
    count: 0,
    element: el("section", { class: "card", hidden: true }, el("h2", {}, "Collapse"), warnings),
  };
  const config = el("pre", { tabindex: 0 });
  const resume = el(
    "p",
    { class: "small soft", hidden: true },
    "The command that continues it: candle-gan --resume RUN, with the run's directory for RUN.",
  );

  const image = el("img", { class: "pixels", alt: "Sample grid" });
  const none = el("p", { class: "soft small" }, "No sample grid yet.");
  let samples = [];
  let follows = true;
  const grids = slider("Step", {
    min: 0,
    max: 0,
    step: 1,
    value: 0,
    show: (i) => whole(samples[i] ?? 0),
    oninput: (i) => {
      follows = i === samples.length - 1;
      showSample(i);
    },
  });
  const newest = el("button", { onclick: () => ((follows = true), showSample(samples.length - 1)) }, "Newest");
  const links = el(
    "div",
    { class: "line" },
    newest,
    el("a", { class: "button", href: `#/play/run/${encodeURIComponent(name)}` }, "Play with it"),
    el("a", { class: "button", href: `#/judge/${encodeURIComponent(name)}` }, "Judge an image"),
  );
  const gallery = el("section", { class: "card stack" }, el("h2", {}, "Samples of the same latents"), none, image, grids.element, links);

  const stop = el("button", { class: "danger" }, "Stop training");
  const cancel = el("button", { hidden: true }, "Go on");
  let asks = false;
  const ask = (next) => {
    asks = next;
    stop.textContent = next ? "Write a checkpoint and stop" : "Stop training";
    cancel.hidden = !next;
  };
  cancel.addEventListener("click", () => ask(false));
  stop.addEventListener("click", async () => {
    if (!asks) return ask(true);
    ask(false);
    stop.disabled = true;
    try {
      await post(path("runs", name, "stop"));
      said.say("The step is finished and a checkpoint written.", false);
    } catch (error) {
      stop.disabled = false;
      said.say(error.message);
    }
  });

  function showSample(i) {
    if (samples[i] == null) return;
    grids.set(i);
    const source = `${path("runs", name, "samples")}/${samples[i]}.png`;
    if (image.getAttribute("src") !== source) image.src = source;
    image.alt = `Sample grid of step ${samples[i]}`;
  }

  let run = null;
  let detail = { config: {}, samples: [] };
  const isShown = () => run && !run.error;

  /** Reads again and again what `read` reads, says what goes wrong, and shows it. */
  const reader = (read, show, pause) =>
    repeated(async () => {
      const error = await read().then(() => null, (error) => error.message);
      // Of a run that is gone or broken meanwhile, the list of runs says so.
      if (!isShown()) return;
      failed.say(error);
      show();
    }, pause);

  // Numbers and curves in one go: the browser draws once.
  const readCurves = reader(() => history.refresh(), () => {
    showNumbers();
    diagrams.update([history]);
    const collapses = history.lines.filter((line) => line.quality?.collapse);
    if (collapses.length === warned.count) return;
    warned.count = collapses.length;
    warned.element.hidden = collapses.length === 0;
    const entry = (line) => el("li", {}, `step ${whole(line.step)}: ${line.quality.collapse}`);
    warnings.replaceChildren(...collapses.slice(-8).map(entry));
  });

  const readGrids = reader(
    async () => (detail = await getJson(path("runs", name))),
    () => {
      setText(config, JSON.stringify(detail.config, null, 2));
      samples = detail.samples;
      none.hidden = samples.length > 0;
      image.hidden = samples.length === 0;
      grids.element.hidden = samples.length < 2;
      grids.input.max = Math.max(samples.length - 1, 0);
      if (follows) showSample(samples.length - 1);
    },
    GRIDS_EVERY,
  );

  const shown = facts(["Step", "Time left", "Images/s", "Distance", "Best at step", "Recipe", "Data set"]);

  function showNumbers() {
    pills(state, run);
    bar.value = run.steps ? run.step / run.steps : 0;
    const measured = distance(run.distance);
    shown.set("Step", `${whole(run.step)} of ${whole(run.steps)}`);
    shown.set("Time left", run.seconds_left != null ? duration(run.seconds_left) : null);
    shown.set("Images/s", run.images_per_second ? whole(run.images_per_second) : null);
    shown.set("Distance", measured ? brief(measured.value) : null, measured?.name);
    shown.set("Best at step", run.best_step != null ? whole(run.best_step) : null);
    shown.set("Recipe", run.recipe);
    shown.set("Data set", [run.dataset, ...run.classes].join(", "));
  }

  let signature = null;

  function update(runs) {
    run = runs.find((one) => one.name === name);
    const isTraining = run?.state === "training";
    stop.hidden = !isTraining;
    resume.hidden = run?.state !== "stopped";
    if (!isTraining) {
      stop.disabled = false;
      ask(false);
    }
    body.hidden = run?.error != null;
    if (!isShown()) {
      pills(state, run);
      failed.say(run ? run.error : "This run is not there any more.");
      return;
    }
    const now = JSON.stringify([run.step, run.state, run.distance]);
    if (now === signature) return;
    signature = now;
    readCurves();
    readGrids();
  }

  const head = el("div", { class: "line spread" }, el("div", { class: "line" }, el("h1", {}, name), state), el("div", { class: "line" }, cancel, stop));
  const body = el(
    "div",
    { class: "stack" },
    el("section", { class: "card stack" }, bar, shown.element, resume),
    warned.element,
    el("div", { class: "columns" }, gallery, diagrams.element),
    el("details", { class: "card" }, el("summary", {}, "Configuration"), config),
  );
  const element = el("div", { class: "stack" }, head, said.element, failed.element, body);
  image.hidden = true;
  grids.element.hidden = true;
  stop.hidden = true;
  const close = () => {
    readCurves.close();
    readGrids.close();
    diagrams.close();
  };
  return { title: name, element, update, close };
}
