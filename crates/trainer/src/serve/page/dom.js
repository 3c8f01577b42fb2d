// Elements, requests and numbers.

/** An element. Properties that begin with "on" are listeners, others are attributes. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** Sends a request. A failure is an error whose text the server gave. */
export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the program does not answer");
  }
  if (!response.ok) throw new Error((await response.text()) || `status ${response.status}`);
  return response;
}

export const getJson = async (path, options) => (await request(path, options)).json();

export const post = (path, body) => request(path, { method: "POST", body });

/** The path of a run or generator in the interface. */
export const path = (...names) => "/api/" + names.map(encodeURIComponent).join("/");

export const whole = (value) => Math.round(value).toLocaleString("en");

/** A value with about three digits. */
export function brief(value) {
  if (value == null) return "";
  const size = Math.abs(value);
  if (size >= 1000) return whole(value);
  if (size === 0) return "0";
  if (size < 0.001) return value.toExponential(1);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

export function duration(seconds) {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, "0")} min`;
}

/** The number of a measured distance, and its name. */
export function distance(of) {
  if (!of) return null;
  const [name, value] = Object.entries(of).find(([key]) => key.startsWith("fd-")) ?? [];
  return name ? { name, value } : null;
}

/** Sets a text. One that is there already is not drawn again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Calls `work` when it is asked for: one call at a time, so that no older answer follows a newer one, and once
 * more for what was asked meanwhile. Between the ends and beginnings of calls are `pause` milliseconds.
 */
export function repeated(work, pause = 0) {
  let isAsked = false;
  let isBusy = false;
  async function ask() {
    isAsked = true;
    if (isBusy) return;
    isBusy = true;
    while (isAsked && !ask.isClosed) {
      isAsked = false;
      await work();
      if (pause) await new Promise((resolve) => setTimeout(resolve, pause));
    }
    isBusy = false;
  }
  ask.isClosed = false;
  ask.close = () => (ask.isClosed = true);
  return ask;
}

/** A line that says what went wrong, or nothing. */
export function status() {
  const element = el("p", { role: "status", class: "small bad", hidden: true });
  const say = (text, isBad = true) => {
    setText(element, text ?? "");
    element.hidden = !text;
    element.classList.toggle("bad", isBad);
  };
  return { element, say };
}

/** Shows a run's state in an element; nothing without a run. */
export function pills(element, run) {
  const kinds = [run?.state, run?.collapse && "collapsed"].filter(Boolean);
  if (element.dataset.kinds === kinds.join()) return;
  element.dataset.kinds = kinds.join();
  element.replaceChildren(el("span", { class: "line" }, kinds.map((kind) => el("span", { class: `pill ${kind}` }, kind))));
}

/** A slider with its name and value. */
export function slider(name, { min, max, step, value, oninput, show = brief }) {
  const output = el("output", {}, show(value));
  const input = el("input", { type: "range", min, max, step, value, "aria-label": name });
  const label = el("span", { class: "small" }, name);
  const set = (to) => {
    input.value = to;
    output.textContent = show(Number(input.value));
  };
  input.addEventListener("input", () => {
    output.textContent = show(Number(input.value));
    oninput(Number(input.value));
  });
  return { element: el("div", { class: "slider" }, label, input, output), input, label, set };
}
