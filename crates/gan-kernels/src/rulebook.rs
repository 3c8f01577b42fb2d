//! Rulebooks: lists of the matrix products that each output matrix of a convolution sums up.
//!
//! The name is that of sparse convolution libraries. A rulebook holds index pairs instead of a
//! padded image, so products with padding are never computed.

use std::collections::BTreeMap;

/// One product of a sum: the index of a matrix in A and that of a matrix in B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexPair {
    pub(crate) a: u32,
    pub(crate) b: u32,
}

/// For each matrix of C, the index pairs of its products, in ascending order of B.
#[derive(Debug)]
pub(crate) struct Rulebook {
    /// Where each matrix's pairs begin, and the end of the last.
    starts: Vec<usize>,
    pairs: Vec<IndexPair>,
    groups: Vec<Group>,
    /// Matrices that A and B must hold.
    operands: (usize, usize),
    reuses_b: bool,
}

/// Matrices of C whose products use the same matrices of B.
///
/// One task computes them together, so that a matrix of B is read from memory once.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) c: Vec<usize>,
    /// Indices into B, ascending.
    pub(crate) b: Vec<u32>,
}

impl Rulebook {
    /// Builds a rulebook for `outputs` matrices of C from (index in C, pair). Matrices of C that
    /// have the same `key` form a group.
    pub(crate) fn new(
        outputs: usize,
        mut products: Vec<(usize, IndexPair)>,
        key: impl Fn(usize) -> (usize, usize),
    ) -> Self {
        products.sort_by_key(|&(c, pair)| (c, pair.b));
        let mut starts = vec![0; outputs + 1];
        for &(c, _) in &products {
            starts[c + 1] += 1;
        }
        for i in 0..outputs {
            starts[i + 1] += starts[i];
        }
        let pairs: Vec<_> = products.into_iter().map(|(_, pair)| pair).collect();
        let mut groups = BTreeMap::<_, Group>::new();
        for c in 0..outputs {
            let group = groups.entry(key(c)).or_default();
            group.c.push(c);
            group.b.extend(pairs[starts[c]..starts[c + 1]].iter().map(|pair| pair.b));
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        for group in &mut groups {
            group.b.sort_unstable();
            group.b.dedup();
        }
        let count = |side: fn(&IndexPair) -> u32| pairs.iter().map(side).max().map_or(0, |n| n + 1);
        let operands = (count(|pair| pair.a) as usize, count(|pair| pair.b) as usize);
        let mut seen = vec![false; operands.1];
        let reuses_b = pairs.iter().any(|pair| std::mem::replace(&mut seen[pair.b as usize], true));
        Self { starts, pairs, groups, operands, reuses_b }
    }

    /// Every matrix of A times the only matrix of B.
    pub(crate) fn one_b(outputs: usize) -> Self {
        let pair = |a| (a, IndexPair { a: a as u32, b: 0 });
        Self::new(outputs, (0..outputs).map(pair).collect(), |c| (c, 0))
    }

    /// The only matrix of A times every matrix of B.
    pub(crate) fn one_a(outputs: usize) -> Self {
        let pair = |b| (b, IndexPair { a: 0, b: b as u32 });
        Self::new(outputs, (0..outputs).map(pair).collect(), |c| (c, 0))
    }

    /// Matrix `i` of A times matrix `i` of B, summed up in `outputs` runs of neighbours.
    pub(crate) fn partial_sums(products: usize, outputs: usize) -> Self {
        let pair = |i| (i * outputs / products, IndexPair { a: i as u32, b: i as u32 });
        Self::new(outputs, (0..products).map(pair).collect(), |c| (c, 0))
    }

    /// The number of matrices of C.
    pub(crate) fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    /// The index pairs of a matrix of C.
    pub(crate) fn pairs(&self, c: usize) -> &[IndexPair] {
        &self.pairs[self.starts[c]..self.starts[c + 1]]
    }

    /// The number of index pairs of all matrices.
    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether more than one product uses the same matrix of B.
    pub(crate) fn reuses_b(&self) -> bool {
        self.reuses_b
    }

    /// The numbers of matrices that A and B must hold at least.
    pub(crate) fn operands(&self) -> (usize, usize) {
        self.operands
    }

    /// All matrices of C, in groups.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }
}
