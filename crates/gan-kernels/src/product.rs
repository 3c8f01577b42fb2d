//! Products over the links of a [`Geometry`]: a layer's forward pass and its two gradients.
//!
//! Activations are laid out as [pixel][batch][channel], so that for one pixel the batch is a
//! plain matrix, and a convolution is, for each output pixel, a sum over taps of plain matrix
//! products. Weights are [tap][channel in][channel out].

use crate::aligned::Aligned;
use crate::geometry::{Geometry, Link, Links};
use crate::parallel::{self, Disjoint};
use crate::tile::{self, Segment, Strides};
use pulp::{Arch, Simd, WithSimd};

/// Floats of the `B` operand that a tile should find in the first-level cache.
const CACHED_FLOATS: usize = 8192;
/// Longest stretch of k in one segment.
const MAX_DEPTH: usize = 256;
/// Most segments handed to one tile at a time.
const MAX_SEGMENTS: usize = 32;
/// Tasks to aim at, whatever the number of threads, so that they spread evenly.
const TASKS: usize = 32;

/// Layers with fewer channels than this on one side (pictures: 1 or 3) go another way: their
/// taps are laid side by side as the columns of one product.
const FEW_CHANNELS: usize = 8;

/// A matrix for every tap, packed as the `B` operand: [tap][panel][k][column of the panel],
/// padded with zeros to whole panels.
pub(crate) struct Panels {
    data: Aligned,
    depth: usize,
    width: usize,
    /// Columns of a panel.
    columns: usize,
    vectors: usize,
}

/// Where element (tap, k, column) of an unpacked matrix lies.
#[derive(Clone, Copy)]
pub(crate) struct MatrixStrides {
    pub(crate) tap: usize,
    pub(crate) k: usize,
    pub(crate) column: usize,
}

impl Panels {
    pub(crate) fn pack(
        source: &[f32],
        taps: usize,
        depth: usize,
        width: usize,
        strides: MatrixStrides,
    ) -> Self {
        let (vectors, columns) = Arch::new().dispatch(TileSize { width });
        let count = width.div_ceil(columns);
        let size = depth * columns;
        let mut data = Aligned::zeros(taps * count * size);
        let target = Disjoint::new(data.as_mut_slice());
        let work = taps * depth * width;
        parallel::for_each(taps * count, work, |task| {
            let (tap, panel) = (task / count, task % count);
            let first = panel * columns;
            let valid = columns.min(width - first);
            // SAFETY: every task writes its own panel.
            let target = unsafe { target.part(task * size, size) };
            let source = &source[tap * strides.tap + first * strides.column..];
            if strides.column == 1 {
                for (k, row) in target.chunks_exact_mut(columns).enumerate() {
                    row[..valid].copy_from_slice(&source[k * strides.k..][..valid]);
                }
            } else {
                for column in 0..valid {
                    let source = &source[column * strides.column..];
                    for k in 0..depth {
                        target[k * columns + column] = source[k * strides.k];
                    }
                }
            }
        });
        Self { data, depth, width, columns, vectors }
    }

    fn count(&self) -> usize {
        self.width.div_ceil(self.columns)
    }

    fn panel(&self, tap: usize, panel: usize) -> &[f32] {
        let size = self.depth * self.columns;
        &self.data.as_slice()[(tap * self.count() + panel) * size..][..size]
    }
}

struct TileSize {
    width: usize,
}

impl WithSimd for TileSize {
    type Output = (usize, usize);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        (tile::vectors_per_row::<S>(self.width), tile::tile_columns::<S>(self.width))
    }
}

/// The product of every pixel's batch with the weights of its links: for each pixel of `links`,
/// `output[pixel][b] = sum over its links of input[link.pixel][b] * panels[link.tap]`.
/// `finish(row, column, values)` is then called once for every element, with a stretch of one
/// row, or with whole rows of one pixel, that begins at (row, column); row counts [pixel][batch].
pub(crate) fn multiply(
    links: &Links,
    input: &[f32],
    panels: &Panels,
    batch: usize,
    finish: impl Fn(usize, usize, &mut [f32]) + Sync + Send,
) -> Vec<f32> {
    let (depth, width, pixels) = (panels.depth, panels.width, links.pixels());
    // Tasks are pixels; where those are few, also stretches of columns, then of rows.
    let group_columns = panels.count().div_ceil(TASKS.div_ceil(pixels).min(panels.count()));
    let column_groups = panels.count().div_ceil(group_columns);
    let row_groups = TASKS.div_ceil(pixels * column_groups).min(batch.div_ceil(8)).max(1);
    let group_rows = batch.div_ceil(row_groups).next_multiple_of(8);
    let row_groups = batch.div_ceil(group_rows);
    let work = links.len() * batch * depth * width;
    let arch = Arch::new();
    let tasks = pixels * column_groups * row_groups;
    let run = |target: &Disjoint, task: usize| {
        let (pixel, rest) =
            (task / (column_groups * row_groups), task % (column_groups * row_groups));
        let (column_group, row_group) = (rest / row_groups, rest % row_groups);
        let first_row = (row_group * group_rows).min(batch);
        let first_panel = (column_group * group_columns).min(panels.count());
        let part = Part {
            links: links.of(pixel),
            input,
            panels,
            batch,
            rows: first_row..(first_row + group_rows).min(batch),
            panel_range: first_panel..(first_panel + group_columns).min(panels.count()),
            output: target.address(pixel * batch * width),
        };
        let (rows, panel_range) = (part.rows.clone(), part.panel_range.clone());
        arch.dispatch(part);
        let columns =
            panel_range.start * panels.columns..(panel_range.end * panels.columns).min(width);
        let first = pixel * batch + rows.start;
        if columns.len() == width {
            // SAFETY: rows of different tasks do not meet; the product has written these.
            let values = unsafe { target.part(first * width, rows.len() * width) };
            return finish(first, 0, values);
        }
        for row in first..first + rows.len() {
            // SAFETY: rows and columns of different tasks do not meet; the product has written
            // these.
            let values = unsafe { target.part(row * width + columns.start, columns.len()) };
            finish(row, columns.start, values);
        }
    };
    // SAFETY: the tasks cover all pixels, rows and columns, and each writes all of its own.
    unsafe {
        parallel::filled(pixels * batch * width, |target| {
            parallel::for_each(tasks, work, |task| run(target, task));
        })
    }
}

/// One task of [`multiply`].
struct Part<'a> {
    links: &'a [Link],
    input: &'a [f32],
    panels: &'a Panels,
    batch: usize,
    rows: std::ops::Range<usize>,
    panel_range: std::ops::Range<usize>,
    /// The pixel's first element of the output.
    output: *mut f32,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Panels { depth, width, columns, vectors, .. } = *self.panels;
        let per_chunk = (CACHED_FLOATS / (depth.min(MAX_DEPTH) * columns)).clamp(1, MAX_SEGMENTS);
        let strides = Strides { a_row: depth, a_step: 1, b_step: columns, c_row: width };
        if self.links.is_empty() {
            for row in self.rows {
                for column in
                    self.panel_range.start * columns..(self.panel_range.end * columns).min(width)
                {
                    // SAFETY: this task's own element.
                    unsafe { self.output.add(row * width + column).write(0.0) };
                }
            }
            return;
        }
        let mut accumulate = false;
        for first in (0..depth).step_by(MAX_DEPTH) {
            let length = MAX_DEPTH.min(depth - first);
            // Panels inside of taps: a linked pixel's batch is fetched once for all panels.
            for chunk in self.links.chunks(per_chunk) {
                for panel in self.panel_range.clone() {
                    let first_column = panel * columns;
                    let mut segments =
                        [Segment { a: std::ptr::null(), b: std::ptr::null() }; MAX_SEGMENTS];
                    for (segment, link) in segments.iter_mut().zip(chunk) {
                        let row = link.pixel as usize * self.batch + self.rows.start;
                        segment.a = self.input[row * depth + first..].as_ptr();
                        segment.b =
                            self.panels.panel(link.tap as usize, panel)[first * columns..].as_ptr();
                    }
                    // SAFETY: `input` holds all rows of every linked pixel, panels are padded to
                    // whole tiles, and no other task writes these rows and columns.
                    unsafe {
                        tile::product(
                            simd,
                            vectors,
                            &segments[..chunk.len()],
                            strides,
                            length,
                            self.output.add(self.rows.start * width + first_column),
                            self.rows.len(),
                            columns.min(width - first_column),
                            accumulate,
                        );
                    }
                }
                accumulate = true;
            }
        }
    }
}

/// Whether what a pixel meets is better gathered first: sums over few channels are too short to
/// be products of their own.
pub(crate) fn is_shallow(depth: usize, taps: usize) -> bool {
    depth < FEW_CHANNELS && taps > 1
}

/// Whether a product with `width` result channels is cheaper with all taps side by side.
pub(crate) fn is_narrow(links: &Links, sources: usize, taps: usize, width: usize) -> bool {
    // Cost in padded columns: direct, a tile's width for every link; side by side, all taps of
    // every source pixel.
    let tile = 32;
    width < FEW_CHANNELS
        && sources * (taps * width).next_multiple_of(tile)
            < links.len() * width.next_multiple_of(tile)
}

/// [`multiply`] for few result channels: `panels` holds all taps side by side, as one matrix of
/// `taps * width` columns; every source pixel is multiplied once, and the results are then
/// summed along the links.
pub(crate) fn multiply_narrow(
    links: &Links,
    input: &[f32],
    panels: &Panels,
    batch: usize,
    width: usize,
    finish: impl Fn(usize, usize, &mut [f32]) + Sync + Send,
) -> Vec<f32> {
    let sources = input.len() / (batch * panels.depth);
    let side_by_side = multiply(&Links::identity(sources), input, panels, batch, |_, _, _| {});
    let columns = panels.width;
    let arch = Arch::new();
    let mut output = vec![0.0; links.pixels() * batch * width];
    let target = Disjoint::new(&mut output);
    parallel::for_each(links.pixels(), links.len() * batch * width, |pixel| {
        // SAFETY: every task writes its own pixel.
        let output = unsafe { target.part(pixel * batch * width, batch * width) };
        arch.dispatch(|| {
            for link in links.of(pixel) {
                let rows =
                    &side_by_side[link.pixel as usize * batch * columns..][..batch * columns];
                let first = link.tap as usize * width;
                // Channel by channel, for there are few.
                for channel in 0..width {
                    let values = rows[first + channel..].iter().step_by(columns);
                    let output = output[channel..].iter_mut().step_by(width);
                    output.zip(values).for_each(|(output, value)| *output += value);
                }
            }
        });
        finish(pixel * batch, 0, output);
    });
    output
}

/// The gradient of the weights: `[tap][channel in][channel out]`, for each tap the sum over its
/// pairs of pixels of `input[pixel in]` transposed times `gradient[pixel out]`.
pub(crate) fn weight_gradient(
    geometry: &Geometry,
    input: &[f32],
    gradient: &[f32],
    batch: usize,
    channels: (usize, usize),
) -> Vec<f32> {
    let taps = geometry.taps();
    if is_shallow(channels.0, taps) {
        // Taps side by side on the input's side: one product of (taps x channels in) rows.
        let patches = patches(&geometry.forward, input, batch, channels.0, taps);
        let pixels = geometry.forward.pixels();
        let pairs: Vec<_> = (0..pixels as u32).map(|pixel| (pixel, pixel)).collect();
        sum_of_pairs(&[pairs], &patches, gradient, batch, (taps * channels.0, channels.1))
    } else if channels.1 < FEW_CHANNELS
        && taps > 1
        && geometry.backward.pixels() < geometry.forward.pixels()
    {
        let patches = patches(&geometry.backward, gradient, batch, channels.1, taps);
        let pixels = geometry.backward.pixels();
        let pairs: Vec<_> = (0..pixels as u32).map(|pixel| (pixel, pixel)).collect();
        let rows = sum_of_pairs(&[pairs], input, &patches, batch, (channels.0, taps * channels.1));
        // [channel in][tap][channel out] -> [tap][channel in][channel out]
        let mut weights = Vec::with_capacity(rows.len());
        for tap in 0..taps {
            for row in rows.chunks_exact(taps * channels.1) {
                weights.extend_from_slice(&row[tap * channels.1..][..channels.1]);
            }
        }
        weights
    } else {
        sum_of_pairs(&geometry.pairs, input, gradient, batch, channels)
    }
}

/// For each pixel of `links`, what it meets, tap beside tap: [pixel][batch][tap][channel], zeros
/// where a tap meets nothing.
pub(crate) fn patches(
    links: &Links,
    source: &[f32],
    batch: usize,
    channels: usize,
    taps: usize,
) -> Vec<f32> {
    let columns = taps * channels;
    let mut patches = vec![0.0; links.pixels() * batch * columns];
    let target = Disjoint::new(&mut patches);
    parallel::for_each(links.pixels(), links.len() * batch * channels, |pixel| {
        // SAFETY: every task writes its own pixel.
        let rows = unsafe { target.part(pixel * batch * columns, batch * columns) };
        for link in links.of(pixel) {
            let source = &source[link.pixel as usize * batch * channels..][..batch * channels];
            let first = link.tap as usize * channels;
            // Channel by channel, for there are few.
            for channel in 0..channels {
                let target = rows[first + channel..].iter_mut().step_by(columns);
                let values = source[channel..].iter().step_by(channels);
                target.zip(values).for_each(|(target, value)| *target = *value);
            }
        }
    });
    patches
}

/// `result[tap] = sum over the tap's pairs (i, o) of a[i] transposed times b[o]`, where `a` and
/// `b` are [pixel][batch][channel] with `channels.0` and `channels.1`.
fn sum_of_pairs(
    pairs: &[Vec<(u32, u32)>],
    a: &[f32],
    b: &[f32],
    batch: usize,
    channels: (usize, usize),
) -> Vec<f32> {
    let (rows, width) = channels;
    let a = pack_rows(a, batch, rows);
    let strides = MatrixStrides { tap: batch * width, k: width, column: 1 };
    let b = Panels::pack(b, b.len() / (batch * width), batch, width, strides);
    let taps = pairs.len();
    let blocks = rows.div_ceil(ROWS);
    // Tasks are taps; where those are few, also stretches of rows.
    let row_groups = TASKS.div_ceil(taps).min(blocks);
    let group_blocks = blocks.div_ceil(row_groups);
    let mut result = vec![0.0; taps * rows * width];
    let target = Disjoint::new(&mut result);
    let meetings: usize = pairs.iter().map(Vec::len).sum();
    let arch = Arch::new();
    parallel::for_each(taps * row_groups, meetings * batch * rows * width, |task| {
        let (tap, group) = (task / row_groups, task % row_groups);
        let first = (group * group_blocks).min(blocks);
        arch.dispatch(PairsPart {
            pairs: &pairs[tap],
            a: &a,
            b: &b,
            batch,
            rows,
            blocks: first..(first + group_blocks).min(blocks),
            output: target.address(tap * rows * width),
        });
    });
    result
}

/// Rows of `A` packed side by side.
const ROWS: usize = 8;

/// [pixel][batch][channel] -> [pixel][block of channels][batch][channel of the block].
fn pack_rows(source: &[f32], batch: usize, channels: usize) -> Vec<f32> {
    let blocks = channels.div_ceil(ROWS);
    let pixels = source.len() / (batch * channels);
    let size = blocks * batch * ROWS;
    let pack = |target: &Disjoint, pixel: usize| {
        // SAFETY: every task writes its own pixel.
        let target = unsafe { target.unwritten(pixel * size, size) };
        let source = &source[pixel * batch * channels..][..batch * channels];
        for (b, row) in source.chunks_exact(channels).enumerate() {
            let (whole, rest) = row.as_chunks::<ROWS>();
            for (block, values) in whole.iter().enumerate() {
                target[(block * batch + b) * ROWS..][..ROWS].write_copy_of_slice(values);
            }
            if !rest.is_empty() {
                let (values, padding) =
                    target[(whole.len() * batch + b) * ROWS..][..ROWS].split_at_mut(rest.len());
                values.write_copy_of_slice(rest);
                padding.iter_mut().for_each(|value| {
                    value.write(0.0);
                });
            }
        }
    };
    // SAFETY: a pixel's blocks, padding included, are all of its elements.
    unsafe {
        parallel::filled(pixels * size, |target| {
            parallel::for_each(pixels, source.len(), |pixel| pack(target, pixel));
        })
    }
}

/// One task of [`sum_of_pairs`].
struct PairsPart<'a> {
    pairs: &'a [(u32, u32)],
    a: &'a [f32],
    b: &'a Panels,
    batch: usize,
    rows: usize,
    blocks: std::ops::Range<usize>,
    /// The tap's first element of the result.
    output: *mut f32,
}

impl WithSimd for PairsPart<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Panels { width, columns, vectors, .. } = *self.b;
        let blocks = self.rows.div_ceil(ROWS);
        let per_chunk = (MAX_DEPTH / self.batch).clamp(1, MAX_SEGMENTS);
        let strides = Strides { a_row: 1, a_step: ROWS, b_step: columns, c_row: width };
        for (number, chunk) in self.pairs.chunks(per_chunk).enumerate() {
            for panel in 0..self.b.count() {
                let first_column = panel * columns;
                for block in self.blocks.clone() {
                    let mut segments =
                        [Segment { a: std::ptr::null(), b: std::ptr::null() }; MAX_SEGMENTS];
                    for (segment, &(i, o)) in segments.iter_mut().zip(chunk) {
                        let row = (i as usize * blocks + block) * self.batch * ROWS;
                        segment.a = self.a[row..].as_ptr();
                        segment.b = self.b.panel(o as usize, panel).as_ptr();
                    }
                    // SAFETY: both operands are packed to whole tiles for every pixel, and no
                    // other task writes these rows of this tap.
                    unsafe {
                        tile::product(
                            simd,
                            vectors,
                            &segments[..chunk.len()],
                            strides,
                            self.batch,
                            self.output.add(block * ROWS * width + first_column),
                            ROWS.min(self.rows - block * ROWS),
                            columns.min(width - first_column),
                            number > 0,
                        );
                    }
                }
            }
        }
    }
}
