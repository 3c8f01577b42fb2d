//! The run directory and the files in it.

pub(crate) mod checkpoint;
mod command;
pub(crate) mod curves;
pub(crate) mod directory;
mod drawing;
mod events;
pub(crate) mod generator;
pub(crate) mod grid;
pub(crate) mod init_from;
mod leftovers;
mod lock;
pub(crate) mod model_card;
pub(crate) mod record;
pub(crate) mod statistics;
