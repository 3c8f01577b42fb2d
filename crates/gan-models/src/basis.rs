//! A learned image for each channel, times the channel's value.
//!
//! After a dense layer it is the first layer of R3GAN's generator: a learned constant, as StyleGAN has
//! it (Karras et al. 2019), scaled by a linear map of the latent vector (Huang et al. 2024, "The GAN is
//! dead; long live the GAN!").

use crate::backend::Backend;
use crate::error::Result;
use crate::layout::Layout;
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};

/// The learned images.
#[derive(Clone, Debug)]
pub(crate) struct Basis {
    name: String,
    /// (H, W, C)
    weight: Tensor,
}

impl Basis {
    /// Images of this height and width. Initially they are standard normal, whatever the
    /// initialisation of linear maps.
    pub(crate) fn new(
        channels: usize,
        (height, width): (usize, usize),
        vars: &VarBuilder,
    ) -> Result<Self> {
        let normal = Init::Randn { mean: 0.0, stdev: 1.0 };
        let weight = vars.get_with_hints((height, width, channels), "weight", normal)?;
        Ok(Self { name: vars.prefix(), weight })
    }

    /// The same layer with images that receive no gradient.
    pub(crate) fn detached(&self) -> Self {
        Self { weight: self.weight.detach(), ..self.clone() }
    }

    /// Name and value of the trainable parameter.
    pub(crate) fn trainable_parameter(&self) -> (String, &Tensor) {
        (format!("{}.weight", self.name), &self.weight)
    }

    /// Its name and layout: (C, H, W) in PyTorch.
    pub(crate) fn layout(&self) -> (String, Layout) {
        let dims = self.weight.dims();
        let layout = Layout::permuted(dims, dims, &[2, 0, 1], &[1, 1, 1]);
        (format!("{}.weight", self.name), layout)
    }

    /// The images of a batch in the backend's layout, differentiable by candle's autograd.
    ///
    /// # Shapes
    /// `x`: B vectors of C values; result: B feature maps of (H, W, C).
    pub(crate) fn forward(&self, x: &Tensor, backend: Backend) -> Result<Tensor> {
        Ok(x.broadcast_mul(&self.weight.unsqueeze(batch_dim(backend))?)?)
    }

    /// The gradients of the vectors and of the learned images, given that of the output.
    pub(crate) fn backward(
        &self,
        x: &Tensor,
        grad: &Tensor,
        backend: Backend,
    ) -> Result<(Tensor, Tensor)> {
        let batch = batch_dim(backend);
        let pixels = if batch == 0 { (1, 2) } else { (0, 1) };
        let of_x = grad.broadcast_mul(&self.weight.unsqueeze(batch)?)?.sum_keepdim(pixels)?;
        Ok((of_x, grad.broadcast_mul(x)?.sum(batch)?))
    }
}

/// The dimension of the batch in a backend's layout.
fn batch_dim(backend: Backend) -> usize {
    match backend {
        Backend::Kernels => 2,
        Backend::Candle => 0,
    }
}
