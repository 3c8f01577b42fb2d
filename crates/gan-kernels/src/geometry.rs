//! The geometry of convolutions: which kernel tap connects which input and output pixel.

use crate::rulebook::{IndexPair, Rulebook};
use crate::winograd::Winograd;
use candle_core::{Result, bail};

/// How a kernel window moves over the larger of a layer's two feature maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Kernel height and width.
    pub kernel: (usize, usize),
    /// Step between neighbouring windows in both directions, in pixels.
    pub stride: usize,
    /// Padding above and to the left. The padding below and to the right follows from the sizes.
    pub padding: (usize, usize),
}

impl Window {
    /// Returns the window of a convolution with "same" padding: the smaller feature map measures
    /// `ceil(large / stride)`. The larger half of an odd amount of padding goes below and to the
    /// right.
    pub fn same(kernel: (usize, usize), stride: usize, large: (usize, usize)) -> Self {
        let before = |kernel: usize, large: usize| {
            let small = large.div_ceil(stride.max(1));
            ((small.max(1) - 1) * stride + kernel).saturating_sub(large) / 2
        };
        let padding = (before(kernel.0, large.0), before(kernel.1, large.1));
        Self { kernel, stride, padding }
    }
}

/// A kernel tap applied at a pair of an input pixel and an output pixel.
#[derive(Clone, Copy, Debug)]
struct Tap {
    input: usize,
    output: usize,
    /// The tap's index in the kernel, row by row.
    index: usize,
}

/// The geometry of a layer, worked out once.
///
/// Taps on padding are left out. A transposed convolution is a convolution with input and output
/// exchanged.
#[derive(Debug)]
pub struct Geometry {
    pub(crate) input: (usize, usize),
    pub(crate) output: (usize, usize),
    pub(crate) kernel: (usize, usize),
    pub(crate) groups: usize,
    /// For each output pixel: (input pixel, tap).
    pub(crate) forward: Rulebook,
    /// For each input pixel: (output pixel, tap).
    pub(crate) backward: Rulebook,
    /// For each tap: (input pixel, output pixel).
    pub(crate) weights: Rulebook,
    /// Winograd's algorithm, and whether the input is its large map. A dense layer has none.
    pub(crate) winograd: Option<(Winograd, bool)>,
}

impl Geometry {
    /// A convolution from `input` to `output` pixels (height, width).
    ///
    /// # Errors
    /// A kernel, stride or size that is zero.
    pub fn conv(window: Window, input: (usize, usize), output: (usize, usize)) -> Result<Self> {
        let taps = taps(window, input, output)?;
        let winograd = Winograd::new(window.kernel, (window.stride, window.padding), input, output);
        let geometry = Self::new(window.kernel, input, output, &taps, [1, window.stride, 1]);
        Ok(Self { winograd: Some((winograd, true)), ..geometry })
    }

    /// A transposed convolution from `input` to `output` pixels: the backward pass of the
    /// convolution with this `window` from `output` to `input`.
    ///
    /// # Errors
    /// As [`Geometry::conv`].
    pub fn transposed(
        window: Window,
        input: (usize, usize),
        output: (usize, usize),
    ) -> Result<Self> {
        let mut taps = taps(window, output, input)?;
        for tap in &mut taps {
            std::mem::swap(&mut tap.input, &mut tap.output);
        }
        let stride = window.stride;
        let winograd = Winograd::new(window.kernel, (window.stride, window.padding), output, input);
        let geometry = Self::new(window.kernel, input, output, &taps, [stride, 1, stride]);
        Ok(Self { winograd: Some((winograd, false)), ..geometry })
    }

    /// A dense layer: one pixel to one pixel.
    pub fn dense() -> Self {
        let tap = Tap { input: 0, output: 0, index: 0 };
        Self::new((1, 1), (1, 1), (1, 1), &[tap], [1; 3])
    }

    /// The same for `groups` groups of adjacent channels: each output channel sees the input channels of
    /// its own group alone (Krizhevsky et al. 2012, "ImageNet classification with deep convolutional
    /// neural networks"). Channels in and out must be multiples of `groups`, and the weight has the shape
    /// (kernel H, kernel W, C in / groups, C out).
    ///
    /// The multiply-adds are 1 / `groups` of those of one group. Their time follows while a group fills a
    /// vector (16 channels on AVX-512): a 3x3 convolution of 256 channels at 16x16 pixels with both
    /// gradients, a batch of 16, takes one core with AVX-512 28% of the time of one group with 4 groups,
    /// 8% with 16, 14% with 32 and 76% with 256.
    ///
    /// # Errors
    /// No groups.
    pub fn with_groups(self, groups: usize) -> Result<Self> {
        if groups == 0 {
            bail!("convolution of 0 groups: there must be at least 1");
        }
        Ok(Self { groups, ..self })
    }

    /// Builds the rulebooks. `periods` are those after which the pixels of a row, in the rulebooks
    /// `forward`, `backward` and `weights`, use the same matrices of B again.
    fn new(
        kernel: (usize, usize),
        input: (usize, usize),
        output: (usize, usize),
        taps: &[Tap],
        periods: [usize; 3],
    ) -> Self {
        let rulebook =
            |size: (usize, usize), period, product: fn(&Tap) -> (usize, usize, usize)| {
                let products = taps
                    .iter()
                    .map(product)
                    .map(|(c, a, b)| (c, IndexPair { a: a as u32, b: b as u32 }))
                    .collect();
                let key = |c: usize| (c / size.1, c % size.1 % period);
                Rulebook::new(size.0 * size.1, products, key)
            };
        Self {
            input,
            output,
            kernel,
            groups: 1,
            forward: rulebook(output, periods[0], |tap| (tap.output, tap.input, tap.index)),
            backward: rulebook(input, periods[1], |tap| (tap.input, tap.output, tap.index)),
            weights: rulebook(kernel, periods[2], |tap| (tap.index, tap.input, tap.output)),
            winograd: None,
        }
    }

    /// The number of kernel taps.
    pub fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    /// The number of pixels of the input.
    pub(crate) fn inputs(&self) -> usize {
        self.input.0 * self.input.1
    }

    /// Every product of the map as (input pixel, output pixel, kernel tap), in the order of output
    /// pixels and taps. Pixels and taps are counted row by row; taps on padding are left out.
    pub fn products(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let of_output = |output| self.forward.pairs(output).iter().map(move |pair| (pair, output));
        let products = (0..self.forward.outputs()).flat_map(of_output);
        products.map(|(pair, output)| (pair.a as usize, output, pair.b as usize))
    }

    /// The number of groups of channels, 1 unless [`Geometry::with_groups`] says otherwise.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Height and width of the input.
    pub fn input(&self) -> (usize, usize) {
        self.input
    }

    /// Height and width of the output.
    pub fn output(&self) -> (usize, usize) {
        self.output
    }

    /// Multiply-adds of one forward pass for one image, one input channel and one output channel of the
    /// same group, without those on padding. Each of the two gradients takes the same number.
    pub fn multiply_adds(&self) -> usize {
        self.forward.len()
    }
}

/// Lists every tap that falls on a pixel of the larger feature map, as a convolution from large to
/// small: `large = small * stride + tap - padding`.
fn taps(window: Window, large: (usize, usize), small: (usize, usize)) -> Result<Vec<Tap>> {
    let Window { kernel, stride, padding } = window;
    if [kernel.0, kernel.1, stride, large.0, large.1, small.0, small.1].contains(&0) {
        bail!("convolution of {large:?} to {small:?} pixels with {window:?}: nothing may be zero");
    }
    let along = |small: usize, tap: usize, padding: usize, large: usize| {
        (small * stride + tap).checked_sub(padding).filter(|&position| position < large)
    };
    let mut taps = Vec::new();
    for y in 0..small.0 {
        for x in 0..small.1 {
            for ky in 0..kernel.0 {
                for kx in 0..kernel.1 {
                    let row = along(y, ky, padding.0, large.0);
                    let column = along(x, kx, padding.1, large.1);
                    if let (Some(row), Some(column)) = (row, column) {
                        taps.push(Tap {
                            input: row * large.1 + column,
                            output: y * small.1 + x,
                            index: ky * kernel.1 + kx,
                        });
                    }
                }
            }
        }
    }
    Ok(taps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_is_smaller_above_and_to_the_left() {
        assert_eq!(Window::same((5, 5), 2, (28, 28)).padding, (1, 1));
        assert_eq!(Window::same((5, 5), 1, (7, 7)).padding, (2, 2));
        assert_eq!(Window::same((4, 4), 2, (28, 28)).padding, (1, 1));
        assert_eq!(Window::same((3, 3), 2, (7, 9)).padding, (1, 1));
    }

    #[test]
    fn taps_on_padding_are_left_out() -> Result<()> {
        // 5x5 on 7x7, stride 1: per axis 7 * 5 - 2 * (1 + 2) = 29 taps fall inside.
        let window = Window::same((5, 5), 1, (7, 7));
        assert_eq!(Geometry::conv(window, (7, 7), (7, 7))?.multiply_adds(), 29 * 29);
        Ok(())
    }

    #[test]
    fn products_of_a_small_convolution() -> Result<()> {
        // Two taps on two pixels, with padding above: output 0 is tap 1 of input 0.
        let window = Window { kernel: (2, 1), stride: 1, padding: (1, 0) };
        let conv = Geometry::conv(window, (2, 1), (2, 1))?;
        assert_eq!(conv.products().collect::<Vec<_>>(), [(0, 0, 1), (0, 1, 0), (1, 1, 1)]);
        let transposed = Geometry::transposed(window, (2, 1), (2, 1))?;
        assert_eq!(transposed.products().collect::<Vec<_>>(), [(1, 0, 0), (0, 0, 1), (1, 1, 1)]);
        Ok(())
    }

    #[test]
    fn transposed_exchanges_input_and_output() -> Result<()> {
        let window = Window::same((4, 4), 2, (6, 8));
        let conv = Geometry::conv(window, (6, 8), (3, 4))?;
        let transposed = Geometry::transposed(window, (3, 4), (6, 8))?;
        assert_eq!(conv.multiply_adds(), transposed.multiply_adds());
        for pixel in 0..12 {
            assert_eq!(conv.forward.pairs(pixel), transposed.backward.pairs(pixel));
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
