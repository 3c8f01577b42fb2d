// Image files that are judged by a discriminator or inverted by a generator.

import { brief, el, getJson, path, request, status } from "./dom.js";
import { generatorList, openWith } from "./play.js";

/** A place to drop an image file on, or to choose one. `taken` gets each. */
function dropZone(taken) {
  const input = el("input", { type: "file", accept: "image/png,image/jpeg", id: "file" });
  const zone = el(
    "div",
    { class: "drop" },
    el("span", {}, "Drop a PNG or JPEG image here, or"),
    input,
    el("label", { class: "button", for: "file" }, "choose a file"),
    el("span", { class: "small soft" }, "It stays on this machine. It is cropped to a square and resized as in training."),
  );
  input.addEventListener("change", () => {
    if (input.files[0]) taken(input.files[0]);
    input.value = "";
  });
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files[0]) taken(event.dataTransfer.files[0]);
  });
  return zone;
}

const figure = (source, text) =>
  el("figure", {}, el("img", { class: "pixels", src: source, alt: text }), el("figcaption", {}, text));

/** Sends the newest file; what asked for an older one is given up. */
function sender(said, send, show) {
  let asked = 0, last = null;
  const ask = async (file) => {
    const mine = ++asked;
    last?.abort();
    last = new AbortController();
    said.say("The networks work on it.", false);
    try {
      const answer = await (await send(file, last.signal)).json();
      if (mine !== asked) return;
      said.say();
      show(answer);
    } catch (error) {
      if (mine === asked && error.name !== "AbortError") said.say(error.message);
    }
  };
  ask.close = () => last?.abort();
  return ask;
}

export function judgeView(name) {
  const said = status();
  const select = el("select");
  const result = el("section", { class: "card columns", hidden: true, id: "result" });
  let file = null;
  const send = sender(
    said,
    (body, signal) => request(path("runs", select.value, "judge"), { method: "POST", body, signal }),
    ({ seen, decisions, digit, step }) => {
      const largest = Math.max(...decisions.map(([, value]) => Math.abs(value)), 1);
      const rows = decisions.flatMap(([className, value]) => [
        el("span", {}, className == null ? "Decision" : `As class ${className}`),
        el("meter", { min: -largest, max: largest, value, low: 0, high: 0, optimum: largest, "aria-label": "decision value" }),
        el("span", { class: "number" }, `${value > 0 ? "+" : ""}${brief(value)} ${value > 0 ? "real" : "fake"}`),
      ]);
      const opinion = digit
        ? `The classifier of digits sees a ${digit[0]}, with a probability of ${(100 * digit[1]).toFixed(1)}%.`
        : "The classifier knows digits only.";
      result.replaceChildren(
        figure(seen, "The image as the discriminator sees it"),
        el(
          "div",
          { class: "stack" },
          el("h2", {}, `Decision value of the discriminator at step ${step}`),
          el("div", { class: "bars" }, rows),
          el("p", { class: "small soft" }, "Below 0 it takes the image for generated, above 0 for real."),
          el("p", {}, opinion),
        ),
      );
      result.hidden = false;
    },
  );
  const judge = (next) => send((file = next));
  select.addEventListener("change", () => file && send(file));
  getJson("/api/runs").then((runs) => {
    if (!runs.length) said.say("No run yet: a discriminator belongs to a run.");
    select.append(...runs.reverse().map((run) => el("option", { value: run.name }, run.name)));
    if (runs.some((run) => run.name === name)) select.value = name;
  }, (error) => said.say(error.message));
  const choice = el("label", { class: "field" }, el("span", { class: "small soft" }, "Discriminator of"), select);
  const element = el("div", { class: "stack" }, el("h1", {}, "Judge"), el("section", { class: "card stack" }, choice, dropZone(judge), said.element), result);
  return { title: "Judge", element, close: send.close };
}

export function invertView(kind, name) {
  const said = status();
  const result = el("section", { class: "card stack", hidden: true, id: "result" });
  const classes = el("select");
  const classField = el("label", { class: "field", hidden: true }, el("span", { class: "small soft" }, "Class"), classes);
  let choice = null;
  let file = null;
  const send = sender(
    said,
    (body, signal) => {
      const wanted = classes.value ? `?class=${encodeURIComponent(classes.value)}` : "";
      return request(path("generators", choice.kind, choice.name, "invert") + wanted, { method: "POST", body, signal });
    },
    (found) => {
      const as = found.class == null ? "" : ` as class ${found.class}`;
      result.replaceChildren(
        el("div", { class: "pair" }, figure(found.original, "Original"), figure(found.drawn, `Reconstruction${as}`)),
        el("p", {}, `Mean squared error ${brief(found.error)}; the best of 1,000 random latents has ${brief(found.random_error)} (values from -1 to 1).`),
        el("div", {}, el("button", { class: "main", onclick: () => openWith(choice, found) }, "Play with this latent")),
      );
      result.hidden = false;
    },
  );
  const invert = (next) => {
    file = next;
    if (choice) send(file);
  };
  classes.addEventListener("change", () => file && send(file));
  const list = generatorList(kind && { kind, name }, async (next) => {
    choice = next;
    try {
      const about = await getJson(path("generators", choice.kind, choice.name));
      classField.hidden = !about.conditional;
      const all = about.conditional ? about.classes : [];
      classes.replaceChildren(el("option", { value: "" }, "the best of all"), ...all.map((one) => el("option", { value: one }, one)));
      if (file) send(file);
    } catch (error) {
      said.say(error.message);
    }
  });
  const element = el(
    "div",
    { class: "stack" },
    el("h1", {}, "Invert"),
    el("section", { class: "card stack" }, el("div", { class: "line" }, list.element, classField), list.status, dropZone(invert), said.element),
    result,
  );
  return { title: "Invert", element, close: send.close };
}
