// The controls of the page.
"use strict";

(() => {
  const $ = (id) => document.getElementById(id);
  const model = JSON.parse($("model").textContent);
  const text = atob($("weights").textContent.trim());
  const network = Gan.load(model, Uint8Array.from(text, (c) => c.charCodeAt(0)));
  const { config, directions } = model;
  const [channels, height, width] = config.image;

  const state = { label: 0, pins: {} };
  const sliders = [];

  // Standard normal numbers from a seed: mulberry32 and Box-Muller.
  function latent(seed) {
    let a = seed >>> 0;
    const uniform = () => {
      a = (a + 0x6d2b79f5) | 0;
      let t = Math.imul(a ^ (a >>> 15), 1 | a);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    const draw = () => {
      let value = normal();
      while (config.latent_distribution === "truncated_normal" && Math.abs(value) > 2) value = normal();
      return value;
    };
    return Float32Array.from({ length: config.latent_dim }, draw);
  }

  // Spherical interpolation, as `candle-gan interpolate` does it.
  function slerp(a, b, t) {
    const norm = (v) => Math.hypot(...v);
    const cosine = a.reduce((sum, value, i) => sum + value * b[i], 0) / (norm(a) * norm(b) || 1);
    const angle = Math.acos(Math.min(Math.max(cosine, -1), 1)), sine = Math.sin(angle);
    const [p, q] = sine < 1e-4 ? [1 - t, t] : [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine];
    return a.map((value, i) => p * value + q * b[i]);
  }

  function current() {
    const { a, b } = state.pins, t = Number($("between").value);
    const scale = Number($("truncation").value);
    // Pinned latents have the sliders in them.
    if (a && b && t > 0) return { z: slerp(a.z, b.z, t), label: t < 0.5 ? a.label : b.label };
    const z = latent(Number($("seed").value)).map((v) => v * scale);
    sliders.forEach((slider, k) => {
      const by = Number(slider.value);
      if (by) z.forEach((_, i) => { z[i] += by * directions[k][i]; });
    });
    return { z, label: state.label };
  }

  // Bytes as `candle-gan generate` rounds them.
  const byte = (value) => Math.min(255, Math.max(0, Math.round((value + 1) * 127.5)));

  function paint(canvas, values) {
    [canvas.width, canvas.height] = [width, height];
    const pixels = canvas.getContext("2d").createImageData(width, height);
    const of = (c, at) => byte(values[c * width * height + at]);
    for (let at = 0; at < width * height; at++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * at + c] = of(channels < 3 ? 0 : c, at);
      pixels.data[4 * at + 3] = channels === 4 ? of(3, at) : 255;
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  }

  function draw() {
    const start = performance.now();
    const { z, label } = current();
    state.z = z;
    state.drawn = label;
    state.values = Gan.forward(network, z, label);
    paint($("image"), state.values);
    $("image").dataset.latent = JSON.stringify([...state.z]);
    $("time").textContent = `${(performance.now() - start).toFixed(1)} ms`;
    for (const output of document.querySelectorAll("output"))
      output.textContent = Number($(output.htmlFor.value).value).toFixed(2);
  }

  function slider(name, at) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), {
      type: "range", id: `direction-${at}`, min: -4, max: 4, step: 0.05, value: 0,
    });
    const output = document.createElement("output");
    output.htmlFor.add(input.id);
    label.append(name, input, output);
    $("directions").append(label);
    sliders.push(input);
  }

  function pin(name) {
    state.pins[name] = { z: state.z.slice(), label: state.drawn };
    paint($(`image-${name}`), state.values);
    $("between").disabled = !(state.pins.a && state.pins.b);
  }

  if (config.conditional) {
    $("classes").hidden = false;
    config.classes.forEach((name, label) => {
      const button = Object.assign(document.createElement("button"), { textContent: name });
      const press = () => [...$("classes").querySelectorAll("button")].forEach((other, at) =>
        other.setAttribute("aria-pressed", at === state.label));
      button.addEventListener("click", () => {
        state.label = label;
        $("between").value = 0;
        press();
        draw();
      });
      $("classes").append(button, " ");
      press();
    });
  }
  for (const name of ["a", "b"]) [$(`image-${name}`).width, $(`image-${name}`).height] = [width, height];
  $("directions").hidden = directions.length === 0;
  directions.forEach((_, at) => slider(`${at + 1}`, at));
  // Every other control leaves the interpolation.
  document.addEventListener("input", (event) => {
    if (event.target.id !== "between") $("between").value = 0;
    draw();
  });
  $("again").addEventListener("click", () => {
    $("seed").value = Math.floor(Math.random() * 4294967296);
    $("between").value = 0;
    draw();
  });
  $("reset").addEventListener("click", () => {
    for (const input of sliders) input.value = 0;
    [$("truncation").value, $("between").value] = [1, 0];
    draw();
  });
  for (const name of ["a", "b"]) $(`pin-${name}`).addEventListener("click", () => pin(name));
  $("save").addEventListener("click", () => {
    const link = document.createElement("a");
    [link.href, link.download] = [$("image").toDataURL("image/png"), "image.png"];
    link.click();
  });
  draw();
})();
