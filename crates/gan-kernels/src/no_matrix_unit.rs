//! For processors and systems on which `matrix_unit.rs` cannot be built: there is none.

use crate::geometry::Link;
use crate::product::{Kernel, Matrices, Part};
use std::convert::Infallible;

/// There are none.
pub(crate) struct Operands(Infallible);

pub(crate) fn available() -> bool {
    false
}

impl Operands {
    pub(crate) fn new(_left: Matrices, _right: Matrices) -> Self {
        unreachable!("there is no matrix unit")
    }
}

impl Kernel for Operands {
    fn block(&self) -> (usize, usize) {
        match self.0 {}
    }

    fn pack_right(&mut self) {}

    unsafe fn multiply(&self, _links: &[Link], _part: Part) {
        match self.0 {}
    }
}
