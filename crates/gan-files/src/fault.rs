//! Faults for tests: the n-th operation on files fails, or the process dies at it.

use std::env;
use std::io::{self, ErrorKind};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable that asks for a fault, e.g. `enospc:17`.
const VARIABLE: &str = "CANDLE_GAN_FAULT";

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

/// A fault, and the operations that it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    fault: Fault,
    /// The first operation that fails, counted from 1.
    first: u64,
    /// Whether all later ones fail too.
    lasting: bool,
}

impl Plan {
    /// Reads `KIND:N` or `KIND:N+`.
    fn parse(text: &str) -> Option<Self> {
        let (kind, number) = text.split_once(':')?;
        let fault = match kind {
            "kill" => Fault::Kill,
            "enospc" => Fault::Error(ErrorKind::StorageFull),
            "erofs" => Fault::Error(ErrorKind::ReadOnlyFilesystem),
            "eio" => Fault::Error(ErrorKind::Other),
            _ => return None,
        };
        let first = number.strip_suffix('+').unwrap_or(number).parse().ok()?;
        Some(Self { fault, first, lasting: number.ends_with('+') })
    }

    fn strikes(self, operation: u64) -> bool {
        operation == self.first || self.lasting && operation > self.first
    }
}

/// Counts an operation, and returns the fault that happens to it.
///
/// # Errors
/// A variable that names no fault.
pub(crate) fn count() -> io::Result<Option<Fault>> {
    static PLAN: LazyLock<Option<String>> =
        LazyLock::new(|| Some(env::var_os(VARIABLE)?.to_string_lossy().into_owned()));
    static OPERATIONS: AtomicU64 = AtomicU64::new(0);
    let Some(text) = &*PLAN else { return Ok(None) };
    let plan = Plan::parse(text).ok_or_else(|| {
        let right = "must be kill:N, enospc:N, eio:N or erofs:N, and + after N for all later ones";
        io::Error::new(ErrorKind::InvalidInput, format!("{VARIABLE}={text} {right}"))
    })?;
    let operation = OPERATIONS.fetch_add(1, Ordering::Relaxed) + 1;
    Ok(plan.strikes(operation).then_some(plan.fault))
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
        assert_eq!(plan.fault, Fault::Error(ErrorKind::StorageFull));
        assert_eq!([2, 3, 4].map(|n| plan.strikes(n)), [false, true, false]);
        let plan = Plan::parse("kill:3+").unwrap();
        assert_eq!(plan.fault, Fault::Kill);
        assert_eq!([2, 3, 4].map(|n| plan.strikes(n)), [false, true, true]);
        for wrong in ["", "kill", "kill:", "kill:x", "rain:3", "kill:3++"] {
            assert_eq!(Plan::parse(wrong), None, "{wrong}");
        }
    }
}
