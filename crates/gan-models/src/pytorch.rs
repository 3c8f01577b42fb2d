//! Weights in PyTorch's order, and back.
//!
//! The names stay. The tensors get the shapes that PyTorch's layers have, so that
//! `module.weight.copy_(tensor)` is all that is left to do there:
//!
//! | layer | here | PyTorch |
//! |---|---|---|
//! | convolution | (kernel height, kernel width, in / groups, out) | `nn.Conv2d`: (out, in / groups, kernel height, kernel width) |
//! | transposed convolution | (kernel height, kernel width, in / groups, out) | `nn.ConvTranspose2d`: (in, out / groups, kernel height, kernel width), not flipped |
//! | dense | (H, W, C, out) | `nn.Linear`: (out, C * H * W) |
//! | projection | (H, W, in, C) | `nn.Linear`: (C * H * W, in) |
//! | basis | (H, W, C) | (C, H, W) |
//! | bias and batch normalisation of every output of a projection | (H * W * C) | (C * H * W) |
//! | every other vector | (C) | (C) |
//!
//! `docs/format.md` describes the files and the padding of convolutions, which differs from
//! PyTorch's.

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::network::Network;
use candle_core::Tensor;
use std::collections::{BTreeMap, HashMap};

/// Converts tensors of a network, by name, to PyTorch's order.
///
/// # Errors
/// A name that the network does not have; a tensor of another shape than the network's.
pub fn to_pytorch(
    network: &Network,
    tensors: &HashMap<String, Tensor>,
) -> Result<HashMap<String, Tensor>> {
    convert(network, tensors, Layout::export)
}

/// Converts tensors of a network, by name, from PyTorch's order.
///
/// # Errors
/// A name that the network does not have; a tensor of another shape than PyTorch's layer has.
pub fn from_pytorch(
    network: &Network,
    tensors: &HashMap<String, Tensor>,
) -> Result<HashMap<String, Tensor>> {
    convert(network, tensors, Layout::import)
}

fn convert(
    network: &Network,
    tensors: &HashMap<String, Tensor>,
    by: impl Fn(&Layout, &str, &Tensor) -> Result<Tensor>,
) -> Result<HashMap<String, Tensor>> {
    let layouts: BTreeMap<String, Layout> = network.layouts().into_iter().collect();
    let convert = |(name, tensor): (&String, &Tensor)| match layouts.get(name) {
        Some(layout) => Ok((name.clone(), by(layout, name, tensor)?)),
        None => Err(Error::Config(format!("{name}: the network has no such tensor"))),
    };
    tensors.iter().map(convert).collect()
}
