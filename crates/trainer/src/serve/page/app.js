// Chooses the view by the address, and gives it the runs as they change.

import { invertView, judgeView } from "./images.js";
import { playView } from "./play.js";
import { runView } from "./run.js";
import { runsView } from "./runs.js";

const VIEWS = { runs: runsView, run: runView, play: playView, judge: judgeView, invert: invertView };
const main = document.querySelector("#view");
const offline = document.querySelector("#offline");

/** Milliseconds until a refused connection is tried again. */
const RETRY = 5000;

let view = null;
let runs = null;
let source = null;

/** The view's name and what it shows, as in `#/run/NAME`. */
function address() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean);
  let [name = "runs", ...rest] = parts;
  try {
    rest = rest.map(decodeURIComponent);
  } catch {
    rest = [];
  }
  return VIEWS[name] ? { name, rest } : { name: "runs", rest: [] };
}

function show() {
  const { name, rest } = address();
  view?.close?.();
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.dataset.view === (name === "run" ? "runs" : name);
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  view = VIEWS[name](...rest);
  document.title = [view.title, "candle-gan"].filter(Boolean).join(" - ");
  main.replaceChildren(view.element);
  if (runs) view.update?.(runs);
}

function take(list) {
  offline.hidden = !list.error;
  if (list.error) {
    offline.textContent = list.error;
    return;
  }
  runs = list;
  view?.update?.(runs);
}

function disconnected() {
  offline.textContent =
    "The program that serves this page does not answer. It may have ended: candle-gan serve shows its runs again.";
  offline.hidden = false;
}

/**
 * Listens while the page is visible: nothing is drawn that nobody sees, and a browser opens only few connections
 * to a server. The events alone bring the list of runs, so that no older list follows a newer one.
 */
function listen() {
  if (document.hidden) {
    source?.close();
    source = null;
  } else if (!source) {
    source = new EventSource("/api/events");
    source.onmessage = (event) => take(JSON.parse(event.data));
    source.onerror = () => {
      disconnected();
      // Refused, as with too many connections: the browser does not try again by itself.
      if (source?.readyState !== EventSource.CLOSED) return;
      source = null;
      setTimeout(listen, RETRY);
    };
  }
}

window.addEventListener("hashchange", () => {
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
document.addEventListener("visibilitychange", listen);
// Its address is no view's.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
show();
listen();
