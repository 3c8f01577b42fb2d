//! What is transformed: the pixels of a feature map, or the taps of a kernel.

use super::axis::Part;
use super::transform::{Matrix, Square, Transform, square};
use crate::unsafe_slice::UnsafeSlice;
use std::ops::Range;

/// Vectors, and how vectors at the points depend on them.
#[derive(Debug)]
pub(super) struct Map {
    /// The number of pixels or taps.
    pub(super) len: usize,
    /// Whether each vector is in exactly one patch.
    is_divided: bool,
    patches: Vec<Patch>,
}

/// Some of a map's vectors, and those at the points that depend on them.
#[derive(Debug)]
struct Patch {
    vectors: Square<Option<usize>>,
    /// At each point, where the vector is among those of all patches.
    places: Square<Option<usize>>,
    rows: Matrix,
    columns: Matrix,
}

/// Some images of all: their vectors in [..][image][channel]. For weights, some elements of all matrices.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) all: usize,
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) channels: usize,
}

impl Span {
    /// The elements of vector `index`.
    pub(super) fn range(self, index: usize) -> Range<usize> {
        let start = (index * self.all + self.first) * self.channels;
        start..start + self.count * self.channels
    }

    /// The same images where there are no others.
    pub(super) fn alone(self) -> Self {
        Self { all: self.count, first: 0, ..self }
    }
}

impl Map {
    /// A map of (rows, columns) vectors. `place(point, row, column)` combines the places of both axes.
    pub(super) fn new(
        size: (usize, usize),
        (rows, columns): (&[Part], &[Part]),
        place: impl Fn((usize, usize), (usize, usize), (usize, usize)) -> usize,
    ) -> Self {
        let patch = |row: &Part, column: &Part| Patch {
            vectors: square(|i, j| Some(row.vectors[i]? * size.1 + column.vectors[j]?)),
            places: square(|i, j| Some(place((i, j), row.places[i]?, column.places[j]?))),
            rows: row.matrix,
            columns: column.matrix,
        };
        let of_row = |row| columns.iter().map(move |column| patch(row, column));
        let patches: Vec<_> = rows.iter().flat_map(of_row).collect();
        let len = size.0 * size.1;
        let mut patches_of = vec![0; len];
        let vectors = patches.iter().flat_map(|patch| patch.vectors.iter().flatten().flatten());
        vectors.for_each(|vector| patches_of[*vector] += 1);
        let is_divided = patches_of.iter().all(|patches| *patches == 1);
        Self { len, is_divided, patches }
    }

    /// The transform of some images: computes their vectors at the points.
    ///
    /// # Safety
    /// The targets have memory for the vectors of all patches. Nobody else uses those of these images.
    pub(super) unsafe fn transform(
        &self,
        (values, images): (&[f32], Span),
        (target, to): (&Square<UnsafeSlice>, Span),
    ) {
        for patch in &self.patches {
            let place = |i: usize, j: usize| Some(to.range(patch.places[i][j]?).start);
            let patch = Transform {
                left: &patch.rows,
                right: &patch.columns,
                source: square(|i, j| Some(&values[images.range(patch.vectors[i][j]?)])),
                target: square(|i, j| Some(target[i][j].pointer(place(i, j)?))),
                len: images.range(0).len(),
                add: false,
            };
            // SAFETY: the contract; patches have different places.
            unsafe { patch.compute() };
        }
    }

    /// The transposed transform: from vectors at the points to those of some images.
    ///
    /// # Safety
    /// The target has memory for the vectors of the map. Nobody else uses those of these images.
    pub(super) unsafe fn transform_back(
        &self,
        (points, images): (&Square<Vec<f32>>, Span),
        (target, to): (&UnsafeSlice, Span),
    ) {
        for vector in (0..self.len).filter(|_| !self.is_divided) {
            let range = to.range(vector);
            // SAFETY: the contract.
            unsafe { target.pointer(range.start).write_bytes(0, range.len()) };
        }
        for patch in &self.patches {
            let patch = Transform {
                left: &square(|i, j| patch.rows[j][i]),
                right: &square(|i, j| patch.columns[j][i]),
                source: square(|i, j| Some(&points[i][j][images.range(patch.places[i][j]?)])),
                target: square(|i, j| Some(target.pointer(to.range(patch.vectors[i][j]?).start))),
                len: images.range(0).len(),
                add: !self.is_divided,
            };
            // SAFETY: the contract; what is added to is initialised above.
            unsafe { patch.compute() };
        }
    }
}
