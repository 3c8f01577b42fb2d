//! Batches of matrices in memory.

/// Matrices of one size in a slice: the operand A or B of a batched product, C = sum of A B.
///
/// `mn` counts the rows of A (M) or the columns of B (N), and `k` what products sum over. At least
/// one of the two has stride 1.
#[derive(Clone, Copy)]
pub(crate) struct MatrixBatch<'a> {
    pub(crate) data: &'a [f32],
    /// The number of matrices.
    pub(crate) count: usize,
    /// Rows of A (M), or columns of B (N).
    pub(crate) mn: usize,
    /// Columns of A, or rows of B.
    pub(crate) k: usize,
    /// Distances in `data` between neighbours.
    pub(crate) strides: Strides,
}

/// Distances in elements.
#[derive(Clone, Copy)]
pub(crate) struct Strides {
    pub(crate) matrix: usize,
    pub(crate) mn: usize,
    pub(crate) k: usize,
}

impl<'a> MatrixBatch<'a> {
    /// Row-major matrices of `mn` rows and `k` columns.
    pub(crate) fn k_inside(data: &'a [f32], mn: usize, k: usize) -> Self {
        let strides = Strides { matrix: mn * k, mn: k, k: 1 };
        Self { data, count: data.len() / strides.matrix, mn, k, strides }
    }

    /// Row-major matrices of `k` rows and `mn` columns.
    pub(crate) fn k_outside(data: &'a [f32], k: usize, mn: usize) -> Self {
        let strides = Strides { matrix: mn * k, mn: 1, k: mn };
        Self { data, count: data.len() / strides.matrix, mn, k, strides }
    }

    /// The matrices of each group of adjacent elements of stride 1, of several groups of one size.
    pub(crate) fn split(self, groups: usize) -> Vec<Self> {
        let Self { data, mn, k, strides, .. } = self;
        let (mn, k, len) = match strides.k {
            1 => (mn, k / groups, k / groups),
            _ => (mn / groups, k, mn / groups),
        };
        (0..groups).map(|group| Self { data: &data[group * len..], mn, k, ..self }).collect()
    }

    /// Returns the data from an element on.
    pub(crate) fn from(&self, matrix: usize, mn: usize, k: usize) -> &'a [f32] {
        let strides = self.strides;
        &self.data[matrix * strides.matrix + mn * strides.mn + k * strides.k..]
    }
}
