//! How ranks find each other: rank 0 listens, all others connect to it.

use crate::error::{Error, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a rank sends first, before the number of ranks and its own.
const HELLO: &[u8; 8] = b"gan-rank";
/// What rank 0 answers, before the length of the reason for which it refuses: 0 when all are there.
const ANSWER: &[u8; 8] = b"gan-here";
/// The longest reason, in bytes.
const MAX_REASON: usize = 1024;
/// Time in which whoever connects must say who it is.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// Time between two tries.
const RETRY: Duration = Duration::from_millis(50);

/// Where ranks meet, and which of them this one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) rank: usize,
    /// Number of ranks.
    pub(super) size: usize,
    /// Where rank 0 listens.
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
                    "{name} is not set; ranks need RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT"
                ))
            })
        };
        let number = |name: &str, most: usize| {
            let text = value(name)?;
            let number = text.parse().ok().filter(|number: &usize| *number <= most);
            number.ok_or_else(|| {
                Error::Ranks(format!("{name}={text}: must be a number up to {most}"))
            })
        };
        let size = number("WORLD_SIZE", u32::MAX as usize)?;
        let rank = number("RANK", size.saturating_sub(1))?;
        // torchrun's own store may have the port; the next one is ours.
        let is_taken = variable("TORCHELASTIC_USE_AGENT_STORE").as_deref() == Some("True");
        let port = number("MASTER_PORT", usize::from(u16::MAX - u16::from(is_taken)))? as u16;
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
pub(super) fn meet(place: &Place, limit: Duration) -> Result<Vec<TcpStream>> {
    if place.rank > 0 {
        return Ok(vec![join(place, limit)?]);
    }
    let listener = TcpListener::bind((place.address.as_str(), place.port)).map_err(|error| {
        Error::Ranks(format!(
            "rank 0 cannot listen on {}: {error}; MASTER_ADDR and MASTER_PORT choose another place",
            place.at()
        ))
    })?;
    gather(&listener, place, limit)
}

/// Waits for all other ranks as rank 0.
pub(super) fn gather(
    listener: &TcpListener,
    place: &Place,
    limit: Duration,
) -> Result<Vec<TcpStream>> {
    let failed = |error| Error::Ranks(format!("waiting for ranks on {}: {error}", place.at()));
    listener.set_nonblocking(true).map_err(failed)?;
    let deadline = Instant::now() + limit;
    let mut ranks: Vec<Option<TcpStream>> = (1..place.size).map(|_| None).collect();
    while let Some(missing) = ranks.iter().position(Option::is_none) {
        match listener.accept() {
            Ok((stream, from)) => admit(stream, from, place, &mut ranks)?,
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(failed(error)),
            Err(_) if Instant::now() < deadline => sleep(RETRY),
            Err(_) => {
                return Err(Error::Ranks(format!(
                    "rank {} of {} has not connected to {} within {} s",
                    missing + 1,
                    place.size,
                    place.at(),
                    limit.as_secs_f64()
                )));
            }
        }
    }
    let mut ranks: Vec<_> = ranks.into_iter().flatten().collect();
    ranks.iter_mut().try_for_each(|stream| answer(stream, "")).map_err(failed)?;
    Ok(ranks)
}

/// Takes a connection, where it is from a rank.
///
/// # Errors
/// A rank that was started as one of other ranks.
fn admit(
    mut stream: TcpStream,
    from: SocketAddr,
    place: &Place,
    ranks: &mut [Option<TcpStream>],
) -> Result<()> {
    let Some((size, rank)) = hear(&mut stream) else {
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

/// The number of ranks and the rank of whoever has connected, if it says so.
fn hear(stream: &mut TcpStream) -> Option<(usize, usize)> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(HELLO_TIME)).ok()?;
    let is_rank = read_array(stream)? == *HELLO;
    is_rank.then(|| Some((read_number(stream)?, read_number(stream)?)))?
}

fn read_array<const N: usize>(stream: &mut TcpStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).ok().map(|()| bytes)
}

fn read_number(stream: &mut TcpStream) -> Option<usize> {
    read_array(stream).map(|bytes| u32::from_le_bytes(bytes) as usize)
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
    let mut hello = HELLO.to_vec();
    hello.extend([place.size, place.rank].map(|number| (number as u32).to_le_bytes()).concat());
    // It begins to wait when it likes, and ends by itself.
    let waits = stream.set_read_timeout(Some(limit + HELLO_TIME));
    waits.and_then(|()| stream.write_all(&hello)).map_err(|error| rank_0(&error.to_string()))?;
    let gave_up = || rank_0("has given up before all ranks were there");
    let magic = read_array::<8>(&mut stream).ok_or_else(gave_up)?;
    let length = read_number(&mut stream).ok_or_else(gave_up)?;
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
    stream.read_exact(&mut reason).map_err(|_| gave_up())?;
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
                    match TcpStream::connect_timeout(&address, HELLO_TIME.min(limit)) {
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
                    "cannot reach rank 0 on {}: {error}; MASTER_ADDR and MASTER_PORT say where it is",
                    place.at()
                )));
            }
        }
    }
}
