//! The update schemes: how one step updates the two networks.

mod alternating;
#[cfg(test)]
mod micro_batches;
#[cfg(test)]
mod ranks;
mod separate;
mod simultaneous;
#[cfg(test)]
mod tests;
