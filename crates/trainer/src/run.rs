//! The directory of a run and what is written into it.

pub(crate) mod checkpoint;
pub(crate) mod curves;
pub(crate) mod directory;
pub(crate) mod drawing;
pub(crate) mod events;
pub(crate) mod statistics;
