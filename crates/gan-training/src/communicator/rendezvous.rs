//! How ranks find each other: rank 0 listens, all others connect to it.

use crate::error::{Error, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a rank sends first, before the number of ranks and its own.
const HANDSHAKE: &[u8; 8] = b"gan-rank";
/// What rank 0 answers, before the length of the reason for which it refuses: 0 when all are there.
const ANSWER: &[u8; 8] = b"gan-here";
/// The longest reason, in bytes.
const MAX_REASON: usize = 1024;
/// Time in which whoever connects must say who it is.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The most ranks: rank 0 keeps a connection to each.
const MAX_RANKS: usize = 1 << 16;
/// The cure where no launcher has set the variables.
const ALONE: &str = "to train alone, unset RANK and WORLD_SIZE";
/// Time between two tries.
const RETRY: Duration = Duration::from_millis(50);

/// Where ranks meet, and which of them this one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) rank: usize,
    /// Number of ranks.
    pub(super) size: usize,
    /// Where the others reach rank 0.
    pub(super) address: String,
    pub(super) port: u16,
}

impl Place {
    /// Reads the variables of a launcher: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
    ///
    /// # Errors
    /// [`Error::Ranks`] names the variable that is missing or wrong.
    pub(super) fn of_launcher(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let value = |name: &str| {
            variable(name).ok_or_else(|| {
                Error::Ranks(format!(
                    "{name} is not set; ranks need RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; {ALONE}"
                ))
            })
        };
        let number = |name: &str, range: RangeInclusive<usize>| {
            let text = value(name)?;
            text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
                let (least, most) = range.into_inner();
                Error::Ranks(format!("{name}={text}: must be a number from {least} to {most}"))
            })
        };
        let size = number("WORLD_SIZE", 1..=MAX_RANKS)?;
        let rank = number("RANK", 0..=size - 1)?;
        // torchrun's own store may have the port; the next one is ours.
        let is_taken = variable("TORCHELASTIC_USE_AGENT_STORE").as_deref() == Some("True");
        let port = number("MASTER_PORT", 0..=usize::from(u16::MAX - u16::from(is_taken)))? as u16;
        let port = port + u16::from(is_taken);
        Ok(Self { rank, size, address: value("MASTER_ADDR")?, port })
    }

    fn at(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }
}

/// Connects the ranks within a time: rank 0 to each of the others in their order, the others to
/// rank 0.
///
/// # Errors
/// [`Error::Rank`] with what rank 0 says on a rank that it refuses, or that it leaves; else
/// [`Error::Ranks`].
pub(super) fn rendezvous(place: &Place, limit: Duration) -> Result<Vec<TcpStream>> {
    if place.rank > 0 {
        return Ok(vec![join(place, limit)?]);
    }
    gather(&listen(place.port)?, place, limit)
}

/// Listens on all interfaces: the address by which others reach this machine need not be its own name
/// for itself.
fn listen(port: u16) -> Result<TcpListener> {
    let all: [SocketAddr; 2] =
        [(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()];
    TcpListener::bind(&all[..]).map_err(|error| {
        Error::Ranks(format!(
            "rank 0 cannot listen on port {port}: {error}; MASTER_PORT chooses another"
        ))
    })
}

/// Waits for all other ranks as rank 0.
pub(super) fn gather(
    listener: &TcpListener,
    place: &Place,
    limit: Duration,
) -> Result<Vec<TcpStream>> {
    let failed = |error| Error::Ranks(format!("waiting for ranks on {}: {error}", place.at()));
    listener.set_nonblocking(true).map_err(failed)?;
    tracing::info!("waiting for {} ranks on {}", place.size - 1, place.at());
    let deadline = Instant::now() + limit;
    let mut ranks: Vec<Option<TcpStream>> = (1..place.size).map(|_| None).collect();
    while let Some(missing) = ranks.iter().position(Option::is_none) {
        if Instant::now() > deadline {
            return Err(Error::Ranks(format!(
                "rank {} of {} has not connected to {} within {} s; {ALONE}",
                missing + 1,
                place.size,
                place.at(),
                limit.as_secs_f64()
            )));
        }
        match listener.accept() {
            Ok((stream, from)) => admit((stream, from), place, deadline, &mut ranks)?,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => sleep(RETRY),
                // Who connected has left.
                ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                _ => return Err(failed(error)),
            },
        }
    }
    let mut ranks: Vec<_> = ranks.into_iter().flatten().collect();
    for (index, stream) in ranks.iter_mut().enumerate() {
        answer(stream, "").map_err(|error| Error::Rank {
            rank: index + 1,
            reason: format!("is lost while ranks connect: {error}"),
        })?;
    }
    Ok(ranks)
}

/// Takes a connection, where it is from a rank.
///
/// # Errors
/// A rank that was started as one of other ranks.
fn admit(
    (mut stream, from): (TcpStream, SocketAddr),
    place: &Place,
    deadline: Instant,
    ranks: &mut [Option<TcpStream>],
) -> Result<()> {
    let Some((size, rank)) =
        handshake(&mut stream, deadline.min(Instant::now() + HANDSHAKE_TIMEOUT))
    else {
        tracing::warn!("{from} has connected to {} and is no rank; it is ignored", place.at());
        return Ok(());
    };
    let reason = match ranks.get_mut(rank.wrapping_sub(1)) {
        _ if size != place.size => {
            format!("rank {rank} has WORLD_SIZE {size}, rank 0 has {}", place.size)
        }
        Some(free @ None) => {
            *free = Some(stream);
            return Ok(());
        }
        Some(_) => format!("two processes have RANK {rank}"),
        None => format!("a process that connects to rank 0 has RANK {rank}"),
    };
    // It may be gone.
    let _ = answer(&mut stream, &reason);
    Err(Error::Ranks(reason))
}

/// The number of ranks and the rank of whoever has connected, if it says so in time.
fn handshake(stream: &mut TcpStream, deadline: Instant) -> Option<(usize, usize)> {
    stream.set_nonblocking(false).ok()?;
    let is_rank = read_array(stream, deadline)? == *HANDSHAKE;
    is_rank.then(|| Some((read_number(stream, deadline)?, read_number(stream, deadline)?)))?
}

/// Fills the bytes, whatever the pace at which they arrive, by the deadline.
fn read(stream: &mut TcpStream, mut bytes: &mut [u8], deadline: Instant) -> Option<()> {
    while !bytes.is_empty() {
        // No time left is an error.
        stream.set_read_timeout(Some(deadline.saturating_duration_since(Instant::now()))).ok()?;
        match stream.read(bytes) {
            Ok(0) => return None,
            Ok(count) => bytes = &mut bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(())
}

fn read_array<const N: usize>(stream: &mut TcpStream, deadline: Instant) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    read(stream, &mut bytes, deadline).map(|()| bytes)
}

fn read_number(stream: &mut TcpStream, deadline: Instant) -> Option<usize> {
    read_array(stream, deadline).map(|bytes| u32::from_le_bytes(bytes) as usize)
}

/// Answers a rank with the reason for which it is refused, or with none.
fn answer(stream: &mut TcpStream, reason: &str) -> std::io::Result<()> {
    let mut message = ANSWER.to_vec();
    message.extend((reason.len() as u32).to_le_bytes());
    message.extend(reason.as_bytes());
    stream.write_all(&message)
}

/// Connects to rank 0 and waits until all ranks have.
fn join(place: &Place, limit: Duration) -> Result<TcpStream> {
    let mut stream = reach(place, limit)?;
    let rank_0 = |reason: &str| Error::Rank { rank: 0, reason: reason.to_string() };
    let mut handshake = HANDSHAKE.to_vec();
    handshake.extend([place.size, place.rank].map(|number| (number as u32).to_le_bytes()).concat());
    // It begins to wait when it likes, and ends by itself.
    let deadline = Instant::now() + limit + HANDSHAKE_TIMEOUT;
    stream.write_all(&handshake).map_err(|error| rank_0(&error.to_string()))?;
    let gave_up = || rank_0("has given up before all ranks were there");
    let magic = read_array::<8>(&mut stream, deadline).ok_or_else(gave_up)?;
    let length = read_number(&mut stream, deadline).ok_or_else(gave_up)?;
    if magic != *ANSWER || length > MAX_REASON {
        return Err(Error::Ranks(format!(
            "{} answers, but not as rank 0 does; is MASTER_PORT another program's?",
            place.at()
        )));
    }
    if length == 0 {
        return Ok(stream);
    }
    let mut reason = vec![0; length];
    read(&mut stream, &mut reason, deadline).ok_or_else(gave_up)?;
    Err(rank_0(&String::from_utf8_lossy(&reason)))
}

/// Connects to where rank 0 listens, or will.
fn reach(place: &Place, limit: Duration) -> Result<TcpStream> {
    let deadline = Instant::now() + limit;
    loop {
        let reached =
            (place.address.as_str(), place.port).to_socket_addrs().and_then(|addresses| {
                let mut error = ErrorKind::AddrNotAvailable.into();
                for address in addresses {
                    match TcpStream::connect_timeout(&address, HANDSHAKE_TIMEOUT.min(limit)) {
                        // Where nobody listens, a connection can be to itself.
                        Ok(stream) if stream.local_addr()? != stream.peer_addr()? => {
                            return Ok(stream);
                        }
                        Ok(_) => {}
                        Err(of_address) => error = of_address,
                    }
                }
                Err(error)
            });
        match reached {
            Ok(stream) => return Ok(stream),
            Err(_) if Instant::now() < deadline => sleep(RETRY),
            Err(error) => {
                return Err(Error::Ranks(format!(
                    "cannot reach rank 0 on {}: {error}; MASTER_ADDR and MASTER_PORT say where it is; {ALONE}",
                    place.at()
                )));
            }
        }
    }
}
