//! One-hot class labels.

use crate::error::{Error, Result};
use candle_core::{Device, Tensor};

/// One-hot vectors of labels: 1 for each image's class, 0 for the others.
///
/// # Shapes
/// `labels`: B, which is `batch`; result: (B, classes).
/// # Errors
/// A number of labels other than B, or labels beyond the classes.
pub(crate) fn one_hot(
    labels: &[u32],
    batch: usize,
    classes: usize,
    device: &Device,
) -> Result<Tensor> {
    if labels.len() != batch {
        let text = format!("{} labels for {batch} images", labels.len());
        return Err(Error::Config(text));
    }
    let mut values = vec![0f32; batch * classes];
    for (row, &label) in labels.iter().enumerate() {
        if label as usize >= classes {
            let text = format!("label {label}: there are {classes} classes, from 0");
            return Err(Error::Config(text));
        }
        values[row * classes + label as usize] = 1.0;
    }
    Ok(Tensor::from_vec(values, (batch, classes), device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_sets_its_column() -> Result<()> {
        let values = one_hot(&[2, 0], 2, 3, &Device::Cpu)?;
        assert_eq!(values.to_vec2::<f32>()?, [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]);
        let error = |labels: &[u32]| one_hot(labels, 2, 3, &Device::Cpu).expect_err("bad labels");
        assert_eq!(error(&[3, 0]).to_string(), "label 3: there are 3 classes, from 0");
        assert_eq!(error(&[0]).to_string(), "1 labels for 2 images");
        Ok(())
    }
}
