//! Runs that are killed, fail to write, meet a rival, lose directories and have a clock that jumps, and are
//! resumed until they are done. Each must end with the bytes of a run that nothing disturbed.
//!
//! `cargo xtask torture` runs the long form.

#![cfg(unix)]
#![allow(clippy::print_stdout, reason = "the long form reports what it did")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::{Place, TIME_LIMIT, TINY, TINY_MLP};

/// Steps of a run.
const STEPS: u64 = 24;
/// The operation that a fault strikes is drawn up to one of these, the last of them about the last of an
/// undisturbed run.
const OPERATIONS: [u64; 3] = [20, 60, 180];
/// The program, copied so that a build cannot replace it meanwhile.
const PROGRAM: &str = "candle-gan";

/// What happens to a session.
#[derive(Debug)]
enum Disturbance {
    /// SIGKILL after this time.
    Kill(Duration),
    /// A fault of the file writer, as in `CANDLE_GAN_FAULT`.
    Fault(String),
    /// A second session of the same run.
    Rival,
    /// The run directory has another name after this time. It stands for one that is removed.
    Move(Duration),
    /// A directory of the run is removed after this time.
    Remove(&'static str, Duration),
    /// Nothing.
    Nothing,
}

/// What was done, and what went wrong.
#[derive(Debug, Default)]
struct Tally {
    chains: u64,
    sessions: u64,
    kills: u64,
    faults: u64,
    refusals: u64,
    moves: u64,
    jumps: u64,
    removals: u64,
    differences: Vec<String>,
}

/// Chains of sessions in a directory.
struct Torture {
    place: Place,
    rng: ChaCha8Rng,
    tally: Tally,
    /// How long the undisturbed run of each recipe takes, and its files.
    whole: BTreeMap<&'static str, (Duration, BTreeMap<String, Vec<u8>>)>,
}

/// How a session ended.
struct Ended {
    code: Option<i32>,
    err: String,
}

impl Torture {
    fn new(seed: u64) -> Self {
        let place = Place::new();
        fs::copy(env!("CARGO_BIN_EXE_candle-gan"), place.path(PROGRAM)).unwrap();
        let often = |recipe: &str| {
            let recipe = recipe.replace("checkpoint_every = 5", "checkpoint_every = 3");
            format!("stats_every = 1\n{recipe}")
        };
        place.write("plain.toml", often(TINY));
        place.write("dropout.toml", often(TINY_MLP));
        place.write("measured.toml", format!("measure_every = 8\n{}", often(TINY)));
        let mut torture = Self {
            place,
            rng: ChaCha8Rng::seed_from_u64(seed),
            tally: Tally::default(),
            whole: BTreeMap::new(),
        };
        for recipe in ["plain", "dropout", "measured"] {
            let (started, out) = (Instant::now(), format!("whole-{recipe}"));
            let ended = torture.session(&begin(recipe, &out), &Disturbance::Nothing);
            assert_eq!(ended.code, Some(0), "{}", ended.err);
            let length = started.elapsed();
            torture.whole.insert(recipe, (length, torture.files(&out, recipe)));
        }
        torture
    }

    /// Disturbs a run up to `sessions` times, then lets it end, and compares it.
    fn chain(&mut self, recipe: &'static str, sessions: u64) {
        let out = format!("chain-{}", self.tally.chains);
        self.tally.chains += 1;
        let run = run_of(&out, recipe);
        let mut removed = BTreeSet::new();
        for session in 0.. {
            assert!(session < sessions + 5, "{run} does not end");
            let args = match self.place.path(&run).exists() {
                true => format!("--resume {run}"),
                false => begin(recipe, &out),
            };
            let disturbance = match session < sessions {
                true => self.disturbance(self.whole[recipe].0),
                false => Disturbance::Nothing,
            };
            let ended = self.session(&args, &disturbance);
            self.tally.sessions += 1;
            if let Disturbance::Remove(part, _) = disturbance {
                removed.insert(part);
            }
            if removed.contains("checkpoints") && ended.err.contains("no checkpoint to resume from")
            {
                // What it would continue from was removed.
                fs::remove_dir_all(self.place.path(&out)).unwrap();
                removed.clear();
                continue;
            }
            if let Some(fault) = fault_of(&ended, &disturbance) {
                self.tally
                    .differences
                    .push(format!("{run}, session {session}, {disturbance:?}, {fault}"));
            }
            if ended.code == Some(0) {
                break;
            }
        }
        self.compare(&out, recipe, &removed);
        fs::remove_dir_all(self.place.path(&out)).unwrap();
    }

    /// Compares a run with the undisturbed one. What was in removed directories may be missing.
    fn compare(&mut self, out: &str, recipe: &str, removed: &BTreeSet<&str>) {
        let run = run_of(out, recipe);
        let found = self.files(out, recipe);
        let wanted = &self.whole[recipe].1;
        let may_differ = |name: &str| {
            let part = name.split_once('/').map_or(name, |(part, _)| part);
            let is_best = part == "best-generator" || name.starts_with("checkpoints/best/");
            (removed.contains(part) && !found.contains_key(name))
                || (removed.contains("checkpoints") && is_best)
        };
        let names: BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
        let differing: Vec<_> = names
            .into_iter()
            .filter(|&name| wanted.get(name) != found.get(name) && !may_differ(name))
            .collect();
        if !differing.is_empty() {
            self.tally.differences.push(format!("{run}: {differing:?}"));
        }
        let beside = self.place.names(out);
        if beside.len() != 1 {
            self.tally.differences.push(format!("{run}: left beside it: {beside:?}"));
        }
    }

    /// Draws what happens to a session of a run that takes `length`.
    fn disturbance(&mut self, length: Duration) -> Disturbance {
        let after = length.mul_f64(self.rng.random_range(0.0..1.0));
        match self.rng.random_range(0..12) {
            0..3 => Disturbance::Kill(after),
            3..8 => {
                let kind = ["kill", "kill", "enospc", "eio", "erofs"][self.rng.random_range(0..5)];
                let lasting = if self.rng.random_bool(0.3) { "+" } else { "" };
                let last = OPERATIONS[self.rng.random_range(0..OPERATIONS.len())];
                let operation = self.rng.random_range(1..=last);
                Disturbance::Fault(format!("{kind}:{operation}{lasting}"))
            }
            8 => Disturbance::Rival,
            9 => {
                let kind = ["past", "future"][self.rng.random_range(0..2)];
                // Half of them before the session begins its files.
                let operation = self.rng.random_range(0..2) * self.rng.random_range(0..20) + 1;
                Disturbance::Fault(format!("{kind}:{operation}"))
            }
            10 => {
                let part = ["samples", "checkpoints", "generator"][self.rng.random_range(0..3)];
                Disturbance::Remove(part, after)
            }
            _ => Disturbance::Move(after),
        }
    }

    fn command(&self, args: &str, log: &str) -> Command {
        let mut command = Command::new(self.place.path(PROGRAM));
        command.args(args.split_whitespace()).current_dir(self.place.path(""));
        command.env_remove("RUST_LOG").stdout(Stdio::null());
        command.stderr(File::create(self.place.path(log)).unwrap());
        command
    }

    /// Runs the program once, disturbed.
    fn session(&mut self, args: &str, disturbance: &Disturbance) -> Ended {
        let mut command = self.command(args, "log");
        if let Disturbance::Fault(fault) = disturbance {
            command.env("CANDLE_GAN_FAULT", fault);
        }
        let mut child = command.spawn().unwrap();
        let run = self.run_in(args);
        match disturbance {
            Disturbance::Nothing | Disturbance::Fault(_) => {}
            Disturbance::Kill(after) => {
                thread::sleep(*after);
                child.kill().unwrap();
            }
            Disturbance::Rival => self.rival(&mut child, &run),
            Disturbance::Move(after) => {
                thread::sleep(*after);
                let (run, away) = (self.place.path(&run), self.place.path("away"));
                let moved = fs::rename(&run, &away).is_ok();
                let ended = self.end(child);
                if moved {
                    self.tally.moves += 1;
                    if run.exists() {
                        self.tally.differences.push(format!("{} came back", run.display()));
                        fs::remove_dir_all(&run).unwrap();
                    }
                    fs::rename(away, run).unwrap();
                }
                return ended;
            }
            Disturbance::Remove(part, after) => {
                thread::sleep(*after);
                let (part, away) = (self.place.path(&run).join(part), self.place.path("away"));
                // At once, as far as the trainer sees it.
                if fs::rename(part, &away).is_ok() {
                    self.tally.removals += 1;
                    fs::remove_dir_all(away).unwrap();
                }
            }
        }
        let ended = self.end(child);
        match disturbance {
            Disturbance::Kill(_) if ended.code.is_none() => self.tally.kills += 1,
            Disturbance::Fault(_) if ended.code != Some(0) => self.tally.faults += 1,
            Disturbance::Fault(fault) if is_jump(fault) => self.tally.jumps += 1,
            _ => {}
        }
        ended
    }

    /// Starts a second session of a run that is being trained.
    fn rival(&mut self, child: &mut Child, run: &str) {
        let id = child.id().to_string();
        let holds = || fs::read_to_string(self.place.path(run).join("run.lock"));
        while !holds().is_ok_and(|holder| holder.trim() == id) {
            if child.try_wait().unwrap().is_some() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let rival = self.command(&format!("--resume {run}"), "rival").spawn().unwrap();
        let code = self.end(rival).code;
        let err = fs::read_to_string(self.place.path("rival")).unwrap();
        match code {
            Some(2) if err.contains(&format!("process {id} is training this run")) => {
                self.tally.refusals += 1;
            }
            // The first had ended, or had no more to do.
            Some(0) if ends_soon(child) => {}
            Some(2) if err.contains("another process is training") && ends_soon(child) => {}
            _ => self.tally.differences.push(format!("{run}: a rival ended with {code:?}: {err}")),
        }
    }

    /// Waits for a program to end.
    fn end(&self, mut child: Child) -> Ended {
        let started = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if started.elapsed() > TIME_LIMIT => {
                    child.kill().unwrap();
                    panic!("a session did not end");
                }
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        let err = fs::read_to_string(self.place.path("log")).unwrap();
        Ended { code: status.code(), err }
    }

    /// The run directory that a command line makes or resumes.
    fn run_in(&self, args: &str) -> String {
        let mut words = args.split_whitespace();
        match words.clone().next() {
            Some("--resume") => words.nth(1).unwrap().to_string(),
            _ => {
                let recipe = words.nth(1).unwrap().trim_end_matches(".toml");
                run_of(words.last().unwrap(), recipe)
            }
        }
    }

    /// The files of a run that must not differ. Of the statistics, the speed may; and the checkpoint
    /// before the last is of another step where one was saved after a failure.
    fn files(&self, out: &str, recipe: &str) -> BTreeMap<String, Vec<u8>> {
        let run = run_of(out, recipe);
        let mut files = self.place.result(&run);
        let last = format!("checkpoints/{STEPS:06}/");
        files.retain(|name, _| !name.starts_with("checkpoints/0") || name.starts_with(&last));
        let text = String::from_utf8(self.place.read(&format!("{run}/stats.jsonl"))).unwrap();
        for (number, line) in text.lines().enumerate() {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("images_per_second").unwrap();
            files.insert(format!("stats.jsonl:{}", number + 1), line.to_string().into());
        }
        for curves in ["curves.svg", "curves.png"] {
            files.insert(curves.to_string(), self.place.read(&format!("{run}/{curves}")));
        }
        files
    }
}

/// Whether a program ends that has let go of its run, or is about to.
fn ends_soon(child: &mut Child) -> bool {
    (0..1000).any(|_| {
        thread::sleep(Duration::from_millis(1));
        child.try_wait().unwrap().is_some()
    })
}

/// The arguments of a new run.
fn begin(recipe: &str, out: &str) -> String {
    format!("--recipe {recipe}.toml --dataset idx:set --steps {STEPS} --out {out}")
}

fn run_of(out: &str, recipe: &str) -> String {
    format!("{out}/00000-idx-set-{recipe}")
}

/// Whether a fault sets the clock.
fn is_jump(fault: &str) -> bool {
    fault.starts_with("past") || fault.starts_with("future")
}

/// Says what is wrong with how a session ended, if anything is.
fn fault_of(ended: &Ended, disturbance: &Disturbance) -> Option<String> {
    let has_said = |text: &str| ended.err.lines().last().is_some_and(|line| line.contains(text));
    let is_right = match (ended.code, disturbance) {
        (Some(0), _) => true,
        (None, Disturbance::Kill(_)) => true,
        (None, Disturbance::Fault(fault)) => fault.starts_with("kill"),
        (Some(2), Disturbance::Fault(_)) => has_said("(CANDLE_GAN_FAULT)"),
        // It was removed while the trainer wrote into it.
        (Some(2), Disturbance::Remove(..)) => has_said("No such file"),
        (Some(2), Disturbance::Move(_)) => {
            has_said("No such file") || has_said("no such run directory")
        }
        _ => false,
    };
    let is_right = is_right && !ended.err.contains("panicked");
    (!is_right).then(|| format!("ended with {:?}: {}", ended.code, ended.err))
}

#[test]
fn disturbed_runs_end_like_undisturbed_ones() {
    let mut torture = Torture::new(3);
    for recipe in ["plain", "dropout", "measured"] {
        torture.chain(recipe, 6);
    }
    let tally = torture.tally;
    assert!(tally.differences.is_empty(), "{tally:#?}");
    assert!(tally.faults >= 2, "{tally:?}");
}

/// Set by `cargo xtask torture`.
#[test]
#[ignore = "runs for minutes"]
fn long() {
    let number = |name: &str, default: u64| {
        env::var(name)
            .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
    };
    let (minutes, seed) = (number("TORTURE_MINUTES", 5), number("TORTURE_SEED", 0));
    let mut torture = Torture::new(seed);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60 * minutes) {
        let recipe = ["plain", "dropout", "plain", "measured"][torture.rng.random_range(0..4)];
        torture.chain(recipe, 12);
    }
    let Tally { chains, sessions, kills, faults, refusals, moves, jumps, removals, differences } =
        torture.tally;
    println!(
        "torture, seed {seed}: {chains} runs in {sessions} sessions, {kills} killed, {faults} ended by \
         faults of the file writer, {refusals} rivals refused, {moves} runs moved away, {removals} \
         directories removed, {jumps} clocks set, {} differences",
        differences.len()
    );
    assert!(differences.is_empty(), "{differences:#?}");
}
