//! The update schemes: how one step updates the two networks.

mod alternating;
mod separate;
mod simultaneous;
#[cfg(test)]
mod tests;
