// Draws with a generator: class, seed, principal directions, truncation, interpolation.

import { brief, el, getJson, path, post, slider, status } from "./dom.js";

/** Images between two pinned ones. */
const BETWEEN = 9;

/** A latent that another view hands over, for the generator that is opened next. */
let handed = null;
export function openWith(choice, drawing) {
  handed = drawing;
  location.hash = `#/play/${choice.kind}/${encodeURIComponent(choice.name)}`;
}

export const title = ({ kind, name }) =>
  ({ run: name, best: `${name}, best step`, weights: `${name} (weights)` })[kind];

/** A list to choose a generator from; `chosen` gets each choice. */
export function generatorList(wanted, chosen) {
  const select = el("select");
  const said = status();
  const element = el("label", { class: "field" }, el("span", { class: "small soft" }, "Generator"), select);
  getJson("/api/generators")
    .then((all) => {
      if (!all.length) {
        said.say("No generator yet: training writes one with each checkpoint, and --weights names a directory of them.");
        return;
      }
      // The newest run first.
      const order = { run: 0, best: 1, weights: 2 };
      all.reverse();
      all.sort((a, b) => order[a.kind] - order[b.kind]);
      select.append(...all.map((choice, i) => el("option", { value: i }, title(choice))));
      const found = all.findIndex((choice) => choice.kind === wanted?.kind && choice.name === wanted?.name);
      if (wanted?.name && found < 0) said.say("This generator is not there.");
      select.value = Math.max(found, 0);
      select.addEventListener("change", () => chosen(all[select.value]));
      chosen(all[select.value]);
    })
    .catch((error) => said.say(error.message));
  return { element, status: said.element };
}

/** Buttons of which one is pressed. */
function choices(names, chosen, label) {
  const buttons = names.map((name) =>
    el("button", { "aria-pressed": "false", onclick: () => (press(name), chosen(name)) }, name),
  );
  const press = (name) => buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(names[i] === name)));
  return { element: el("div", { class: "line", role: "group", "aria-label": label }, buttons), press };
}

/** Spherical interpolation, as the program's own (White 2016). */
function slerp(from, to, t) {
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const cos = dot(from, to) / Math.sqrt(dot(from, from) * dot(to, to));
  const angle = Math.acos(Math.min(Math.max(cos, -1), 1));
  const sin = Math.sin(angle);
  const [a, b] = sin > 1e-6 ? [Math.sin((1 - t) * angle) / sin, Math.sin(t * angle) / sin] : [1 - t, t];
  return from.map((value, i) => a * value + b * to[i]);
}

export function playView(kind, name) {
  const said = status();
  const image = el("img", { class: "pixels", id: "drawn", alt: "" });
  const download = el("a", { class: "button", download: "image.png", "aria-disabled": "true" }, "Download PNG");
  const controls = el("div", { class: "stack" });
  const strip = el("div", { class: "strip" });
  const pins = { A: null, B: null };

  let choice = null;
  let about = null;
  let player = 0;
  let base = [];
  let directions = [];
  let amounts = [];
  const now = { seed: 1, fixed: null, class: null, truncation: 1, between: null };

  const of = (...more) => path("generators", choice.kind, choice.name, ...more);

  /** What is drawn: the pinned images' interpolation, or the latent of seed, truncation and sliders. */
  function drawing() {
    if (now.between != null && pins.A && pins.B) return between(now.between);
    const latent = base.map((value, i) =>
      directions.reduce((sum, direction, j) => sum + amounts[j] * direction[i], now.truncation * value),
    );
    return { latent, class: now.class };
  }

  const between = (t) => ({
    latent: slerp(pins.A.latent, pins.B.latent, t),
    class: t < 0.5 ? pins.A.class : pins.B.class,
  });

  const draw = async (latents, className) => {
    const response = await post(of("images"), JSON.stringify({ latents, class: className }));
    return URL.createObjectURL(await response.blob());
  };

  // One request at a time; what changed meanwhile is drawn next.
  let isDrawing = false;
  let isStale = false;
  async function redraw() {
    isStale = true;
    if (isDrawing) return;
    isDrawing = true;
    while (isStale) {
      isStale = false;
      const shown = drawing();
      const mine = player;
      if (!shown.latent.length) break;
      try {
        const url = await draw([shown.latent], shown.class);
        if (mine !== player) URL.revokeObjectURL(url);
        else show(url, shown);
        said.say();
      } catch (error) {
        said.say(error.message);
      }
    }
    isDrawing = false;
  }

  function show(url, shown) {
    if (image.src) URL.revokeObjectURL(image.src);
    image.src = url;
    image.alt = `Image by ${title(choice)}${shown.class ? `, class ${shown.class}` : ""}`;
    image.dataset.latent = JSON.stringify(shown.latent);
    image.dataset.class = shown.class ?? "";
    download.href = url;
    download.removeAttribute("aria-disabled");
    download.download = `${choice.name}${shown.class ? `-${shown.class}` : ""}-seed-${now.seed}.png`;
  }

  async function seed() {
    const [mine, wanted] = [player, now.seed];
    try {
      const latent = now.fixed ?? (await getJson(`${of("latent")}?seed=${wanted}`));
      if (mine !== player || wanted !== now.seed) return;
      base = latent;
      redraw();
    } catch (error) {
      said.say(error.message);
    }
  }

  let finding = null;
  let isClosed = false;

  /** Asks for the directions of the class; what asked for those of another is given up. */
  async function findDirections() {
    const mine = player;
    finding?.abort();
    finding = new AbortController();
    rows.replaceChildren(el("p", { class: "soft small" }, "The principal directions are computed."));
    try {
      const wanted = now.class ? `?class=${encodeURIComponent(now.class)}` : "";
      const found = await getJson(of("directions") + wanted, { signal: finding.signal });
      if (mine !== player) return;
      directions = found.directions;
      amounts = directions.map((_, i) => amounts[i] ?? 0);
      sliders = directions.map((_, i) =>
        slider(`Direction ${i + 1}`, {
          min: -4,
          max: 4,
          step: 0.1,
          value: amounts[i],
          oninput: (value) => {
            amounts[i] = value;
            changed();
          },
        }),
      );
      sliders.forEach((one, i) => {
        one.label.append(el("span", { class: "soft" }, ` ${Math.round(100 * found.explained[i])}%`));
      });
      rows.replaceChildren(...sliders.map((one) => one.element));
      redraw();
    } catch (error) {
      if (mine === player && error.name !== "AbortError") rows.replaceChildren(el("p", { class: "bad small" }, error.message));
    }
  }

  let sliders = [];
  const rows = el("div", { id: "directions" });
  const number = el("input", { type: "number", min: 0, max: 4294967295, step: 1, value: now.seed, "aria-label": "Seed" });
  const setSeed = (to) => {
    now.seed = to;
    now.fixed = null;
    number.value = to;
    note.hidden = true;
    leaveBetween();
    seed();
  };
  const note = el("span", { class: "small soft", hidden: true }, "from the image that was inverted");
  number.addEventListener("input", () => {
    if (number.value !== "" && number.validity.valid) setSeed(Number(number.value));
  });
  const random = el("button", { class: "main", onclick: () => setSeed(Math.floor(Math.random() * 1e6)) }, "Random");
  const truncation = slider("Truncation", {
    min: 0,
    max: 1.5,
    step: 0.05,
    value: 1,
    oninput: (value) => {
      now.truncation = value;
      changed();
    },
  });
  const reset = el(
    "button",
    {
      onclick: () => {
        amounts = amounts.map(() => 0);
        sliders.forEach((one) => one.set(0));
        now.truncation = 1;
        truncation.set(1);
        changed();
      },
    },
    "Reset sliders",
  );

  const mix = slider("From A to B", {
    min: 0,
    max: 1,
    step: 0.01,
    value: 0,
    oninput: (value) => {
      now.between = value;
      redraw();
    },
  });
  function leaveBetween() {
    now.between = null;
  }
  /** Draws what a control has changed. */
  function changed() {
    leaveBetween();
    redraw();
  }
  const places = { A: el("div", { class: "empty" }, "A"), B: el("div", { class: "empty" }, "B") };
  async function pin(letter) {
    const mine = player;
    const shown = drawing();
    try {
      const url = await draw([shown.latent], shown.class);
      if (mine !== player) return;
      pins[letter] = shown;
      const picture = el("img", { class: "pixels", alt: `Pinned image ${letter}`, src: url });
      places[letter].replaceWith(picture);
      places[letter] = picture;
      if (!pins.A || !pins.B) return;
      mix.input.disabled = false;
      await fillStrip(mine);
    } catch (error) {
      said.say(error.message);
    }
  }
  async function fillStrip(mine) {
    const images = [];
    for (let i = 0; i < BETWEEN; i++) {
      const one = between(i / (BETWEEN - 1));
      images.push(el("img", { class: "pixels", alt: `${Math.round((100 * i) / (BETWEEN - 1))}% of the way`, src: await draw([one.latent], one.class) }));
    }
    if (mine === player) strip.replaceChildren(...images);
  }
  const pinA = el("button", { onclick: () => pin("A") }, "Pin as A");
  const pinB = el("button", { onclick: () => pin("B") }, "Pin as B");

  function clearPins() {
    for (const letter of ["A", "B"]) {
      pins[letter] = null;
      const place = el("div", { class: "empty" }, letter);
      places[letter].replaceWith(place);
      places[letter] = place;
    }
    strip.replaceChildren();
    mix.input.disabled = true;
    mix.set(0);
    now.between = null;
  }

  async function open(next) {
    if (isClosed) return;
    const mine = ++player;
    choice = next;
    said.say();
    clearPins();
    [base, directions, amounts] = [[], [], []];
    try {
      about = await getJson(of());
      if (mine !== player) return;
      const taken = handed;
      handed = null;
      now.class = about.conditional ? (taken?.class ?? about.classes[0]) : null;
      now.fixed = taken?.latent ?? null;
      note.hidden = !now.fixed;
      const buttons = choices(about.classes, (one) => {
        now.class = one;
        changed();
        findDirections();
      }, "Class");
      if (about.conditional) buttons.press(now.class);
      controls.replaceChildren(
        ...(about.conditional ? [el("div", { class: "field" }, el("span", { class: "small soft" }, "Class"), buttons.element)] : []),
        el("div", { class: "field" }, el("span", { class: "small soft" }, "Seed"), el("div", { class: "line" }, number, random, note)),
        truncation.element,
      );
      await seed();
      await findDirections();
    } catch (error) {
      said.say(error.message);
    }
  }

  const list = generatorList(kind && { kind, name }, open);
  mix.input.disabled = true;
  const pictures = el("section", { class: "card stack" }, image, el("div", { class: "line" }, pinA, pinB, download));
  const interpolation = el(
    "section",
    { class: "card stack" },
    el("h2", {}, "Interpolation"),
    el("div", { class: "pins" }, places.A, places.B, el("p", { class: "small soft" }, "Pin two images, then move from one to the other.")),
    mix.element,
    strip,
  );
  const principal = el(
    "section",
    { class: "card stack" },
    el(
      "div",
      { class: "line spread" },
      el("h2", {}, "Principal directions of the first layer's outputs"),
      reset,
    ),
    el("p", { class: "small soft" }, "In standard deviations, with the part of the variance that each explains (GANSpace, Haerkoenen et al. 2020)."),
    rows,
  );
  const element = el(
    "div",
    { class: "stack" },
    el("h1", {}, "Play"),
    list.status,
    said.element,
    el("div", { class: "columns" }, pictures, el("div", { class: "stack" }, el("section", { class: "card stack" }, list.element, controls), principal, interpolation)),
  );
  const close = () => {
    isClosed = true;
    finding?.abort();
    player++;
    if (image.src) URL.revokeObjectURL(image.src);
  };
  return { title: "Play", element, close };
}
