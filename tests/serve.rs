//! The web page of runs: what it answers, and what it refuses.
#![cfg(feature = "serve")]

mod limits;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gan_data::png;
use serde_json::{Value, json};

use crate::{Place, SMALL, TIME_LIMIT, assert_same, tree};

const RUN: &str = "runs/00000-idx-set-tiny";

/// A server that is killed when it is dropped.
struct Page {
    child: Child,
    host: String,
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The answer to a request.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Page {
    /// Starts `serve` with these arguments.
    fn open(place: &Place, args: &str) -> Self {
        Self::start(place.command(&format!("serve --port 0 --threads 1 {args}")))
    }

    /// Starts a command that serves.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let host = line.trim().strip_prefix("http://").unwrap().strip_suffix('/').unwrap();
        Self { host: host.to_string(), child }
    }

    /// Sends bytes and reads all that comes back.
    fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(TIME_LIMIT)).unwrap();
        // An answer may come, and the connection end, before all is sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len());
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Answer { status, head, body: answer.get(end + 4..).unwrap_or_default().to_vec() }
    }

    fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\
             Content-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat())
    }

    fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "", b"")
    }

    /// Sends a body as the page itself does.
    fn post(&self, path: &str, body: &[u8]) -> Answer {
        let origin = format!("Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n", self.host);
        self.request("POST", path, &origin, body)
    }
}

/// The pixels of a PNG file.
fn pixels(place: &Place, png: &[u8]) -> Vec<u8> {
    place.write("answer.png", png);
    png::read(&place.path("answer.png")).unwrap().1
}

#[test]
fn the_page_is_whole_and_asks_no_other_host() {
    let page = Page::open(&Place::new(), "");
    let index = page.get("/");
    let policy = "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'";
    assert!(index.head.contains(policy), "{}", index.head);
    assert!(index.head.contains("x-content-type-options: nosniff"), "{}", index.head);
    let mut waiting = vec!["/".to_string()];
    let mut seen = Vec::new();
    while let Some(path) = waiting.pop() {
        if seen.contains(&path) {
            continue;
        }
        let answer = page.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        let text = answer.text();
        assert!(!text.replace("http://www.w3.org/2000/svg", "").contains("http"), "{path}");
        assert!(!text.contains("style=") && !text.contains("onclick="), "{path}: not allowed");
        for part in text.split('"') {
            if let Some(name) = part.strip_prefix("./").filter(|name| name.ends_with(".js")) {
                waiting.push(format!("/{name}"));
            } else if path == "/" && part.starts_with('/') && part.contains('.') {
                waiting.push(part.to_string());
            }
        }
        seen.push(path);
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
}

#[test]
fn runs_are_listed_with_their_state_and_statistics() {
    let place = Place::new();
    place.succeed("--recipe by-class.toml --dataset idx:set --steps 12");
    place.succeed("--recipe tiny.toml --dataset idx:set --steps 6");
    // Whatever is no run is left out.
    fs::create_dir(place.path("runs/notes")).unwrap();
    let page = Page::open(&place, "");
    let runs = page.get("/api/runs").json();
    let names: Vec<&str> =
        runs.as_array().unwrap().iter().map(|run| run["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["00000-idx-set-by-class", "00001-idx-set-tiny"]);
    let (measured, short) = (&runs[0], &runs[1]);
    assert_eq!((&measured["state"], &measured["step"]), (&json!("finished"), &json!(12)));
    assert!(measured["distance"].is_object(), "{measured}");
    assert_eq!((&short["distance"], &short["seconds_left"]), (&Value::Null, &Value::Null));
    let detail = page.get("/api/runs/00000-idx-set-by-class").json();
    assert_eq!(detail["samples"], json!([0, 4, 8, 12]));
    assert_eq!(detail["config"]["recipe"], "by-class");
    let grid = page.get("/api/runs/00000-idx-set-by-class/samples/8.png");
    assert_eq!(grid.body, place.read("runs/00000-idx-set-by-class/samples/000008.png"));

    let stats = page.get("/api/runs/00000-idx-set-by-class/stats").json();
    let lines = stats["lines"].as_array().unwrap();
    assert_eq!(lines.last().unwrap()["step"], 12);
    let after = stats["cursor"].as_str().unwrap();
    let news = page.get(&format!("/api/runs/00000-idx-set-by-class/stats?after={after}")).json();
    assert_eq!((&news["lines"], &news["is_new"]), (&json!([]), &json!(false)));

    // A run that is removed while it is shown is gone, and the others stay.
    fs::remove_dir_all(place.path("runs/00000-idx-set-by-class")).unwrap();
    assert_eq!(page.get("/api/runs/00000-idx-set-by-class/stats").status, 404);
    assert_eq!(page.get("/api/runs").json().as_array().unwrap().len(), 1);
    fs::remove_dir_all(place.path("runs")).unwrap();
    assert_eq!(page.get("/api/runs").json(), json!([]));
}

#[test]
fn names_are_text_and_no_paths() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 2"));
    place.write("secret/config.json", "{}");
    let odd = "<img src=x onerror=alert(1)>\u{1b}[31m #?%";
    fs::rename(place.path(RUN), place.path("runs").join(odd)).unwrap();
    #[cfg(unix)]
    {
        let grid = place.path("runs").join(odd).join("samples/000002.png");
        fs::remove_file(&grid).unwrap();
        std::os::unix::fs::symlink(place.path("secret/config.json"), grid).unwrap();
    }
    let page = Page::open(&place, "");
    let before = tree(place.directory.path());
    assert_eq!(page.get("/api/runs").json()[0]["name"], odd);
    let escaped: String = odd.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(page.get(&format!("/api/runs/{escaped}")).json()["samples"], json!([0, 2]));
    for path in [
        "/api/runs/..",
        "/api/runs/.",
        "/api/runs/",
        "/api/runs/%2e%2e",
        "/api/runs/..%2fsecret",
        "/api/runs/..%2f..%2fetc",
        "/api/runs/%2fetc",
        "/api/runs/..%5csecret",
        "/api/runs/secret%00",
        "/api/generators/run/..",
        "/api/generators/weights/..%2fsecret",
        "/api/generators/secret/x",
        &format!("/api/runs/{escaped}/samples/..%2f..%2fconfig.json"),
        &format!("/api/runs/{escaped}/samples/-1.png"),
        #[cfg(unix)]
        &format!("/api/runs/{escaped}/samples/2.png"),
        "/../tiny.toml",
        "/..%2ftiny.toml",
        "/style.css/",
    ] {
        let answer = page.get(path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        assert_eq!(answer.text().lines().count(), 1, "{path}");
    }
    assert_eq!(page.get("/api/runs/%ff").status, 400);
    assert_same(&before, &tree(place.directory.path()));
}

/// The page draws the image that `generate` draws, and finds it again.
#[test]
fn play_and_invert_use_the_generator() {
    let place = Place::new();
    place.succeed("--recipe by-class.toml --dataset idx:set --steps 6");
    place.succeed("generate --seed 3 --count 1 --class 2 --format png --out one");
    let page = Page::open(&place, "--weights runs/00000-idx-set-by-class/generator");
    let all = page.get("/api/generators").json();
    let kinds: Vec<&Value> = all.as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert!(kinds.contains(&&json!("run")) && kinds.contains(&&json!("weights")), "{all}");
    let of = "/api/generators/run/00000-idx-set-by-class";
    let about = page.get(of).json();
    assert_eq!((&about["latent_dim"], &about["conditional"]), (&json!(6), &json!(true)));
    let latent = page.get(&format!("{of}/latent?seed=3")).json();
    let drawing = json!({ "latents": [latent], "class": "2" }).to_string();
    let drawn = page.post(&format!("{of}/images"), drawing.as_bytes());
    let wanted = place.read("one/000000.png");
    assert_eq!(pixels(&place, &drawn.body), pixels(&place, &wanted));

    let directions = page.get(&format!("{of}/directions?class=2")).json();
    let explained = directions["explained"].as_array().unwrap();
    assert_eq!((explained.len(), directions["directions"][0].as_array().unwrap().len()), (6, 6));
    let sum: f64 = explained.iter().map(|part| part.as_f64().unwrap()).sum();
    assert!(sum > 0.5 && sum < 1.0 + 1e-6, "{directions}");

    let found = page.post(&format!("{of}/invert?class=2"), &wanted).json();
    assert!(found["error"].as_f64() < found["random_error"].as_f64(), "{found}");
    assert!(found["drawn"].as_str().unwrap().starts_with("data:image/png;base64,"));
    // Without a class, that of the best is named.
    let found = page.post(&format!("{of}/invert"), &wanted).json();
    assert!(["0", "1", "2"].contains(&found["class"].as_str().unwrap()), "{found}");
    let judged = page.post("/api/runs/00000-idx-set-by-class/judge", &wanted).json();
    assert_eq!(judged["decisions"].as_array().unwrap().len(), 3);
    assert!(judged["digit"].is_array(), "{judged}");

    for (path, body, status, part) in [
        ("images", json!({ "latents": [[1.0]], "class": "2" }), 400, "has 6 values"),
        ("images", json!({ "latents": [[1e9, 0, 0, 0, 0, 0]] }), 400, "from -100 to 100"),
        ("images", json!({ "latents": [] }), 400, "0 latents; 1 to 64"),
        ("images", json!({ "latents": [[0, 0, 0, 0, 0, 0]], "class": "9" }), 400, "no such class"),
        ("images", json!("text"), 400, "latents: "),
        ("invert", json!("no image"), 422, "the image: "),
    ] {
        let answer = page.post(&format!("{of}/{path}"), body.to_string().as_bytes());
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(answer.text().contains(part), "{body}: {}", answer.text());
    }
    assert_eq!(page.get(&format!("{of}/latent?seed=x")).status, 400);
}

/// Trains with one command until the run has a checkpoint.
fn begin(place: &Place, args: &str) -> Child {
    let mut command = place.command(args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !place.path(&format!("{RUN}/checkpoints/000005")).exists() {
        assert_eq!(child.try_wait().unwrap(), None);
        thread::sleep(Duration::from_millis(2));
    }
    child
}

fn wait(child: &mut Child) -> Option<i32> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(started.elapsed() < TIME_LIMIT, "it does not end");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_run_is_stopped_by_the_page_alone() {
    let place = Place::new();
    let mut child = begin(&place, &format!("{SMALL} --steps 1000000 --threads 1"));
    let page = Page::open(&place, "");
    assert_eq!(page.get("/api/runs").json()[0]["state"], "training");
    let stop = "/api/runs/00000-idx-set-tiny/stop";
    assert_eq!(page.get(stop).status, 404);
    for headers in [
        String::new(),
        "Origin: http://evil.example\r\n".to_string(),
        "Origin: null\r\n".to_string(),
        format!("Origin: http://{}\r\nSec-Fetch-Site: cross-site\r\n", page.host),
    ] {
        assert_eq!(page.request("POST", stop, &headers, b"").status, 403, "{headers}");
    }
    assert!(!place.path(&format!("{RUN}/stop")).exists());
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(page.post(stop, b"").json(), Value::Null);
    assert_eq!(wait(&mut child), Some(130));
    let run = &page.get("/api/runs").json()[0];
    let last = place.names(&format!("{RUN}/checkpoints")).pop().unwrap();
    assert_eq!(run["state"], "stopped");
    assert_eq!(run["step"].as_u64(), last.parse().ok());
    let stats = String::from_utf8(place.read(&format!("{RUN}/stats.jsonl"))).unwrap();
    let line: Value = serde_json::from_str(stats.lines().last().unwrap()).unwrap();
    assert_eq!(line["step"], run["step"], "the checkpoint is of the last step");
    let answer = page.post(stop, b"");
    assert_eq!((answer.status, answer.text()), (400, "no process trains this run"));
    assert!(!place.path(&format!("{RUN}/stop")).exists());
    // A request that nobody heard does not stop the next session.
    place.write(&format!("{RUN}/stop"), "");
    let end = last.parse::<u64>().unwrap() + 2;
    place.succeed(&format!("--resume {RUN} --steps {end}"));
    assert!(!place.path(&format!("{RUN}/stop")).exists());
}

#[test]
fn a_run_serves_itself_and_others_take_its_port() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for args in [format!("{SMALL} --serve={port}"), format!("serve --port {port}")] {
        place.refuse_saying(
            &args,
            &[&format!("port {port} of 127.0.0.1; choose another one, or 0 for one")],
        );
    }
    place.refuse_saying("serve --weights no", &["--weights no: no such directory"]);
    let mut child = begin(&place, &format!("{SMALL} --steps 1000000 --threads 1 --serve=0"));
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let host = lines.map_while(Result::ok).find_map(|line| {
        let (_, url) = line.split_once("page http://")?;
        Some(url.trim_end_matches('/').to_string())
    });
    let page = Page { child, host: host.unwrap() };
    assert_eq!(page.get("/api/runs").json()[0]["state"], "training");
}

/// A stream of events tells of a run that is made later, and ends with its reader. The next reader, who
/// comes when nobody has listened for a while, is told nothing that is out of date.
#[test]
fn runs_are_live() {
    let place = Place::new();
    let page = Page::open(&place, "");
    let listen = || {
        let mut stream = TcpStream::connect(&page.host).unwrap();
        stream.set_read_timeout(Some(TIME_LIMIT)).unwrap();
        write!(stream, "GET /api/events HTTP/1.1\r\nHost: {}\r\n\r\n", page.host).unwrap();
        let lines = BufReader::new(stream).lines().map(Result::unwrap);
        lines.filter_map(|line| line.strip_prefix("data: ").map(String::from))
    };
    let mut lists = listen();
    assert_eq!(lists.next().unwrap(), "[]");
    place.succeed(&format!("{SMALL} --steps 2"));
    let list = lists.find(|list| list.contains("finished")).unwrap();
    let runs: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(runs[0]["name"], "00000-idx-set-tiny");
    drop(lists);
    // The server learns that the reader is gone from the next list, which it cannot send.
    place.write("runs/broken/config.json", "{");
    thread::sleep(Duration::from_secs(5));
    fs::remove_dir_all(place.path("runs")).unwrap();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(listen().next().unwrap(), "[]");
}

/// A run whose configuration is damaged is there, with the reason why it is not shown.
#[test]
fn a_damaged_run_is_listed_as_broken() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 2"));
    let config = place.read(&format!("{RUN}/config.json"));
    let page = Page::open(&place, "");
    for damaged in ["", "{", "{}", "[1]"] {
        place.write(&format!("{RUN}/config.json"), damaged);
        let run = &page.get("/api/runs").json()[0];
        assert_eq!((&run["name"], &run["state"]), (&json!("00000-idx-set-tiny"), &json!("broken")));
        let error = run["error"].as_str().unwrap();
        assert!(error.contains("config.json: not a run's configuration"), "{damaged}: {error}");
        let detail = page.get("/api/runs/00000-idx-set-tiny");
        assert_eq!((detail.status, detail.text()), (422, error), "{damaged}");
    }
    place.write(&format!("{RUN}/config.json"), config);
    let run = &page.get("/api/runs").json()[0];
    assert_eq!((&run["state"], &run["error"]), (&json!("finished"), &Value::Null));
}

/// Links between runs of the directory are followed; links that lead out of it are no runs.
#[cfg(unix)]
#[test]
fn links_lead_no_further_than_the_directory_of_runs() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 2"));
    crate::copy(&place.path(RUN), &place.path("elsewhere/secret"));
    symlink(place.path("elsewhere/secret"), place.path("runs/absolute")).unwrap();
    symlink("../elsewhere/secret", place.path("runs/relative")).unwrap();
    symlink("/nowhere", place.path("runs/broken")).unwrap();
    symlink("00000-idx-set-tiny", place.path("runs/best")).unwrap();
    // The directory itself may be a link.
    symlink("runs", place.path("link")).unwrap();
    for runs in ["runs", "link"] {
        let page = Page::open(&place, &format!("--runs {runs}"));
        let list = page.get("/api/runs").json();
        let names: Vec<&Value> = list.as_array().unwrap().iter().map(|run| &run["name"]).collect();
        assert_eq!(names, ["00000-idx-set-tiny", "best"]);
        assert_eq!(page.get("/api/runs/best/samples/2.png").status, 200);
        for path in
            ["runs/absolute", "runs/relative", "runs/absolute/stats", "generators/run/absolute"]
        {
            assert_eq!(page.get(&format!("/api/{path}")).status, 404, "{path}");
        }
        assert_eq!(page.post("/api/runs/absolute/stop", b"").status, 404);
        assert!(!page.get("/api/generators").text().contains("absolute"));
    }
}
