//! The AMX kernel on targets that it is not written for: it is never made.

use crate::kernel::{Kernel, Panels, Product, Target};
use crate::matrix::MatrixBatch;
use std::convert::Infallible;

/// A kernel of which there is no value.
pub(crate) struct AmxKernel(Infallible);

impl AmxKernel {
    pub(crate) fn new(_a: MatrixBatch) -> Self {
        unreachable!("AMX is not available on this target")
    }
}

// SAFETY: there is no value, so nothing is ever called.
unsafe impl Kernel for AmxKernel {
    type Session = ();

    fn session(&self) {
        match self.0 {}
    }

    fn block(&self) -> (usize, usize) {
        match self.0 {}
    }

    fn panel_len(&self, _k: usize) -> usize {
        match self.0 {}
    }

    unsafe fn pack(&self, _panels: Panels, _target: *mut f32) {
        match self.0 {}
    }

    unsafe fn multiply(&self, (): &mut (), _products: &[Product], _target: Target) {
        match self.0 {}
    }
}
