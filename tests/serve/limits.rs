//! What the server refuses: strangers, floods of connections, and what is too large.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::Page;
use crate::{Place, SMALL};

/// Connections of a flood.
const FLOOD: usize = 1000;
/// Connections that are kept.
const KEPT: usize = 64;
/// Largest body, and how many of that size are read at a time.
const LARGEST_BODY: usize = 16 << 20;
const BODIES: usize = 4;

const JUDGE: &str = "/api/runs/00000-idx-set-tiny/judge";

#[test]
fn strangers_are_refused() {
    let page = Page::open(&Place::new(), "");
    for host in ["evil.example", "localhost:1", "127.0.0.1"] {
        let request =
            format!("GET /api/runs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(page.send(request.as_bytes()).status, 421, "{host}");
    }
    assert_eq!(page.send(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").status, 421);
    let port = page.host.rsplit_once(':').unwrap().1;
    let request = format!("GET / HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    assert_eq!(page.send(request.as_bytes()).status, 200);
    assert_eq!(page.request("PUT", "/api/runs", "Origin: null\r\n", b"").status, 403);
}

/// The head of a request that sends an image file.
fn head(page: &Page, length: &str) -> String {
    let host = &page.host;
    format!("POST {JUDGE} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n{length}\r\n\r\n")
}

/// 100 MB, said to be so, or sent in one endless chunk.
#[test]
fn large_bodies_are_refused() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 2"));
    let page = Page::open(&place, "");
    let long = head(&page, "Connection: close\r\nContent-Length: 100000000");
    assert_eq!(page.send(long.as_bytes()).status, 413);
    let chunked = head(&page, "Connection: close\r\nTransfer-Encoding: chunked") + "5F5E100\r\n";
    let body = vec![0; LARGEST_BODY + (1 << 20)];
    let answer = page.send(&[chunked.as_bytes(), &body[..]].concat());
    assert!([413, 0].contains(&answer.status), "{}", answer.status);
    assert_eq!(page.get("/").status, 200);
}

/// What comes back within a moment, or `None` if the connection is open and silent.
fn answer(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
        _ => return Some(String::from_utf8(answer).unwrap()),
    }
    (!answer.is_empty()).then(|| String::from_utf8(answer).unwrap())
}

/// However many send image files at a time, those of four are in memory. The others are told so.
#[test]
fn the_memory_of_all_bodies_is_limited() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 2"));
    let page = Page::open(&place, "");
    for length in [format!("Content-Length: {LARGEST_BODY}"), "Transfer-Encoding: chunked".into()] {
        let mut streams: Vec<TcpStream> = Vec::new();
        for _ in 0..KEPT - 4 {
            let mut stream = TcpStream::connect(&page.host).unwrap();
            stream.write_all(head(&page, &length).as_bytes()).unwrap();
            streams.push(stream);
        }
        thread::sleep(Duration::from_millis(500));
        let answers: Vec<String> = streams.iter_mut().filter_map(answer).collect();
        assert_eq!(answers.len(), streams.len() - BODIES, "{length}");
        for answer in answers {
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.ends_with("too many image files at a time; send this one again"));
        }
        // A few bytes are no more than the rest of the memory where lengths are known.
        drop(streams);
        thread::sleep(Duration::from_millis(500));
        assert_eq!(page.post(JUDGE, b"no image").status, 422);
    }
}

/// Descriptors that this process may open. A process begins with as few as 1,024 on many systems.
fn descriptors() -> usize {
    let process = std::process::id().to_string();
    let _ = Command::new("prlimit").args(["--pid", &process, "--nofile=4096:"]).status();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    limit.and_then(|limit| limit.split_whitespace().next()?.parse().ok()).unwrap_or(256)
}

/// Opens connections, of which `kept` at most stay open, until they are dropped.
fn flood(page: &Page, kept: usize) {
    let count = if descriptors() >= 2 * FLOOD { FLOOD } else { 100 };
    let connect = |_| TcpStream::connect(&page.host).unwrap();
    let mut streams: Vec<TcpStream> = (0..count).map(connect).collect();
    thread::sleep(Duration::from_millis(500));
    let answers: Vec<String> = streams.iter_mut().filter_map(answer).collect();
    assert!(answers.len() >= count - kept, "{} of {count}", answers.len());
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\ntoo many connections at a time"), "{answer}");
    }
}

/// More connections than are kept open are told so; then there is room again.
#[test]
fn a_thousand_connections_are_survived() {
    let page = Page::open(&Place::new(), "");
    flood(&page, KEPT);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(page.get("/").status, 200);
}

/// A server with fewer descriptors than connections waits until some are closed.
#[cfg(unix)]
#[test]
fn a_server_without_descriptors_goes_on() {
    let place = Place::new();
    let served = place.command("serve --port 0 --threads 1");
    let mut command = Command::new("sh");
    command.current_dir(place.path("")).args(["-c", "ulimit -n 40; exec \"$@\"", "sh"]);
    command.arg(served.get_program()).args(served.get_args()).stdout(Stdio::piped());
    let page = Page::start(command);
    let streams: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(&page.host).unwrap()).collect();
    thread::sleep(Duration::from_millis(500));
    drop(streams);
    assert_eq!(page.get("/").status, 200);
}
