// The web page in a real browser: `cargo xtask browser-test` copies these files beside playwright-core and runs this
// one. Environment: PROGRAM (candle-gan), CHROMIUM, WEIGHTS (assets/weights), SCREENSHOTS (a directory, optional), SOAK
// (minutes of opening and closing pages instead of the test, optional).

import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { chromium } from "playwright-core";
import { CHROMIUM, PATIENCE, SCREENSHOTS, WEIGHTS, finish, place, runs, serve, succeed, train, until } from "./program.mjs";
import { soak } from "./soak.mjs";

const { SOAK } = process.env;
const WIDTHS = [1280, 390];
/** Milliseconds of the soak that belongs to the test. */
const SHORT_SOAK = 20_000;

/** Writes one latent as a NumPy file. */
function writeLatent(path, latent) {
  let header = `{'descr': '<f4', 'fortran_order': False, 'shape': (1, ${latent.length}), }`;
  header = header.padEnd(117) + "\n";
  const head = Buffer.concat([Buffer.from("\x93NUMPY\x01\x00", "latin1"), Buffer.from([118, 0]), Buffer.from(header)]);
  writeFileSync(path, Buffer.concat([head, Buffer.from(new Float32Array(latent).buffer)]));
}

/** The values of an image or canvas in the page, red of each pixel. */
const drawn = (page, source) =>
  page.evaluate(async (source) => {
    const image = source ? new Image() : document.querySelector("#drawn, canvas#image");
    if (source) image.src = source;
    await image.decode?.();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth ?? image.width, image.naturalHeight ?? image.height];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return [...context.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, i) => i % 4 === 0);
  }, source);

/** Asserts that `generate` draws the image that a page shows of a latent, but for 2 of 255. */
async function assertGenerated(page, shown, latent, className) {
  writeLatent(join(place, "latent.npy"), latent);
  succeed("generate", "--weights", join(WEIGHTS, "digits"), "--latents", "latent.npy", "--class", className, "--format", "png", "--out", "same", "--force");
  const png = readFileSync(join(place, "same", "000000.png")).toString("base64");
  const wanted = await drawn(page, `data:image/png;base64,${png}`);
  const difference = Math.max(...wanted.map((value, i) => Math.abs(value - shown[i])));
  assert(wanted.length === 784 && difference <= 2, `they differ by ${difference} of 255`);
}

const latentOf = async (page) => JSON.parse(await page.getAttribute("#drawn", "data-latent"));

/** Does something that must change the image, and returns the new latent. */
async function changes(page, what, act) {
  const before = await page.getAttribute("#drawn", "data-latent");
  await act();
  await until(`${what} changes the latent`, async () => (await page.getAttribute("#drawn", "data-latent")) !== before);
  return latentOf(page);
}

/** Nothing is wider than the page; pictures in light and dark. */
async function screenshots(page, name) {
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: width > 500 ? 860 : 844 });
    await page.waitForTimeout(300);
    const across = await page.evaluate(() => document.documentElement.scrollWidth);
    assert(across <= width, `${name}: ${across} pixels across at ${width}`);
    for (const colorScheme of SCREENSHOTS ? ["dark", "light"] : []) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: join(SCREENSHOTS, `${name}-${width}-${colorScheme}.png`), fullPage: true });
    }
  }
  await page.setViewportSize({ width: WIDTHS[0], height: 860 });
}

const checks = [];
/** Adds a check. `refusals` are the requests that fail in it, as in "404 /api/runs/NAME". */
const check = (name, act, refusals = () => []) => checks.push({ name, act, refusals });

/** The requests of some milliseconds that ask for a path. */
async function requests(page, asked, time) {
  const before = asked.length;
  await page.waitForTimeout(time);
  const paths = asked.slice(before).map((url) => new URL(url).pathname);
  return (path) => paths.filter((one) => one === path).length;
}

check("a run that trains shows its growing curves", async ({ page, url, run }) => {
  await page.goto(url);
  await page.getByRole("link", { name: run }).waitFor();
  await page.getByRole("checkbox").first().check();
  await page.locator(".chart path").first().waitFor();
  const other = "00001-another";
  cpSync(join(runs, run), join(runs, other), { recursive: true });
  await page.getByRole("checkbox", { name: `curves of ${other}` }).check();
  for (const name of [run, other]) await page.locator(".legend li", { hasText: `${name}, generator` }).waitFor();
  await screenshots(page, "runs");
  rmSync(join(runs, other), { recursive: true });
  await page.getByRole("link", { name: other }).waitFor({ state: "detached" });
  await page.getByRole("link", { name: run }).click();
  const curve = page.locator(".chart path").first();
  await curve.waitFor();
  const steps = () => page.locator("dd").first().textContent();
  const [length, step] = [(await curve.getAttribute("d")).length, await steps()];
  await until("the curve grows", async () => (await curve.getAttribute("d")).length > length);
  await until("the step grows", async () => (await steps()) !== step);
  await page.locator("img.pixels").first().waitFor();
  await screenshots(page, "run");
});

check("a page asks for little, and for nothing while it is hidden", async ({ page, run, asked }) => {
  // The list comes by events alone, so that no older one follows a newer one.
  assert(!asked.some((url) => new URL(url).pathname === "/api/runs"));
  const shown = await requests(page, asked, 8000);
  const [curves, grids] = [`/api/runs/${run}/stats`, `/api/runs/${run}`].map(shown);
  assert(curves >= 1 && curves <= 5 && grids <= 2, `${curves} for curves, ${grids} for grids in 8 s`);
  const hide = (hidden) =>
    page.evaluate((value) => {
      Object.defineProperty(document, "hidden", { value, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await hide(true);
  // What was asked for before.
  await page.waitForTimeout(6000);
  const length = asked.length;
  await page.waitForTimeout(5000);
  assert.equal(asked.length, length, "a hidden page asks");
  await hide(false);
  await until("a page that is shown again asks", () => asked.length > length + 1);
});

check("the page draws what generate draws, and its controls change it", async ({ page, url }) => {
  await page.goto(`${url}#/play/weights/digits`);
  await page.locator("#drawn[data-latent]").waitFor();
  await page.locator("#directions input").first().waitFor({ timeout: PATIENCE });
  const first = await drawn(page);
  await changes(page, "a seed", () => page.getByLabel("Seed", { exact: true }).fill("7"));
  const slider = page.locator("#directions input").first();
  await changes(page, "a direction", () => slider.fill("2.5"));
  await slider.focus();
  await changes(page, "a key", () => page.keyboard.press("ArrowRight"));
  await page.getByRole("button", { name: "3", exact: true }).click();
  await until("the class changes", async () => (await page.getAttribute("#drawn", "data-class")) === "3");
  let latent = await changes(page, "truncation", () => page.getByLabel("Truncation").fill("0.8"));
  let shown = await drawn(page);
  // The directions of the class may arrive meanwhile and move the image once more.
  for (let now; !isDeepStrictEqual((now = await latentOf(page)), latent); latent = now) shown = await drawn(page);
  assert.notDeepEqual(shown, first);
  await assertGenerated(page, shown, latent, "3");
  await page.getByRole("button", { name: "Pin as A" }).click();
  await page.getByRole("img", { name: "Pinned image A" }).waitFor();
  await changes(page, "another seed", () => page.getByRole("button", { name: "Random" }).click());
  await page.getByRole("button", { name: "Pin as B" }).click();
  await page.locator(".strip img").nth(8).waitFor();
  await changes(page, "interpolation", () => page.getByLabel("From A to B").fill("0.5"));
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByText("Download PNG").click()]);
  assert.match(download.suggestedFilename(), /^digits-3-seed-\d+\.png$/);
  await screenshots(page, "play");
});

check("an image is inverted, and its latent is played with", async ({ page, url }) => {
  succeed("generate", "--weights", join(WEIGHTS, "fives"), "--seed", "5", "--count", "1", "--format", "png", "--out", "five");
  await page.goto(`${url}#/invert/weights/fives`);
  await page.getByLabel("Generator").waitFor();
  await page.locator("option", { hasText: "fives (weights)" }).waitFor({ state: "attached" });
  await page.setInputFiles("#file", join(place, "five", "000000.png"));
  await page.getByText("Mean squared error").waitFor({ timeout: PATIENCE });
  await screenshots(page, "invert");
  await page.getByRole("button", { name: "Play with this latent" }).click();
  await page.getByText("from the image that was inverted").waitFor();
  await page.locator("#drawn[data-latent]").waitFor();
});

check("an image is judged, and a broken file is refused in words", async ({ page, url, run }) => {
  await page.goto(`${url}#/judge/${run}`);
  await page.locator("option").first().waitFor({ state: "attached" });
  await page.setInputFiles("#file", join(place, "five", "000000.png"));
  await page.getByText("The classifier of digits sees a 5").waitFor({ timeout: PATIENCE });
  await screenshots(page, "judge");
  writeFileSync(join(place, "broken.png"), "no image");
  await page.setInputFiles("#file", join(place, "broken.png"));
  await page.getByRole("status").filter({ hasText: "JPEG" }).waitFor();
}, ({ run }) => [`422 /api/runs/${run}/judge`]);

check("the file of export-html draws what generate draws, and asks for nothing", async ({ browser, watch }) => {
  succeed("export-html", "--weights", join(WEIGHTS, "digits"), "--out", "digits.html");
  const file = pathToFileURL(join(place, "digits.html")).href;
  const page = await browser.newPage({ viewport: { width: WIDTHS[0], height: 860 } });
  const asked = watch(page, [file]);
  await page.goto(file);
  const first = await drawn(page);
  await page.getByRole("button", { name: "3", exact: true }).click();
  await page.locator("#direction-0").fill("2.5");
  await page.getByLabel("Truncation").fill("0.8");
  const shown = await drawn(page);
  assert.notDeepEqual(shown, first);
  await assertGenerated(page, shown, JSON.parse(await page.getAttribute("#image", "data-latent")), "3");
  await screenshots(page, "file");
  assert.deepEqual(asked, [file]);
  await page.close();
});

check("a run that cannot be read is shown with its error", async ({ page, url }) => {
  mkdirSync(join(runs, "broken"));
  writeFileSync(join(runs, "broken", "config.json"), "{");
  await page.goto(url);
  const row = page.getByRole("row").filter({ hasText: "not a run's configuration" });
  await row.locator(".pill.broken").waitFor();
  await row.getByRole("link").click();
  await page.getByRole("status").filter({ hasText: "not a run's configuration" }).waitFor();
  await screenshots(page, "broken");
  rmSync(join(runs, "broken"), { recursive: true });
});

check("pages come and go, and nothing grows", async ({ launch, servers, run }) => {
  await soak(launch, servers, run, SHORT_SOAK);
});

check("a refused stop can be tried again", async ({ page, url, run, training }) => {
  await page.goto(`${url}#/run/${run}`);
  await page.route("**/stop", (route) => route.fulfill({ status: 400, body: "not now" }));
  await page.getByRole("button", { name: "Stop training" }).click();
  await page.getByRole("button", { name: "Write a checkpoint and stop" }).click();
  await page.getByRole("status").filter({ hasText: "not now" }).waitFor();
  await page.unroute("**/stop");
  assert.equal(training.exitCode, null);
  assert(await page.getByRole("button", { name: "Stop training" }).isEnabled());
}, ({ run }) => [`400 /api/runs/${run}/stop`]);

check("stop writes a checkpoint", async ({ page, url, run, training }) => {
  await page.goto(`${url}#/run/${run}`);
  await page.getByRole("button", { name: "Stop training" }).click();
  assert.equal(training.exitCode, null, "one click asks only");
  await page.getByRole("button", { name: "Write a checkpoint and stop" }).click();
  assert.equal(await training.exited, 130);
  await page.locator(".pill.stopped").waitFor();
  const last = readdirSync(join(runs, run, "checkpoints")).filter((name) => /^\d+$/.test(name)).sort().at(-1);
  const lines = readFileSync(join(runs, run, "stats.jsonl"), "utf8").trim().split("\n");
  assert.equal(Number(last), JSON.parse(lines.at(-1)).step, "a checkpoint of the last step");
  assert(existsSync(join(runs, run, "generator", "model.safetensors")));
});

check("a run that is removed is said to be gone", async ({ page, run }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  rmSync(join(runs, run), { recursive: true });
  await page.getByText("This run is not there any more.").waitFor();
});

/** What of a page is wrong: errors, requests to other places, two requests at a time for the same part of a run. */
function watcher(faults, own, refusals) {
  const isRefusal = (message) => {
    const [, status] = /status of (\d+)/.exec(message.text()) ?? [];
    return status && refusals().includes(`${status} ${decodeURI(new URL(message.location().url).pathname)}`);
  };
  return (page, places = own) => {
    const asked = [];
    const open = new Set();
    const part = (request) => /\/api\/runs\/.*/.exec(new URL(request.url()).pathname)?.[0];
    page.on("console", (message) => {
      if (message.type() === "error" && !isRefusal(message)) {
        faults.push(`console: ${message.text()} ${message.location().url}`);
      }
    });
    page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
    page.on("request", (request) => {
      asked.push(request.url());
      if (!["data:", ...places].some((own) => request.url().startsWith(own))) faults.push(`request: ${request.url()}`);
      if (open.has(part(request))) faults.push(`again before the answer: ${request.url()}`);
      if (part(request)) open.add(part(request));
    });
    for (const end of ["requestfinished", "requestfailed"]) page.on(end, (request) => open.delete(part(request)));
    return asked;
  };
}

async function main() {
  if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });
  const { run, url: trainingUrl, child: training } = await train("--threads", "1");
  const { url, child: server } = await serve();
  const servers = [
    { name: "the server", url, child: server },
    { name: "the run that serves itself", url: trainingUrl, child: training },
  ];
  const launch = () => chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  if (SOAK) return soak(launch, servers, run, SOAK * 60_000);
  const browser = await launch();
  const page = await browser.newPage({ viewport: { width: WIDTHS[0], height: 860 } });
  page.setDefaultTimeout(PATIENCE);
  const faults = [];
  let refusals = [];
  const watch = watcher(faults, [url, `blob:${url}`], () => refusals);
  const asked = watch(page);
  const context = { page, asked, url, run, training, browser, launch, servers, watch };
  for (const { name, act, refusals: of } of checks) {
    const began = Date.now();
    refusals = of(context);
    try {
      await act(context);
      assert.deepEqual(faults, []);
    } catch (error) {
      if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, "failed.png"), fullPage: true });
      throw new Error(`${name}: ${error.message}${faults.length ? `; ${faults.join("; ")}` : ""}`);
    }
    console.log(`browser-test: ${name}, ${((Date.now() - began) / 1000).toFixed(1)} s`);
  }
  await browser.close();
}

finish(main);
