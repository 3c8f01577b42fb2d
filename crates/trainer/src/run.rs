//! The run directory and the files in it.

pub(crate) mod checkpoint;
pub(crate) mod curves;
pub(crate) mod directory;
mod drawing;
mod events;
pub(crate) mod generator;
mod leftovers;
mod lock;
pub(crate) mod record;
pub(crate) mod statistics;
