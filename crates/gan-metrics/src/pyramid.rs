//! Laplacian pyramids of images.

use crate::error::{Error, Result};
use candle_core::Tensor;
use rayon::prelude::*;

/// Images are halved while no side falls below this.
const LAST_SIDE: usize = 16;
/// The blur between two levels, along rows and along columns.
const BLUR: [f32; 5] = [1.0 / 16.0, 4.0 / 16.0, 6.0 / 16.0, 4.0 / 16.0, 1.0 / 16.0];

/// Images of one size, as planes of one channel each.
#[derive(Clone, Debug)]
pub(crate) struct Planes {
    /// (N, C, H, W), contiguous.
    pub(crate) values: Vec<f32>,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Returns the levels of the images' Laplacian pyramids, the finest first: what is lost where a
/// level is halved, and last the smallest images themselves.
///
/// # Shapes
/// `images`: (N, C, H, W). Each level has half the size of the one before, rounded up.
/// # Errors
/// Images of another rank or type; NaN or infinite values.
/// # Reference
/// Burt and Adelson 1983, "The Laplacian pyramid as a compact image code".
pub(crate) fn laplacian_pyramid(images: &Tensor) -> Result<Vec<Planes>> {
    let (_, channels, height, width) = images.dims4()?;
    let values = images.flatten_all()?.to_vec1::<f32>()?;
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        let value = f64::from(values[index]);
        return Err(Error::NotFinite { what: "images", index, value });
    }
    let mut levels = vec![Planes { values, channels, height, width }];
    while let Some(level) = levels.last_mut()
        && level.height.min(level.width).div_ceil(2) >= LAST_SIDE
    {
        let half = level.halved();
        let blurred = half.values.par_chunks(half.height * half.width);
        let planes = level.values.par_chunks_mut(level.height * level.width);
        let size = (level.height, level.width);
        planes.zip(blurred).for_each(|(plane, half)| subtract(plane, &doubled(half, size)));
        levels.push(half);
    }
    Ok(levels)
}

impl Planes {
    /// The images blurred and without every second row and column.
    fn halved(&self) -> Self {
        let size = (self.height, self.width);
        let halves: Vec<Vec<f32>> = self
            .values
            .par_chunks(self.height * self.width)
            .map(|plane| {
                let blurred = blur(plane, size);
                let rows = blurred.chunks_exact(self.width).step_by(2);
                rows.flat_map(|row| row.iter().copied().step_by(2)).collect()
            })
            .collect();
        let (height, width) = (self.height.div_ceil(2), self.width.div_ceil(2));
        Self { values: halves.concat(), height, width, ..*self }
    }
}

/// Returns a plane at twice the size, or one less: between its rows and columns the blur interpolates.
fn doubled(half: &[f32], (height, width): (usize, usize)) -> Vec<f32> {
    let mut spread = vec![0.0; height * width];
    let rows = spread.chunks_exact_mut(width).step_by(2);
    for (row, half) in rows.zip(half.chunks_exact(width.div_ceil(2))) {
        // Of four pixels, three are 0.
        row.iter_mut().step_by(2).zip(half).for_each(|(value, half)| *value = 4.0 * half);
    }
    blur(&spread, (height, width))
}

fn subtract(plane: &mut [f32], other: &[f32]) {
    plane.iter_mut().zip(other).for_each(|(value, other)| *value -= other);
}

/// Blurs a plane. Beyond its edges it is mirrored, without repeating the edge.
fn blur(plane: &[f32], (height, width): (usize, usize)) -> Vec<f32> {
    let mirror = |at: usize, tap: usize, side: usize| {
        let at = (at + tap).abs_diff(BLUR.len() / 2);
        if at < side { at } else { 2 * (side - 1) - at }
    };
    let mut along_rows = Vec::with_capacity(plane.len());
    for row in plane.chunks_exact(width) {
        let sum =
            |x| BLUR.iter().enumerate().map(|(k, w)| w * row[mirror(x, k, width)]).sum::<f32>();
        along_rows.extend((0..width).map(sum));
    }
    let mut blurred = vec![0.0; plane.len()];
    for (y, result) in blurred.chunks_exact_mut(width).enumerate() {
        for (k, weight) in BLUR.iter().enumerate() {
            let start = mirror(y, k, height) * width;
            let row = &along_rows[start..start + width];
            result.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    blurred
}
