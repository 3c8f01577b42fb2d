// Opens, reloads and closes pages again and again: what serves them must not grow, and the run must not lose steps.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { runs, sleep, until, usage } from "./program.mjs";

/** Growth of the memory that is no leak, in MiB: what the largest computation takes once more in the allocator. */
const SLACK = 32;
/** Threads that read files, which come and go. */
const FILE_THREADS = 2;
/** Milliseconds that a page is shown. */
const SHOWN = 300;

/** The steps of a run's statistics, which must follow each other without a gap. */
function steps(run) {
  const lines = readFileSync(join(runs, run, "stats.jsonl"), "utf8").split("\n").slice(0, -1);
  const all = lines.map((line) => JSON.parse(line).step);
  all.forEach((step, i) => assert.equal(step, all[0] * (i + 1), "a line of statistics is missing"));
  return all;
}

/** Shows all views of all servers in turn until `end`, and returns the number of pages. */
async function visit(launch, servers, run, end) {
  const views = ["", `#/run/${run}`, "#/play/weights/digits", "#/judge", "#/invert"];
  const browser = await launch();
  let pages = 0;
  for (; pages < servers.length * views.length || Date.now() < end; pages++) {
    const page = await browser.newPage();
    page.on("pageerror", (error) => assert.fail(error.message));
    const server = servers[pages % servers.length];
    await page.goto(server.url + views[Math.floor(pages / servers.length) % views.length]);
    await page.waitForTimeout(SHOWN);
    await page.reload();
    await page.waitForTimeout(SHOWN);
    await page.close();
  }
  await browser.close();
  return pages;
}

/** Fails if the servers grow or the run loses steps in these milliseconds, after a quarter of them before. */
export async function soak(launch, servers, run, time) {
  const fresh = servers.map(({ child }) => usage(child));
  const settled = () =>
    until("all descriptors are closed and all threads have ended", () =>
      servers.every(({ child }, i) => {
        const { descriptors, threads } = usage(child);
        return descriptors <= fresh[i].descriptors && threads <= fresh[i].threads + FILE_THREADS;
      }),
    );
  // The networks are loaded, and the memory that requests take is taken.
  await visit(launch, servers, run, Date.now() + time / 4);
  await settled();
  const warm = servers.map(({ child }) => usage(child));
  const made = steps(run).length;
  const pages = await visit(launch, servers, run, Date.now() + time);
  await settled();
  servers.forEach(({ child, name }, i) => {
    const { memory, descriptors, threads } = usage(child);
    console.log(
      `browser-test: ${name} after ${pages} pages: ${memory.toFixed(1)} MiB (${warm[i].memory.toFixed(1)} after the first quarter), ` +
        `${descriptors} descriptors (${fresh[i].descriptors} before), ${threads} threads (${fresh[i].threads})`,
    );
    assert(memory <= warm[i].memory + SLACK, `${name} has grown`);
    assert.equal(child.exitCode, null);
  });
  await sleep(1000);
  assert(steps(run).length > made, "the run does not go on");
}
