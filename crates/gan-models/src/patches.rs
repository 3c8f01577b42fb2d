//! Convolutions in operators that every device has: a gather of pixels and one matrix product.
//!
//! candle's own transposed convolution, which is the backward pass of its convolution too, is far
//! slower than products of matrices on GPUs.

use candle_core::{Device, Result, Tensor};
use gan_kernels::{Geometry, GradMask};

/// A linear map on (B, H, W, C): a convolution, or a transposed one, whose input is the small map. A
/// dense layer is a convolution whose kernel covers its input.
///
/// With groups of channels, a matrix product has as many matrices ([`apart`]).
///
/// The two gathers between the large and the small feature map are each other's transpose.
#[derive(Debug)]
pub(crate) struct Patches {
    transposed: bool,
    taps: usize,
    groups: usize,
    /// Gathers the patch of every small pixel, with zeros on padding: (B, large pixels, C) to
    /// (B, small pixels * taps, C).
    unfold: Gather,
    /// Sums up the places of every large pixel in the patches: back to (B, large pixels, C).
    fold: Gather,
}

impl Patches {
    /// The gathers of a geometry. `transposed` says whether it is that of a transposed convolution.
    pub(crate) fn new(geometry: &Geometry, transposed: bool, device: &Device) -> Result<Self> {
        let pixels = |(height, width): (usize, usize)| height * width;
        let (input, output) = (pixels(geometry.input()), pixels(geometry.output()));
        let (large, small) = if transposed { (output, input) } else { (input, output) };
        let columns = small * geometry.taps();
        let (mut unfold, mut fold) = (vec![Vec::new(); columns], vec![Vec::new(); large]);
        for (input, output, tap) in geometry.products() {
            let (large, small) = if transposed { (output, input) } else { (input, output) };
            let column = small * geometry.taps() + tap;
            unfold[column].push(large as u32);
            fold[large].push(column as u32);
        }
        let [unfold, fold] = [Gather::new(&unfold, device)?, Gather::new(&fold, device)?];
        let (taps, groups) = (geometry.taps(), geometry.groups());
        Ok(Self { transposed, taps, groups, unfold, fold })
    }

    /// The linear map, differentiable by candle's autograd, with what its gradients need.
    ///
    /// # Shapes
    /// `x`: (B, H, W, C in); `weight`: (kernel H, kernel W, C in / groups, C out); result: the values
    /// of (B, H out, W out, C out).
    pub(crate) fn forward(&self, x: &Tensor, weight: &Tensor) -> Result<(Product, Tensor)> {
        let (batch, _, _, c_in) = x.dims4()?;
        let pixels = x.reshape((batch, (), c_in))?;
        let weight = weight.flatten_to(1)?;
        let (taps, _, c_out) = weight.dims3()?;
        let (dims, groups) = (x.dims4()?, self.groups);
        if self.transposed {
            let rows = apart(&pixels.reshape(((), 1, c_in))?, groups)?;
            let matrix = apart(&weight.transpose(0, 1)?.contiguous()?, groups)?;
            let patches = together(&rows.matmul(&matrix)?, (taps, c_out), groups)?;
            let y = self.fold.apply(&patches.reshape((batch, (), c_out))?)?;
            return Ok((Product { dims, rows, matrix }, y));
        }
        let rows = apart(&self.unfold.apply(&pixels)?.reshape(((), taps, c_in))?, groups)?;
        let matrix = apart(&weight.reshape(((), 1, c_out))?, groups)?;
        let y = together(&rows.matmul(&matrix)?, (1, c_out), groups)?;
        Ok((Product { dims, rows, matrix }, y))
    }

    /// The gradients of input and weight, those that `wants` asks for, given the gradient of the
    /// result.
    ///
    /// # Shapes
    /// `grad`: (B, H out, W out, C out); gradients: as the input, and the values of the weight's.
    pub(crate) fn backward(
        &self,
        Product { dims, rows, matrix }: &Product,
        grad: &Tensor,
        wants: GradMask,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((batch, _, _, c_in), groups) = (*dims, self.groups);
        let (_, _, _, c_out) = grad.dims4()?;
        let taps = self.taps;
        // Of the matrix product.
        let grad = if self.transposed {
            self.unfold.apply(&grad.reshape((batch, (), c_out))?)?.reshape(((), taps, c_out))?
        } else {
            grad.reshape(((), 1, c_out))?
        };
        let grad = apart(&grad, groups)?;
        let of_input = || {
            let of_rows = grad.matmul(&matrix.t()?)?;
            if self.transposed {
                return together(&of_rows, (1, c_in), groups)?.reshape(*dims);
            }
            let patches = together(&of_rows, (taps, c_in), groups)?;
            self.fold.apply(&patches.reshape((batch, (), c_in))?)?.reshape(*dims)
        };
        let of_weight = || {
            let of_matrix = rows.t()?.matmul(&grad)?;
            if self.transposed {
                let by_tap = together(&of_matrix, (taps, c_out), groups)?.transpose(0, 1)?;
                return by_tap.contiguous();
            }
            together(&of_matrix, (1, c_out), groups)
        };
        Ok((wants.input.then(of_input).transpose()?, wants.parameters.then(of_weight).transpose()?))
    }
}

/// The factors of a linear map's matrix product, before a transposed map folds it.
pub(crate) struct Product {
    /// Of the input: (B, H, W, C in).
    dims: (usize, usize, usize, usize),
    /// (B * small pixels, taps * C in), or (B * small pixels, C in) if transposed; of each group.
    rows: Tensor,
    /// (taps * C in, C out), or (C in, taps * C out) if transposed; of each group.
    matrix: Tensor,
}

/// A matrix of each group of adjacent channels: (rows, taps, groups * C) to (groups, rows, taps * C), or to
/// (rows, taps * C) where there is one group.
fn apart(x: &Tensor, groups: usize) -> Result<Tensor> {
    let (rows, taps, channels) = x.dims3()?;
    if groups == 1 {
        return x.reshape((rows, taps * channels));
    }
    let split = x.reshape((rows, taps, groups, channels / groups))?.permute((2, 0, 1, 3))?;
    split.contiguous()?.reshape((groups, rows, taps * channels / groups))
}

/// The reverse of [`apart`], to this number of taps and of channels of all groups.
fn together(x: &Tensor, (taps, channels): (usize, usize), groups: usize) -> Result<Tensor> {
    if groups == 1 {
        return x.reshape(((), taps, channels));
    }
    let split = x.reshape((groups, (), taps, channels / groups))?.permute((1, 2, 0, 3))?;
    split.contiguous()?.reshape(((), taps, channels))
}

/// Sums of pixels.
#[derive(Debug)]
struct Gather {
    /// The pixels of every sum, one sum after the other. `None` if each result is its own pixel.
    index: Option<Tensor>,
    /// Pixels in each sum.
    terms: usize,
}

/// candle's `index_select` returns zeros for this index, on every device.
const ZEROS: u32 = u32::MAX;

impl Gather {
    fn new(sums: &[Vec<u32>], device: &Device) -> Result<Self> {
        let terms = sums.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let padded = |sum: &Vec<u32>| {
            let padding = terms - sum.len();
            sum.iter().copied().chain(std::iter::repeat_n(ZEROS, padding)).collect::<Vec<_>>()
        };
        let index: Vec<u32> = sums.iter().flat_map(padded).collect();
        if index.iter().enumerate().all(|(i, &pixel)| i as u32 == pixel) {
            return Ok(Self { index: None, terms });
        }
        Ok(Self { index: Some(Tensor::new(index, device)?), terms })
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let Some(index) = &self.index else { return Ok(x.clone()) };
        let x = x.contiguous()?.index_select(index, 1)?;
        if self.terms == 1 {
            return Ok(x);
        }
        let (batch, pixels, channels) = x.dims3()?;
        x.reshape((batch, pixels / self.terms, self.terms, channels))?.sum(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gan_kernels::Window;

    /// A kernel of 2x1 pixels with stride 1 on 3x1 pixels, with padding above.
    fn patches(transposed: bool) -> Result<Patches> {
        let window = Window { kernel: (2, 1), stride: 1, padding: (1, 0) };
        let geometry = if transposed {
            Geometry::transposed(window, (3, 1), (3, 1))?
        } else {
            Geometry::conv(window, (3, 1), (3, 1))?
        };
        Patches::new(&geometry, transposed, &Device::Cpu)
    }

    #[test]
    fn patches_of_known_pixels_and_their_sums() -> Result<()> {
        for transposed in [false, true] {
            let patches = patches(transposed)?;
            let x = Tensor::new(&[[[1f32, 10.0], [2.0, 20.0], [3.0, 30.0]]], &Device::Cpu)?;
            let unfolded = patches.unfold.apply(&x)?;
            let want =
                [[0f32, 0.0], [1.0, 10.0], [1.0, 10.0], [2.0, 20.0], [2.0, 20.0], [3.0, 30.0]];
            assert_eq!(unfolded.to_vec3::<f32>()?, [want]);
            let values = [[100f32], [1.0], [2.0], [3.0], [4.0], [5.0]];
            let folded = patches.fold.apply(&Tensor::new(&[values], &Device::Cpu)?)?;
            // The first value lies on padding.
            assert_eq!(folded.to_vec3::<f32>()?, [[[3f32], [7.0], [5.0]]]);
        }
        Ok(())
    }

    #[test]
    fn a_map_of_each_pixel_to_itself_gathers_nothing() -> Result<()> {
        let patches = Patches::new(&Geometry::dense(), false, &Device::Cpu)?;
        assert!(patches.unfold.index.is_none() && patches.fold.index.is_none());
        Ok(())
    }
}
