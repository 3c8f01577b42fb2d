//! For processors and systems on which `matrix_unit.rs` cannot be built: there is none.

use crate::product::{Kernel, Matrices, Panels, Part, Term};
use std::convert::Infallible;

/// There are none.
pub(crate) struct Tiles(Infallible);

pub(crate) fn available() -> bool {
    false
}

impl Tiles {
    pub(crate) fn new(_left: Matrices) -> Self {
        unreachable!("there is no matrix unit")
    }
}

impl Kernel for Tiles {
    fn block(&self) -> (usize, usize) {
        match self.0 {}
    }

    fn panel_len(&self, _depth: usize) -> usize {
        match self.0 {}
    }

    unsafe fn pack(&self, _panels: Panels, _target: *mut f32) {
        match self.0 {}
    }

    unsafe fn multiply(&self, _terms: &[Term], _part: Part) {
        match self.0 {}
    }
}
