//! The directory of a run and what is written into it.

pub(crate) mod checkpoint;
mod curves;
pub(crate) mod directory;
mod drawing;
mod events;
pub(crate) mod generator;
pub(crate) mod record;
pub(crate) mod statistics;
