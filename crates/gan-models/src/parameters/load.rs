//! Networks built on the weights of a file.

use crate::error::{Error, Result};
use crate::tensor_file::{check_finite, difference};
use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::{Init, VarBuilder, var_builder::SimpleBackend};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Builds a network on the tensors of the file `path`, as variables if they are to be `trainable`, and
/// returns it with the tensors by name.
pub(crate) fn load<T>(
    (path, file): (&Path, HashMap<String, Tensor>),
    device: &Device,
    trainable: bool,
    build: impl FnOnce(VarBuilder) -> Result<T>,
) -> Result<(T, BTreeMap<String, Tensor>)> {
    let loading = Loading { file, trainable, taken: BTreeMap::new(), difference: None };
    let backend = Backend(Arc::new(Mutex::new(loading)));
    let vars = VarBuilder::from_backend(Box::new(backend.clone()), DType::F32, device.clone());
    let network = build(vars);
    let mut loading = backend.0.lock().unwrap_or_else(PoisonError::into_inner);
    let surplus = |loading: &Loading| {
        let name = loading.file.keys().filter(|name| !loading.taken.contains_key(*name)).min()?;
        network.is_ok().then(|| format!("{name}, which the network does not have"))
    };
    if let Some(difference) = loading.difference.take().or_else(|| surplus(&loading)) {
        return Err(Error::Architecture { path: path.into(), difference });
    }
    let network = network?;
    let taken = std::mem::take(&mut loading.taken);
    check_finite(path, taken.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
    Ok((network, taken))
}

/// A file's tensors while a network is built on them.
struct Loading {
    file: HashMap<String, Tensor>,
    trainable: bool,
    /// What the network has asked for.
    taken: BTreeMap<String, Tensor>,
    /// The first tensor that the file does not have as the network needs it.
    difference: Option<String>,
}

#[derive(Clone)]
struct Backend(Arc<Mutex<Loading>>);

impl SimpleBackend for Backend {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        _: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut loading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensor) = loading.taken.get(name).filter(|tensor| *tensor.shape() == shape) {
            return Ok(tensor.clone());
        }
        let found = match difference(name, loading.file.get(name), shape.dims(), dtype) {
            Ok(tensor) => tensor.clone(),
            Err(text) => {
                loading.difference.get_or_insert(text.clone());
                candle_core::bail!("{text}");
            }
        };
        let tensor = if loading.trainable { Var::from_tensor(&found)?.into_inner() } else { found };
        loading.taken.insert(name.to_string(), tensor.clone());
        Ok(tensor)
    }

    fn get_unchecked(
        &self,
        name: &str,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let shape = {
            let loading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            loading.file.get(name).map(|tensor| tensor.shape().clone())
        };
        match shape {
            Some(shape) => self.get(shape, name, Init::default(), dtype, device),
            None => candle_core::bail!("no tensor is named {name}"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).file.contains_key(name)
    }
}
