// The list of runs, and the curves of those that are chosen.

import { curves, History } from "./curves.js";
import { brief, distance, duration, el, pills, repeated, setText, status, whole } from "./dom.js";

/** The runs that are laid over each other, kept while the page is open. */
const chosen = new Map();

export function runsView() {
  const body = el("tbody");
  const columns = ["", "Run", "State", "Data", "Step", "Distance", "Images/s"];
  const heads = columns.map((text, i) => el("th", { scope: "col", class: i > 3 ? "number" : false }, text));
  heads[0].append(el("span", { class: "small" }, "Curves"));
  const table = el("table", { class: "runs" }, el("thead", {}, el("tr", {}, heads)), body);
  const empty = el(
    "p",
    { class: "soft", hidden: true },
    "No run yet. This one trains in a minute: ",
    el("code", {}, "candle-gan --digit 5"),
  );
  const said = status();
  const diagrams = curves();
  const hint = el("p", { class: "soft small" }, "Choose runs in the first column to see their curves over each other.");
  const rows = new Map();

  const refresh = repeated(async () => {
    try {
      await Promise.all([...chosen.values()].map((history) => history.refresh()));
      said.say();
    } catch (error) {
      said.say(error.message);
    }
    draw();
  });

  function draw() {
    diagrams.element.hidden = chosen.size === 0;
    hint.hidden = chosen.size > 0;
    diagrams.update([...chosen.values()]);
  }

  function choose(name, isChosen) {
    if (isChosen) chosen.set(name, new History(name));
    else chosen.delete(name);
    refresh();
  }

  function row(run) {
    const box = el("input", { type: "checkbox", "aria-label": `curves of ${run.name}` });
    box.checked = chosen.has(run.name);
    box.addEventListener("change", () => choose(run.name, box.checked));
    const link = el("a", { href: `#/run/${encodeURIComponent(run.name)}` }, run.name);
    const cells = [0, 1, 2, 3].map((i) => el("td", { class: i < 1 ? false : "detail" + (i > 1 ? " number" : "") }));
    const [, data, step, fd] = cells;
    const rate = el("td", { class: "detail number", "data-label": "images/s" });
    fd.dataset.label = "distance";
    step.dataset.label = "step";
    const state = el("td");
    const element = el("tr", {}, el("td", {}, box), el("td", { class: "name" }, link), state, data, step, fd, rate);
    let shown = null;
    const update = (run) => {
      const now = JSON.stringify(run);
      if (now === shown) return;
      shown = now;
      pills(state, run);
      const classes = run.classes.length ? `, ${run.classes.join(", ")}` : "";
      setText(data, run.error ?? `${run.dataset}${classes}; ${run.recipe}`);
      data.classList.toggle("bad", run.error != null);
      const left = run.seconds_left != null ? `, ${duration(run.seconds_left)} left` : "";
      setText(step, run.error ? "none" : `${whole(run.step)} of ${whole(run.steps)}${left}`);
      const measured = distance(run.distance);
      setText(fd, measured ? brief(measured.value) : "none");
      fd.title = measured?.name ?? "";
      setText(rate, run.images_per_second ? whole(run.images_per_second) : "none");
    };
    return { element, update };
  }

  function update(runs) {
    const names = new Set(runs.map((run) => run.name));
    for (const name of [...chosen.keys()]) if (!names.has(name)) chosen.delete(name);
    for (const [name, one] of rows) {
      if (!names.has(name)) {
        one.element.remove();
        rows.delete(name);
      }
    }
    // The newest first.
    runs.forEach((run) => {
      if (!rows.has(run.name)) {
        const one = row(run);
        rows.set(run.name, one);
        body.prepend(one.element);
      }
      rows.get(run.name).update(run);
    });
    empty.hidden = runs.length > 0;
    table.hidden = runs.length === 0;
    if (chosen.size || !diagrams.element.hidden) refresh();
  }

  const list = el("section", { class: "card" }, table, empty);
  const element = el("div", { class: "stack" }, el("h1", {}, "Runs"), list, hint, said.element, diagrams.element);
  draw();
  const close = () => {
    refresh.close();
    diagrams.close();
  };
  return { element, update, close };
}
