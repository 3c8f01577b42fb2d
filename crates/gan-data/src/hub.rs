//! Data sets of the Hugging Face hub, loaded by `candle-datasets`.

use crate::{Dataset, Error, HubDataset, Result, Source, Split};

/// Loads a split. The data set is downloaded unless it is in the hub's cache.
#[cfg(feature = "hub")]
pub(crate) fn load(dataset: HubDataset, split: Split) -> Result<Dataset> {
    use candle_datasets::vision::{fashion_mnist, mnist};

    let loaded = match dataset {
        HubDataset::Mnist => mnist::load(),
        HubDataset::FashionMnist => fashion_mnist::load(),
    };
    let converted = loaded.and_then(|loaded| match split {
        Split::Train => Ok((bytes(&loaded.train_images)?, indices(&loaded.train_labels)?)),
        Split::Test => Ok((bytes(&loaded.test_images)?, indices(&loaded.test_labels)?)),
    });
    let (images, labels) = converted
        .map_err(|source| Error::Hub { dataset: Source::Hub(dataset).to_string(), source })?;
    let shape = crate::ImageShape { channels: 1, height: 28, width: 28 };
    let classes = dataset.classes().map(String::from).into();
    Dataset::new(dataset.name(), shape, images, labels, classes)
}

/// Returns the error that the feature is off.
#[cfg(not(feature = "hub"))]
pub(crate) fn load(dataset: HubDataset, _split: Split) -> Result<Dataset> {
    Err(Error::FeatureDisabled { dataset: Source::Hub(dataset).to_string(), feature: "hub" })
}

/// Converts pixels in [0, 1], as the loaders return them, to bytes in 0..=255.
#[cfg(any(feature = "hub", test))]
fn bytes(images: &candle_core::Tensor) -> candle_core::Result<Vec<u8>> {
    let values = images.flatten_all()?.to_vec1::<f32>()?;
    let bytes = values.into_iter().map(|value| (value * 255.0).round() as u8);
    Ok(bytes.collect())
}

/// Converts labels of any integer type to class indices.
#[cfg(any(feature = "hub", test))]
fn indices(labels: &candle_core::Tensor) -> candle_core::Result<Vec<u32>> {
    labels.to_dtype(candle_core::DType::U32)?.to_vec1()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Tensor};

    #[test]
    fn every_byte_survives_the_hubs_range() {
        let all: Vec<u8> = (0..=255).collect();
        let images = Tensor::from_vec(all.clone(), (16, 16), &Device::Cpu).unwrap();
        let images = (images.to_dtype(DType::F32).unwrap() / 255.).unwrap();
        assert_eq!(bytes(&images).unwrap(), all);
    }

    #[test]
    fn labels_become_indices() {
        let labels = Tensor::new(&[3_u8, 0, 9], &Device::Cpu).unwrap();
        assert_eq!(indices(&labels).unwrap(), [3, 0, 9]);
    }

    #[cfg(not(feature = "hub"))]
    #[test]
    fn without_the_feature_the_error_names_it() {
        let error = load(HubDataset::Mnist, Split::Train).unwrap_err();
        assert!(matches!(error, Error::FeatureDisabled { .. }));
        assert_eq!(error.to_string(), "hub:mnist needs a program built with the feature `hub`");
    }
}
