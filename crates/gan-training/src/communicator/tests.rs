//! Tests of ranks that meet and talk over the loopback device.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::links::{Failure, Links};
use super::rendezvous::{Place, gather, rendezvous};
use crate::error::{Error, Result};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A time that nothing here takes.
const LONG: Duration = Duration::from_secs(20);

/// A place on a port that is free, and its listener.
fn place(size: usize) -> (Place, TcpListener) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (Place { rank: 0, size, address: "127.0.0.1".to_string(), port }, listener)
}

/// What rank 0 and the others, with these places, have when they meet.
fn met_by(
    (first, listener): (Place, TcpListener),
    others: Vec<Place>,
    limit: Duration,
) -> Vec<Result<Vec<TcpStream>>> {
    thread::scope(|scope| {
        let joined: Vec<_> =
            others.iter().map(|place| scope.spawn(move || rendezvous(place, limit))).collect();
        let mut met = vec![gather(&listener, &first, limit)];
        // Whoever still waits for rank 0 sees that it has ended.
        drop(listener);
        met.extend(joined.into_iter().map(|rank| rank.join().unwrap()));
        met
    })
}

fn met(size: usize) -> Vec<Vec<TcpStream>> {
    let (first, listener) = place(size);
    let others = (1..size).map(|rank| Place { rank, ..first.clone() }).collect();
    met_by((first, listener), others, LONG).into_iter().map(Result::unwrap).collect()
}

/// Ranks, and the failures that each hears of.
fn connected(size: usize, timeout: Duration) -> Vec<(Links, Receiver<Failure>)> {
    let ranks = met(size).into_iter().enumerate();
    ranks.map(|(rank, streams)| linked(rank, streams, timeout)).collect()
}

fn linked(rank: usize, streams: Vec<TcpStream>, timeout: Duration) -> (Links, Receiver<Failure>) {
    let (sender, heard) = channel();
    let hear = move |failure: &Failure| sender.send(failure.clone()).unwrap();
    (Links::new(rank, streams, timeout, hear).unwrap(), heard)
}

fn text<T>(result: Result<T>) -> String {
    result.err().map_or("no error".to_string(), |error| error.to_string())
}

#[test]
fn a_launcher_s_variables_are_read() {
    let of = |changed: &[(&str, &str)]| {
        let usual =
            [("RANK", "1"), ("WORLD_SIZE", "4"), ("MASTER_ADDR", "n1"), ("MASTER_PORT", "29500")];
        let found = |name: &str| {
            let mut all = changed.iter().chain(&usual);
            all.find(|(other, _)| *other == name).map(|(_, value)| value.to_string())
        };
        Place::of_launcher(|name| found(name).filter(|value| value != "-"))
    };
    let want = |port| Place { rank: 1, size: 4, address: "n1".to_string(), port };
    assert_eq!(of(&[]).unwrap(), want(29500));
    // torchrun's own store has the port.
    let store = ("TORCHELASTIC_USE_AGENT_STORE", "True");
    assert_eq!(of(&[store]).unwrap(), want(29501));
    for (changed, want) in [
        (vec![("RANK", "4")], "RANK=4: must be a number from 0 to 3"),
        (vec![("RANK", "one")], "RANK=one: must be a number from 0 to 3"),
        (vec![("WORLD_SIZE", "-4")], "WORLD_SIZE=-4: must be a number from 1 to 65536"),
        (vec![("WORLD_SIZE", "0")], "WORLD_SIZE=0: must be a number from 1 to 65536"),
        (vec![("WORLD_SIZE", "65537")], "WORLD_SIZE=65537: must be a number from 1 to 65536"),
        (vec![("MASTER_PORT", "65536")], "MASTER_PORT=65536: must be a number from 0 to 65535"),
        (
            vec![("MASTER_PORT", "65535"), store],
            "MASTER_PORT=65535: must be a number from 0 to 65534",
        ),
        (
            vec![("MASTER_ADDR", "-")],
            "MASTER_ADDR is not set; ranks need RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; to train \
             alone, unset RANK and WORLD_SIZE",
        ),
    ] {
        assert_eq!(text(of(&changed)), want);
    }
}

#[test]
fn bytes_arrive_from_every_rank() {
    let mut ranks = connected(3, LONG);
    thread::scope(|scope| {
        for (links, _) in &ranks {
            scope.spawn(move || {
                for root in [0, 1, 2, 1] {
                    let own = vec![links.rank() as u8; root * 100_000];
                    assert_eq!(
                        links.broadcast(root, own).unwrap(),
                        vec![root as u8; root * 100_000]
                    );
                }
            });
        }
    });
    // A rank that ends in order has not failed, for those that remain.
    for gone in [2, 0] {
        drop(ranks.remove(gone));
        for (_, heard) in &ranks {
            let heard = heard.recv_timeout(Duration::from_millis(100));
            assert_eq!(heard, Err(RecvTimeoutError::Timeout));
        }
    }
}

/// No thread hears of a failure where a rank has ended in order, and another needs it still.
#[test]
fn a_failure_that_a_broadcast_finds_is_told() {
    let mut ranks = connected(3, LONG);
    drop(ranks.remove(1));
    let reason = "has ended before the others: it was killed, or its connection is lost";
    assert_eq!(text(ranks[0].0.broadcast(1, Vec::new())), format!("rank 1: {reason}"));
    for ((_, heard), is_told) in ranks.iter().zip([false, true]) {
        let want = Failure { rank: 1, reason: reason.to_string(), is_told };
        assert_eq!(heard.recv_timeout(LONG), Ok(want));
    }
}

#[test]
fn ranks_that_do_not_belong_together_are_refused() {
    for (others, want) in [
        (vec![(1, 3)], "rank 1 has WORLD_SIZE 3, rank 0 has 4"),
        (vec![(1, 4), (1, 4)], "two processes have RANK 1"),
        (vec![(4, 4)], "a process that connects to rank 0 has RANK 4"),
    ] {
        let (first, listener) = place(4);
        let of = |(rank, size)| Place { rank, size, ..first.clone() };
        let others: Vec<_> = others.into_iter().map(of).collect();
        let mut said: Vec<_> =
            met_by((first, listener), others, LONG).into_iter().map(text).collect();
        assert_eq!(said.remove(0), want);
        said.retain(|said| said != "rank 0: has given up before all ranks were there");
        assert_eq!(said, [format!("rank 0: {want}")]);
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let (first, _listener) = place(2);
    let error = text(rendezvous(&first, LONG));
    let at = format!("rank 0 cannot listen on port {}: ", first.port);
    assert!(error.starts_with(&at) && error.ends_with("; MASTER_PORT chooses another"), "{error}");
}

/// MASTER_ADDR may be an address that is translated to rank 0's, or a name that is 127.0.1.1 there.
#[test]
fn rank_0_listens_on_all_interfaces() {
    let (place, listener) = place(2);
    drop(listener);
    let first = Place { address: "192.0.2.1".to_string(), ..place.clone() };
    let other = Place { rank: 1, address: "127.0.0.2".to_string(), ..place };
    let joined = thread::spawn(move || rendezvous(&other, LONG).map(drop));
    rendezvous(&first, LONG).unwrap();
    joined.join().unwrap().unwrap();
}

#[test]
fn a_rank_that_is_missing_is_named() {
    let (first, listener) = place(4);
    let at = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let others = [1, 3].map(|rank| Place { rank, ..first.clone() }).to_vec();
    let met = met_by((first.clone(), listener), others, Duration::from_millis(500));
    let said: Vec<_> = met.into_iter().map(text).collect();
    let gave_up = "rank 0: has given up before all ranks were there";
    let cure = "to train alone, unset RANK and WORLD_SIZE";
    assert_eq!(said[0], format!("rank 2 of 4 has not connected to {at} within 0.5 s; {cure}"));
    assert_eq!(said[1..], [gave_up, gave_up]);
    // Nobody listens there now.
    let error = text(rendezvous(&Place { rank: 3, ..first }, Duration::from_millis(200)));
    let is_whole = error.starts_with(&format!("cannot reach rank 0 on {at}: "));
    assert!(is_whole && error.ends_with(cure), "{error}");
}

#[test]
fn strangers_are_refused() {
    let (first, listener) = place(2);
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let stranger = scope.spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            // Closed without a byte.
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert_eq!(answer, b"");
            drop(TcpStream::connect(address).unwrap());
        });
        let rank = Place { rank: 1, ..first.clone() };
        let rank = scope.spawn(move || {
            stranger.join().unwrap();
            rendezvous(&rank, LONG).map(drop)
        });
        gather(&listener, &first, LONG).unwrap();
        rank.join().unwrap().unwrap();
    });
    // Nor does a rank take another program for rank 0.
    let (first, listener) = place(2);
    let other = Place { rank: 1, ..first };
    let joined = thread::spawn(move || text(rendezvous(&other, LONG)));
    listener.accept().unwrap().0.write_all(b"SSH-2.0-OpenSSH_9.2").unwrap();
    let error = joined.join().unwrap();
    assert!(
        error.ends_with("answers, but not as rank 0 does; is MASTER_PORT another program's?"),
        "{error}"
    );
}

/// Nor one that sends a byte now and then.
#[test]
fn a_stranger_does_not_keep_rank_0_waiting() {
    let (first, listener) = place(2);
    let address = listener.local_addr().unwrap();
    let (limit, begun) = (Duration::from_millis(500), Instant::now());
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            while begun.elapsed() < 4 * limit && stream.write_all(b"g").is_ok() {
                thread::sleep(limit / 2);
            }
        });
        let error = text(gather(&listener, &first, limit));
        assert!(error.starts_with("rank 1 of 2 has not connected to "), "{error}");
        assert!(begun.elapsed() < 2 * limit, "{:?}", begun.elapsed());
    });
}

/// The errors of all ranks but one, which is lost while they wait for it, and what they hear.
fn lose(lost: usize) -> Vec<(String, Failure)> {
    let mut streams = met(3);
    let of_lost = streams.remove(lost);
    let others: Vec<_> = (0..3)
        .filter(|rank| *rank != lost)
        .zip(streams)
        .map(|(rank, streams)| linked(rank, streams, LONG))
        .collect();
    thread::scope(|scope| {
        let waiting: Vec<_> = others
            .into_iter()
            .map(|(links, heard)| {
                scope
                    .spawn(move || (text(links.broadcast(lost, Vec::new())), heard.recv().unwrap()))
            })
            .collect();
        // As the system closes the connections of a process that is killed: nobody in it hears of that.
        drop(of_lost);
        waiting.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn a_rank_that_is_lost_is_named_by_all() {
    let reason = "has ended before the others: it was killed, or its connection is lost";
    for (lost, told) in [(0, [false, false]), (2, [false, true])] {
        let ended = lose(lost);
        let want = told.map(|is_told| {
            let failure = Failure { rank: lost, reason: reason.to_string(), is_told };
            (format!("rank {lost}: {reason}"), failure)
        });
        assert_eq!(ended, want);
    }
}

#[test]
fn the_reason_of_a_rank_that_fails_reaches_all() {
    for failing in [0, 1] {
        let ranks = connected(3, LONG);
        assert!(ranks[failing].0.fail("the disk is full"));
        for (rank, (links, heard)) in ranks.iter().enumerate().filter(|(rank, _)| *rank != failing)
        {
            let want = Failure { rank: failing, reason: "the disk is full".into(), is_told: true };
            assert_eq!(heard.recv_timeout(LONG).unwrap(), want);
            let error = links.broadcast(3 - rank - failing, Vec::new()).unwrap_err();
            assert!(matches!(&error, Error::Rank { rank, .. } if *rank == failing), "{error}");
            assert!(!links.fail("of another"));
        }
    }
}

#[test]
fn a_rank_that_says_nothing_is_lost() {
    let timeout = Duration::from_millis(400);
    let mut streams = met(2);
    // Its connection is open, and nobody sends.
    let _silent = streams.pop();
    let (links, heard) = linked(0, streams.remove(0), timeout);
    let want = "has stopped, or its machine cannot be reached";
    assert_eq!(heard.recv_timeout(LONG).unwrap().reason, want);
    assert_eq!(text(links.broadcast(1, Vec::new())), format!("rank 1: {want}"));
    // Those that wait without a word are heard.
    let ranks = connected(2, timeout);
    for (_, heard) in &ranks {
        assert!(heard.recv_timeout(3 * timeout).is_err());
    }
}
