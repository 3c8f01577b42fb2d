// What an open page costs the run that it shows: windows of time with and without the page, in turns. The browser
// runs all the time, and nothing but the page differs. Environment: PROGRAM, CHROMIUM, WEIGHTS, and PAIRS, the
// number of pairs of windows.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { CHROMIUM, finish, found, place, serve, sleep, start, train } from "./program.mjs";

/** Milliseconds of a window, and those before it in which the page is opened or closed. */
const WINDOW = 20_000;
const SETTLE = 4_000;
const PAIRS = Number(process.env.PAIRS);

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

/** Seconds of processor time of a process and all that it started, which Linux counts in hundredths. */
function seconds(root) {
  const parents = new Map();
  const times = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /, "").split(" ");
      parents.set(Number(pid), Number(fields[1]));
      times.set(Number(pid), (Number(fields[11]) + Number(fields[12])) / 100);
    } catch {
      // It has ended.
    }
  }
  const belongs = (pid) => pid === root || (parents.has(pid) && belongs(parents.get(pid)));
  return [...times].reduce((sum, [pid, time]) => sum + (belongs(pid) ? time : 0), 0);
}

/** The browser without a driver, which would take time of its own: pages are opened by its interface. */
async function launch() {
  const flags = ["--headless", "--no-sandbox", "--window-size=1280,860", "--remote-debugging-port=0"];
  const child = start([...flags, `--user-data-dir=${join(place, "browser")}`, "about:blank"], CHROMIUM);
  const address = await found(child, /^DevTools listening on ws:\/\/([^/]+)/);
  const ask = async (path, method = "GET") => (await fetch(`http://${address}/json/${path}`, { method })).text();
  const open = async (url) => JSON.parse(await ask(`new?${encodeURIComponent(url)}`, "PUT")).id;
  return { child, open, close: (id) => ask(`close/${id}`) };
}

async function main() {
  const steps = [];
  const training = train("--progress", "json");
  const { run, child } = await training;
  child.on("line", (line) => {
    const event = line.startsWith("{") ? JSON.parse(line) : {};
    if (event.event === "progress") steps.push([performance.now(), event.step]);
  });
  const server = await serve();
  const browser = await launch();

  /** Milliseconds of a step (the median over the lines of progress), and the processor time a minute. */
  async function measure(isOpen) {
    const page = isOpen && (await browser.open(`${server.url}#/run/${run}`));
    await sleep(SETTLE);
    const before = [seconds(browser.child.pid), seconds(server.child.pid)];
    steps.length = 0;
    await sleep(WINDOW);
    const perMinute = [browser, server].map(({ child }, i) => ((seconds(child.pid) - before[i]) * 60_000) / WINDOW);
    const times = steps.slice(1).map(([time, step], i) => (time - steps[i][0]) / (step - steps[i][1]));
    if (page) await browser.close(page);
    return { step: median(times), perMinute };
  }

  const ratios = [];
  const open = [];
  const idle = [];
  for (let i = 0; i < PAIRS; i++) {
    // In turns, so that a drift of the machine's speed counts for neither.
    const order = i % 2 ? [true, false] : [false, true];
    const pair = {};
    for (const isOpen of order) pair[isOpen] = await measure(isOpen);
    ratios.push(pair.true.step / pair.false.step);
    open.push(pair.true.perMinute);
    idle.push(pair.false.perMinute);
    const of = ({ step, perMinute: [browser, server] }) =>
      `${step.toFixed(2)} ms a step, browser ${browser.toFixed(1)} and server ${server.toFixed(2)} s of CPU a minute`;
    console.log(`browser-test: page open: ${of(pair.true)}; no page: ${of(pair.false)}`);
  }
  // A page that does not load, or listens to nothing, would cost nothing.
  const asked = [open, idle].map((all) => median(all.map((one) => one[1])));
  if (asked[0] <= asked[1]) throw new Error("the page asked for nothing while it was open");
  const of = (all, i) => median(all.map((one) => one[i])).toFixed(2);
  console.log(
    `browser-test: an open page takes ${of(open, 0)} s (browser; ${of(idle, 0)} s without) and ${of(open, 1)} s (server) ` +
      `of CPU a minute, and makes a step ${((median(ratios) - 1) * 100).toFixed(1)}% longer ` +
      `(median of ${PAIRS} pairs, from ${((Math.min(...ratios) - 1) * 100).toFixed(1)}% to ${((Math.max(...ratios) - 1) * 100).toFixed(1)}%)`,
  );
}

finish(main);
