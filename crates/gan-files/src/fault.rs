//! Faults for tests: the n-th operation on files fails, the process dies at it, or the clock jumps.

use std::env;
use std::io::{self, ErrorKind};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The environment variable that asks for a fault, e.g. `enospc:17`.
const VARIABLE: &str = "CANDLE_GAN_FAULT";
/// From 1970 to the year 9999.
const YEAR_9999: Duration = Duration::from_secs(253_370_764_800);
/// The number of operations so far, where there is a plan.
static OPERATIONS: AtomicU64 = AtomicU64::new(0);

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process dies at once, as by SIGKILL.
    Kill,
    /// The operation fails with this error.
    Error(ErrorKind),
}

impl Fault {
    /// Dies, or returns the error.
    pub(crate) fn strike(self) -> io::Error {
        match self {
            Self::Kill => std::process::abort(),
            Self::Error(kind) => io::Error::new(kind, format!("{kind} ({VARIABLE})")),
        }
    }
}

/// What is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Fault(Fault),
    /// The wall clock stands at this time after 1970 from the first operation on.
    Clock(Duration),
}

/// An event, and the operations that it happens at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    event: Event,
    /// The first operation that fails, counted from 1.
    first: u64,
    /// Whether all later ones fail too.
    lasting: bool,
}

impl Plan {
    /// Reads `KIND:N` or `KIND:N+`.
    fn parse(text: &str) -> Option<Self> {
        let (kind, number) = text.split_once(':')?;
        let event = match kind {
            "kill" => Event::Fault(Fault::Kill),
            "enospc" => Event::Fault(Fault::Error(ErrorKind::StorageFull)),
            "erofs" => Event::Fault(Fault::Error(ErrorKind::ReadOnlyFilesystem)),
            "eio" => Event::Fault(Fault::Error(ErrorKind::Other)),
            "past" => Event::Clock(Duration::ZERO),
            "future" => Event::Clock(YEAR_9999),
            _ => return None,
        };
        let first = number.strip_suffix('+').unwrap_or(number).parse().ok()?;
        Some(Self { event, first, lasting: number.ends_with('+') })
    }

    fn strikes(self, operation: u64) -> bool {
        operation == self.first || self.lasting && operation > self.first
    }
}

/// What the variable asks for, if it is set.
///
/// # Errors
/// A variable that names no fault.
fn plan() -> io::Result<Option<Plan>> {
    static TEXT: LazyLock<Option<String>> =
        LazyLock::new(|| Some(env::var_os(VARIABLE)?.to_string_lossy().into_owned()));
    let Some(text) = &*TEXT else { return Ok(None) };
    let plan = Plan::parse(text).ok_or_else(|| {
        let right = "must be kill:N, enospc:N, eio:N, erofs:N, past:N or future:N, and + after N for all \
                     later ones";
        io::Error::new(ErrorKind::InvalidInput, format!("{VARIABLE}={text} {right}"))
    })?;
    Ok(Some(plan))
}

/// Counts an operation, and returns the fault that happens to it.
///
/// # Errors
/// A variable that names no fault.
pub(crate) fn count() -> io::Result<Option<Fault>> {
    let Some(plan) = plan()? else { return Ok(None) };
    let operation = OPERATIONS.fetch_add(1, Ordering::Relaxed) + 1;
    Ok(match plan.event {
        Event::Fault(fault) => plan.strikes(operation).then_some(fault),
        Event::Clock(_) => None,
    })
}

/// The time on the wall clock, which may be wrong and go backwards. For names and what is shown: durations
/// are measured by `Instant`.
pub fn now() -> SystemTime {
    match plan() {
        Ok(Some(Plan { event: Event::Clock(time), first, .. }))
            if OPERATIONS.load(Ordering::Relaxed) >= first =>
        {
            UNIX_EPOCH + time
        }
        _ => SystemTime::now(),
    }
}

/// Counts an operation that happens whole or not at all.
///
/// # Errors
/// The fault that happens to it.
pub(crate) fn point() -> io::Result<()> {
    count()?.map_or(Ok(()), |fault| Err(fault.strike()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_its_operations() {
        let plan = Plan::parse("enospc:3").unwrap();
        assert_eq!(plan.event, Event::Fault(Fault::Error(ErrorKind::StorageFull)));
        assert_eq!([2, 3, 4].map(|n| plan.strikes(n)), [false, true, false]);
        let plan = Plan::parse("kill:3+").unwrap();
        assert_eq!(plan.event, Event::Fault(Fault::Kill));
        assert_eq!([2, 3, 4].map(|n| plan.strikes(n)), [false, true, true]);
        assert_eq!(Plan::parse("past:9").unwrap().event, Event::Clock(Duration::ZERO));
        for wrong in ["", "kill", "kill:", "kill:x", "rain:3", "kill:3++"] {
            assert_eq!(Plan::parse(wrong), None, "{wrong}");
        }
    }
}
