// The program that is tested, its runs and its processes.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const { PROGRAM, CHROMIUM, WEIGHTS, SCREENSHOTS } = process.env;
/** Milliseconds that anything may take. The machine may be shared. */
export const PATIENCE = 120_000;

export const place = mkdtempSync(join(tmpdir(), "candle-gan-"));
export const runs = join(place, "runs");
const children = [];

export const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

/** Starts a program, by default the one that is tested. `lines` are those that it has printed. */
export function start(args, program = PROGRAM) {
  const child = spawn(program, args, { cwd: place, stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  child.lines = [];
  child.exited = new Promise((resolve) => child.on("exit", resolve));
  for (const stream of [child.stdout, child.stderr]) {
    let rest = "";
    stream.setEncoding("utf8");
    stream.on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        child.lines.push(line);
        child.emit("line", line);
      }
    });
  }
  return child;
}

/** What a pattern's group finds in the lines of a program. */
export const found = (child, pattern) =>
  until(`${pattern}`, () => child.lines.map((line) => pattern.exec(line)?.[1]).find(Boolean));

export function succeed(...args) {
  const { status, stderr } = spawnSync(PROGRAM, args, { cwd: place, encoding: "utf8" });
  assert.equal(status, 0, `${args.join(" ")}: ${stderr}`);
}

export async function until(what, check) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const result = await check();
    if (result) return result;
    assert(Date.now() < end, `never: ${what}`);
    await sleep(100);
  }
}

/** Trains a run of fives, which serves itself, until somebody stops it. */
export async function train(...args) {
  const child = start(["--digit", "5", "--steps", "1000000", "--out", runs, "--serve=0", ...args]);
  const url = await found(child, /page (http:.*)$/);
  const run = await until("a run with a checkpoint", () => {
    const [name] = existsSync(runs) ? readdirSync(runs).filter((name) => !name.startsWith(".")) : [];
    return name && existsSync(join(runs, name, "generator")) && name;
  });
  return { run, url, child };
}

/** Serves the runs. */
export async function serve() {
  const child = start(["serve", "--port", "0", "--threads", "1", "--runs", runs, "--weights", WEIGHTS]);
  return { url: await found(child, /^(http:.*)$/), child };
}

/** Memory in MiB, without files such as the program's own, and open descriptors and threads of a process. */
export function usage({ pid }) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)[1]);
  return { memory: of("RssAnon") / 1024, descriptors: readdirSync(`/proc/${pid}/fd`).length, threads: of("Threads") };
}

/** Ends all programs and removes their files, some of which a browser may still write while it ends. */
async function cleanUp() {
  for (const child of children) child.kill("SIGKILL");
  for (let left = 50; ; left--) {
    try {
      return rmSync(place, { recursive: true, force: true });
    } catch (error) {
      if (!left) throw error;
      await sleep(100);
    }
  }
}

/** Runs a test, says what fails, and ends all that it has started. */
export function finish(main) {
  main()
    .catch((error) => {
      console.error(`browser-test: ${error.message}`);
      process.exitCode = 1;
    })
    .finally(async () => {
      await cleanUp();
      // The browser of a test that failed.
      setTimeout(() => process.exit(), 2000).unref();
    });
}
