//! The machine's memory, which bounds the sizes of networks.

use std::sync::LazyLock;
use std::{env, fs};

/// What a machine is taken to have if it does not say: 16 GiB.
const ASSUMED: u64 = 16 << 30;

/// The environment variable that makes it less, in bytes.
const VARIABLE: &str = "CANDLE_GAN_MEMORY";

/// The machine's memory in bytes; within a container, that of the container; less where the
/// environment variable `CANDLE_GAN_MEMORY` says so. 16 GiB where none of them is known: on systems
/// other than Linux.
pub fn total_memory() -> u64 {
    static MEMORY: LazyLock<u64> = LazyLock::new(known);
    *MEMORY
}

fn known() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    });
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|text| text.trim().parse().ok());
    let allowed = env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
    [machine, container, allowed].into_iter().flatten().min().unwrap_or(ASSUMED)
}
