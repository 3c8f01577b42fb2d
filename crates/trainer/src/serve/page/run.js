// One run: curves, sample grids, configuration, and the button that stops it.

import { curves, History } from "./curves.js";
import { brief, distance, duration, el, getJson, path, pills, post, slider, status, whole } from "./dom.js";

export function runView(name) {
  const history = new History(name);
  const diagrams = curves();
  const said = status();
  const state = el("span");
  const facts = el("dl", { class: "facts" });
  const bar = el("progress", { max: 1, value: 0, "aria-label": "steps made" });
  const warnings = el("ul", { class: "bad small" });
  const warned = el("section", { class: "card", hidden: true }, el("h2", {}, "Collapse"), warnings);
  const config = el("pre", { tabindex: 0 });
  const resume = el("p", { class: "small soft", hidden: true });

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

  let last = null;
  let isBusy = false;
  let isClosed = false;

  async function refresh() {
    if (isBusy || isClosed) return;
    isBusy = true;
    try {
      const [detail] = await Promise.all([getJson(path("runs", name)), history.refresh()]);
      config.textContent = JSON.stringify(detail.config, null, 2);
      samples = detail.samples;
      none.hidden = samples.length > 0;
      image.hidden = samples.length === 0;
      grids.element.hidden = samples.length < 2;
      grids.input.max = Math.max(samples.length - 1, 0);
      if (follows) showSample(samples.length - 1);
      diagrams.update([history]);
      const collapses = history.lines.filter((line) => line.quality?.collapse);
      warned.hidden = collapses.length === 0;
      const entry = (line) => el("li", {}, `step ${whole(line.step)}: ${line.quality.collapse}`);
      warnings.replaceChildren(...collapses.slice(-8).map(entry));
    } catch (error) {
      said.say(error.message);
    }
    isBusy = false;
  }

  function update(runs) {
    const run = runs.find((one) => one.name === name);
    stop.hidden = run?.state !== "training";
    if (!run) {
      said.say("This run is not there any more.");
      state.replaceChildren();
      return;
    }
    state.replaceChildren(pills(run));
    if (run.state !== "training") ask(false);
    stop.disabled &&= run.state === "training";
    bar.value = run.steps ? run.step / run.steps : 0;
    const measured = distance(run.distance);
    const shown = [
      ["Step", `${whole(run.step)} of ${whole(run.steps)}`],
      ["Time left", run.seconds_left != null ? duration(run.seconds_left) : null],
      ["Images/s", run.images_per_second ? whole(run.images_per_second) : null],
      [measured?.name ?? "Distance", measured ? brief(measured.value) : null],
      ["Best at step", run.best_step != null ? whole(run.best_step) : null],
      ["Recipe", run.recipe],
      ["Data set", [run.dataset, ...run.classes].join(", ")],
    ];
    const fact = ([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, text));
    facts.replaceChildren(...shown.filter(([, text]) => text).map(fact));
    resume.hidden = run.state !== "stopped";
    resume.textContent = "The command that continues it: candle-gan --resume RUN, with the run's directory for RUN.";
    const signature = JSON.stringify([run.step, run.state, run.distance]);
    if (signature !== last) refresh();
    last = signature;
  }

  const head = el("div", { class: "line spread" }, el("div", { class: "line" }, el("h1", {}, name), state), el("div", { class: "line" }, cancel, stop));
  const element = el(
    "div",
    { class: "stack" },
    head,
    said.element,
    el("section", { class: "card stack" }, bar, facts, resume),
    warned,
    el("div", { class: "columns" }, gallery, diagrams.element),
    el("details", { class: "card" }, el("summary", {}, "Configuration"), config),
  );
  image.hidden = true;
  grids.element.hidden = true;
  stop.hidden = true;
  const close = () => {
    isClosed = true;
    diagrams.close();
  };
  return { title: name, element, update, close };
}
