//! Which input pixel meets which output pixel under which kernel tap.

use candle_core::{Result, bail};

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

/// One meeting: a pixel of the other picture and the kernel tap that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) pixel: u32,
    pub(crate) tap: u32,
}

/// For each pixel of one picture, its links into the other.
#[derive(Debug)]
pub(crate) struct Links {
    starts: Vec<usize>,
    links: Vec<Link>,
}

impl Links {
    fn collect(pixels: usize, mut meetings: Vec<(usize, Link)>) -> Self {
        meetings.sort_by_key(|&(pixel, link)| (pixel, link.tap, link.pixel));
        let mut starts = vec![0; pixels + 1];
        for &(pixel, _) in &meetings {
            starts[pixel + 1] += 1;
        }
        for i in 0..pixels {
            starts[i + 1] += starts[i];
        }
        Self { starts, links: meetings.into_iter().map(|(_, link)| link).collect() }
    }

    /// Each pixel linked to itself alone, under the only tap.
    pub(crate) fn identity(pixels: usize) -> Self {
        let links = (0..pixels as u32).map(|pixel| Link { pixel, tap: 0 }).collect();
        Self { starts: (0..=pixels).collect(), links }
    }

    pub(crate) fn pixels(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn of(&self, pixel: usize) -> &[Link] {
        &self.links[self.starts[pixel]..self.starts[pixel + 1]]
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }
}

/// A layer's geometry, worked out once: padding shows only as links that are absent, and a
/// transposed convolution is a convolution with the two pictures exchanged.
#[derive(Debug)]
pub struct Geometry {
    pub(crate) input: (usize, usize),
    pub(crate) output: (usize, usize),
    pub(crate) kernel: (usize, usize),
    /// For each output pixel: input pixels.
    pub(crate) forward: Links,
    /// For each input pixel: output pixels.
    pub(crate) backward: Links,
    /// For each tap: (input pixel, output pixel).
    pub(crate) pairs: Vec<Vec<(u32, u32)>>,
}

impl Geometry {
    /// A convolution from `input` to `output` pixels (height, width).
    ///
    /// # Errors
    /// A kernel, stride or picture without pixels.
    pub fn conv(window: Window, input: (usize, usize), output: (usize, usize)) -> Result<Self> {
        let meetings = meetings(window, input, output)?;
        Ok(Self::collect(window.kernel, input, output, meetings))
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
        Ok(Self::collect(window.kernel, input, output, meetings))
    }

    /// A dense layer: one pixel to one pixel.
    pub fn dense() -> Self {
        Self::collect((1, 1), (1, 1), (1, 1), vec![(0, 0, 0)])
    }

    fn collect(
        kernel: (usize, usize),
        input: (usize, usize),
        output: (usize, usize),
        meetings: Vec<(usize, usize, usize)>,
    ) -> Self {
        let link = |pixel: usize, tap: usize| Link { pixel: pixel as u32, tap: tap as u32 };
        let forward = meetings.iter().map(|&(i, o, tap)| (o, link(i, tap))).collect();
        let backward = meetings.iter().map(|&(i, o, tap)| (i, link(o, tap))).collect();
        let mut pairs = vec![Vec::new(); kernel.0 * kernel.1];
        for &(i, o, tap) in &meetings {
            pairs[tap].push((i as u32, o as u32));
        }
        Self {
            input,
            output,
            kernel,
            forward: Links::collect(output.0 * output.1, forward),
            backward: Links::collect(input.0 * input.1, backward),
            pairs,
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
