//! Which input pixel meets which output pixel under which kernel tap.

use candle_core::{Result, bail};
use std::collections::BTreeMap;

/// How the kernel window moves over the larger of a layer's two pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Kernel height and width.
    pub kernel: (usize, usize),
    /// Step between neighbouring windows, in pixels, both ways.
    pub stride: usize,
    /// Padding above and to the left; what is missing below and to the right is implied.
    pub padding: (usize, usize),
}

impl Window {
    /// The window of "same" padding for a convolution: the smaller picture measures
    /// `ceil(larger / stride)`, and an odd amount of padding has its larger half below and right.
    pub fn same(kernel: (usize, usize), stride: usize, large: (usize, usize)) -> Self {
        let before = |kernel: usize, large: usize| {
            let small = large.div_ceil(stride);
            ((small.max(1) - 1) * stride + kernel).saturating_sub(large) / 2
        };
        let padding = (before(kernel.0, large.0), before(kernel.1, large.1));
        Self { kernel, stride, padding }
    }
}

/// One term of a sum of products: which left matrix is multiplied by which right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) left: u32,
    pub(crate) right: u32,
}

/// For each result matrix, its terms in the order of their right matrices.
#[derive(Debug)]
pub(crate) struct Links {
    starts: Vec<usize>,
    links: Vec<Link>,
    groups: Vec<Group>,
    /// How many left and right matrices there must be.
    counts: (usize, usize),
    reuse_rights: bool,
}

/// Results that meet the same right matrices, to be worked on together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) results: Vec<usize>,
    /// The right matrices that they meet, ascending.
    pub(crate) rights: Vec<u32>,
}

impl Links {
    /// `terms` are (result, link); results of one `key` form a group.
    fn collect(
        results: usize,
        mut terms: Vec<(usize, Link)>,
        key: impl Fn(usize) -> (usize, usize),
    ) -> Self {
        terms.sort_by_key(|&(result, link)| (result, link.right));
        let mut starts = vec![0; results + 1];
        for &(result, _) in &terms {
            starts[result + 1] += 1;
        }
        for i in 0..results {
            starts[i + 1] += starts[i];
        }
        let links: Vec<_> = terms.into_iter().map(|(_, link)| link).collect();
        let mut groups = BTreeMap::<_, Group>::new();
        for result in 0..results {
            let group = groups.entry(key(result)).or_default();
            group.results.push(result);
            let of = &links[starts[result]..starts[result + 1]];
            group.rights.extend(of.iter().map(|link| link.right));
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        for group in &mut groups {
            group.rights.sort_unstable();
            group.rights.dedup();
        }
        let count = |side: fn(&Link) -> u32| links.iter().map(side).max().map_or(0, |n| n + 1);
        let counts = (count(|link| link.left) as usize, count(|link| link.right) as usize);
        let mut seen = vec![false; counts.1];
        let reuse_rights =
            links.iter().any(|link| std::mem::replace(&mut seen[link.right as usize], true));
        Self { starts, links, groups, counts, reuse_rights }
    }

    /// Each left matrix multiplied by one and the same right one.
    pub(crate) fn one_right(results: usize) -> Self {
        let link = |left| (left, Link { left: left as u32, right: 0 });
        Self::collect(results, (0..results).map(link).collect(), |result| (result, 0))
    }

    /// Each right matrix multiplied by one and the same left one.
    pub(crate) fn one_left(results: usize) -> Self {
        let link = |right| (right, Link { left: 0, right: right as u32 });
        Self::collect(results, (0..results).map(link).collect(), |result| (result, 0))
    }

    /// Each left matrix multiplied by the right one of the same number, in `results` sums of
    /// neighbours.
    pub(crate) fn sums(terms: usize, results: usize) -> Self {
        let link = |i| (i * results / terms, Link { left: i as u32, right: i as u32 });
        Self::collect(results, (0..terms).map(link).collect(), |result| (result, 0))
    }

    /// Result matrices.
    pub(crate) fn results(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn of(&self, result: usize) -> &[Link] {
        &self.links[self.starts[result]..self.starts[result + 1]]
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether any right matrix is met more than once.
    pub(crate) fn reuse_rights(&self) -> bool {
        self.reuse_rights
    }

    /// How many left and right matrices there must be at least.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.counts
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }
}

/// A layer's geometry, worked out once: padding shows only as links that are absent, and a
/// transposed convolution is a convolution with the two pictures exchanged.
#[derive(Debug)]
pub struct Geometry {
    pub(crate) input: (usize, usize),
    pub(crate) output: (usize, usize),
    pub(crate) kernel: (usize, usize),
    /// For each output pixel: (input pixel, tap).
    pub(crate) forward: Links,
    /// For each input pixel: (output pixel, tap).
    pub(crate) backward: Links,
    /// For each tap: (input pixel, output pixel).
    pub(crate) weights: Links,
}

impl Geometry {
    /// A convolution from `input` to `output` pixels (height, width).
    ///
    /// # Errors
    /// A kernel, stride or picture without pixels.
    pub fn conv(window: Window, input: (usize, usize), output: (usize, usize)) -> Result<Self> {
        let meetings = meetings(window, input, output)?;
        Ok(Self::collect(window.kernel, input, output, meetings, [1, window.stride, 1]))
    }

    /// A transposed convolution from `input` to `output` pixels: `window` is that of the
    /// convolution that leads back from `output` to `input`.
    ///
    /// # Errors
    /// As [`Geometry::conv`].
    pub fn transposed(
        window: Window,
        input: (usize, usize),
        output: (usize, usize),
    ) -> Result<Self> {
        let mut meetings = meetings(window, output, input)?;
        for (large, small, _) in &mut meetings {
            std::mem::swap(large, small);
        }
        let stride = window.stride;
        Ok(Self::collect(window.kernel, input, output, meetings, [stride, 1, stride]))
    }

    /// A dense layer: one pixel to one pixel.
    pub fn dense() -> Self {
        Self::collect((1, 1), (1, 1), (1, 1), vec![(0, 0, 0)], [1; 3])
    }

    /// `phases` say, for the lists forward, backward and of weights, that every so many results
    /// of a row meet the same right matrices.
    fn collect(
        kernel: (usize, usize),
        input: (usize, usize),
        output: (usize, usize),
        meetings: Vec<(usize, usize, usize)>,
        phases: [usize; 3],
    ) -> Self {
        let links = |size: (usize, usize), phase, term: fn(&(usize, usize, usize)) -> _| {
            let terms = meetings.iter().map(term).map(|(result, left, right)| {
                (result, Link { left: left as u32, right: right as u32 })
            });
            let key = |result: usize| (result / size.1, result % size.1 % phase);
            Links::collect(size.0 * size.1, terms.collect(), key)
        };
        Self {
            input,
            output,
            kernel,
            forward: links(output, phases[0], |&(i, o, tap)| (o, i, tap)),
            backward: links(input, phases[1], |&(i, o, tap)| (i, o, tap)),
            weights: links(kernel, phases[2], |&(i, o, tap)| (tap, i, o)),
        }
    }

    /// Kernel taps.
    pub(crate) fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    /// Height and width of the input.
    pub fn input(&self) -> (usize, usize) {
        self.input
    }

    /// Height and width of the output.
    pub fn output(&self) -> (usize, usize) {
        self.output
    }

    /// Multiply-adds of one forward pass per picture, input channel and output channel, padding
    /// not counted. Each of the two gradients costs as many.
    pub fn meetings(&self) -> usize {
        self.forward.len()
    }
}

/// All (large pixel, small pixel, tap) that meet: `large = small * stride + tap - padding`.
fn meetings(
    window: Window,
    large: (usize, usize),
    small: (usize, usize),
) -> Result<Vec<(usize, usize, usize)>> {
    let Window { kernel, stride, padding } = window;
    if kernel.0 * kernel.1 * stride * large.0 * large.1 * small.0 * small.1 == 0 {
        bail!("convolution of {large:?} to {small:?} pixels with {window:?}: nothing may be zero");
    }
    let along = |small: usize, tap: usize, padding: usize, large: usize| {
        (small * stride + tap).checked_sub(padding).filter(|&position| position < large)
    };
    let mut meetings = Vec::new();
    for y in 0..small.0 {
        for x in 0..small.1 {
            for ky in 0..kernel.0 {
                for kx in 0..kernel.1 {
                    let row = along(y, ky, padding.0, large.0);
                    let column = along(x, kx, padding.1, large.1);
                    if let (Some(row), Some(column)) = (row, column) {
                        meetings.push((
                            row * large.1 + column,
                            y * small.1 + x,
                            ky * kernel.1 + kx,
                        ));
                    }
                }
            }
        }
    }
    Ok(meetings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_halves_and_keeps() {
        assert_eq!(Window::same((5, 5), 2, (28, 28)).padding, (1, 1));
        assert_eq!(Window::same((5, 5), 1, (7, 7)).padding, (2, 2));
        assert_eq!(Window::same((4, 4), 2, (28, 28)).padding, (1, 1));
        assert_eq!(Window::same((3, 3), 2, (7, 9)).padding, (1, 1));
    }

    #[test]
    fn padding_is_never_multiplied() -> Result<()> {
        // 5x5 on 7x7, stride 1: per axis 7 * 5 - 2 * (1 + 2) = 29 products fall inside.
        let window = Window::same((5, 5), 1, (7, 7));
        assert_eq!(Geometry::conv(window, (7, 7), (7, 7))?.meetings(), 29 * 29);
        Ok(())
    }

    #[test]
    fn transposed_exchanges_the_pictures() -> Result<()> {
        let window = Window::same((4, 4), 2, (6, 8));
        let conv = Geometry::conv(window, (6, 8), (3, 4))?;
        let transposed = Geometry::transposed(window, (3, 4), (6, 8))?;
        assert_eq!(conv.meetings(), transposed.meetings());
        for pixel in 0..12 {
            assert_eq!(conv.forward.of(pixel), transposed.backward.of(pixel));
        }
        Ok(())
    }

    #[test]
    fn zero_sizes_are_errors() {
        let window = Window { kernel: (3, 3), stride: 0, padding: (0, 0) };
        let error = Geometry::conv(window, (7, 7), (7, 7)).expect_err("stride 0").to_string();
        assert!(error.contains("nothing may be zero"), "{error}");
    }
}
