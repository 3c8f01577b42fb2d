// The web page in a real browser: `cargo xtask browser-test` copies this file beside playwright-core and
// runs it. Environment: PROGRAM (candle-gan), CHROMIUM, WEIGHTS (assets/weights), SCREENSHOTS (a directory,
// optional), SOAK (minutes of opening and closing pages, optional).

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { chromium } from "playwright-core";

const { PROGRAM, CHROMIUM, WEIGHTS, SCREENSHOTS, SOAK } = process.env;
/** Milliseconds that anything may take. The machine may be shared. */
const PATIENCE = 120_000;
const WIDTHS = [1280, 390];

const place = mkdtempSync(join(tmpdir(), "candle-gan-"));
const runs = join(place, "runs");
const children = [];

function start(...args) {
  const child = spawn(PROGRAM, args, { cwd: place, stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  child.exited = new Promise((resolve) => child.on("exit", resolve));
  child.stderr.resume();
  return child;
}

function succeed(...args) {
  const { status, stderr } = spawnSync(PROGRAM, args, { cwd: place, encoding: "utf8" });
  assert.equal(status, 0, `${args.join(" ")}: ${stderr}`);
}

async function until(what, check) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = await check();
    if (found) return found;
    assert(Date.now() < end, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function serve() {
  const child = start("serve", "--port", "0", "--threads", "1", "--runs", runs, "--weights", WEIGHTS);
  child.stdout.setEncoding("utf8");
  let line = "";
  child.stdout.on("data", (text) => (line += text));
  await until("the address", () => line.includes("\n"));
  return { url: line.trim(), child };
}

/** Writes one latent as a NumPy file. */
function writeLatent(path, latent) {
  let header = `{'descr': '<f4', 'fortran_order': False, 'shape': (1, ${latent.length}), }`;
  header = header.padEnd(117) + "\n";
  const head = Buffer.concat([Buffer.from("\x93NUMPY\x01\x00", "latin1"), Buffer.from([118, 0]), Buffer.from(header)]);
  writeFileSync(path, Buffer.concat([head, Buffer.from(new Float32Array(latent).buffer)]));
}

/** The values of an image in the page, red of each pixel. */
const drawn = (page, source) =>
  page.evaluate(async (source) => {
    const image = source ? new Image() : document.querySelector("#drawn");
    if (source) image.src = source;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return [...context.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, i) => i % 4 === 0);
  }, source);

const latentOf = async (page) => JSON.parse(await page.getAttribute("#drawn", "data-latent"));

/** Does something that must change the image, and returns the new latent. */
async function changes(page, what, act) {
  const before = await page.getAttribute("#drawn", "data-latent");
  await act();
  await until(`${what} changes the latent`, async () => (await page.getAttribute("#drawn", "data-latent")) !== before);
  return latentOf(page);
}

async function screenshots(page, name) {
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: width > 500 ? 860 : 844 });
    await page.waitForTimeout(300);
    const across = await page.evaluate(() => document.documentElement.scrollWidth);
    assert(across <= width, `${name}: ${across} pixels across at ${width}`);
    if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, `${name}-${width}.png`), fullPage: true });
  }
  await page.setViewportSize({ width: WIDTHS[0], height: 860 });
}

const checks = [];
const check = (name, act) => checks.push([name, act]);

check("a run that trains shows its growing curves", async ({ page, url, run }) => {
  await page.goto(url);
  await page.getByRole("link", { name: run }).waitFor();
  await page.getByRole("checkbox").first().check();
  await page.locator(".chart path").first().waitFor();
  await screenshots(page, "runs");
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
  writeLatent(join(place, "latent.npy"), latent);
  succeed("generate", "--weights", join(WEIGHTS, "digits"), "--latents", "latent.npy", "--class", "3", "--format", "png", "--out", "same", "--force");
  const png = readFileSync(join(place, "same", "000000.png")).toString("base64");
  const wanted = await drawn(page, `data:image/png;base64,${png}`);
  const difference = Math.max(...wanted.map((value, i) => Math.abs(value - shown[i])));
  assert(wanted.length === 784 && difference <= 2, `they differ by ${difference} of 255`);
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
}, );

check("stop writes a checkpoint", async ({ page, url, run, training }) => {
  await page.goto(`${url}#/run/${run}`);
  await page.getByRole("button", { name: "Stop training" }).click();
  assert.equal(training.exitCode, null, "one click asks only");
  await page.getByRole("button", { name: "Write a checkpoint and stop" }).click();
  assert.equal(await training.exited, 130);
  await page.locator(".pill.stopped").waitFor();
  const last = readdirSync(join(runs, run, "checkpoints")).filter((name) => /^\d+$/.test(name)).sort().at(-1);
  assert(existsSync(join(runs, run, "generator", "model.safetensors")) && Number(last) > 0);
});

check("a run that is removed is said to be gone, and dark colours are readable", async ({ page, run }) => {
  await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
  await screenshots(page, "run-dark");
  rmSync(join(runs, run), { recursive: true });
  await page.getByText("This run is not there any more.").waitFor();
});

/** Resident memory in MiB and open descriptors of a process. */
function usage(pid) {
  const memory = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1] / 1024;
  return { memory, descriptors: readdirSync(`/proc/${pid}/fd`).length };
}

/** Opens, reloads and closes pages for some minutes. */
async function soak({ browser, url, server, run }) {
  const end = Date.now() + SOAK * 60_000;
  const views = ["", `#/run/${run}`, "#/play/weights/digits", "#/judge", "#/invert"];
  let [pages, shown] = [0, 0];
  while (Date.now() < end) {
    const page = await browser.newPage();
    await page.goto(url + views[pages++ % views.length]);
    await page.waitForTimeout(300);
    await page.reload();
    await page.waitForTimeout(300);
    await page.close();
    if (Date.now() >= shown) {
      const { memory, descriptors } = usage(server.pid);
      console.log(`browser-test: ${pages} pages, ${memory.toFixed(1)} MiB, ${descriptors} descriptors`);
      shown = Date.now() + 60_000;
    }
  }
  await new Promise((resolve) => setTimeout(resolve, 12_000));
  const { memory, descriptors } = usage(server.pid);
  console.log(`browser-test: ${pages} pages, ${memory.toFixed(1)} MiB, ${descriptors} descriptors 12 s after the last`);
}

async function main() {
  if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });
  const training = start("--digit", "5", "--threads", "1", "--steps", "1000000", "--out", runs);
  const run = await until("a run with a checkpoint", () => {
    const [name] = existsSync(runs) ? readdirSync(runs).filter((name) => !name.startsWith(".")) : [];
    return name && existsSync(join(runs, name, "generator")) && name;
  });
  const { url, child: server } = await serve();
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  const page = await browser.newPage({ viewport: { width: WIDTHS[0], height: 860 } });
  page.setDefaultTimeout(PATIENCE);
  const faults = [];
  const isExpected = (text) => /status of 4(04|22)/.test(text);
  page.on("console", (message) => {
    if (message.type() === "error" && !isExpected(message.text())) faults.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("request", (request) => {
    const is_own = [url, "data:", `blob:${url}`].some((own) => request.url().startsWith(own));
    if (!is_own) faults.push(`request: ${request.url()}`);
  });
  const context = { page, url, run, training, browser, server };
  if (SOAK) return soak(context).finally(() => browser.close());
  for (const [name, act] of checks) {
    const began = Date.now();
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

main()
  .catch((error) => {
    console.error(`browser-test: ${error.message}`);
    process.exitCode = 1;
  })
  .finally(() => {
    for (const child of children) child.kill("SIGKILL");
    rmSync(place, { recursive: true, force: true });
    // The browser of a check that failed.
    setTimeout(() => process.exit(), 2000).unref();
  });
