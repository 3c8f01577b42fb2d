//! Data sets of the Hugging Face hub, loaded by `candle-datasets`.

use crate::{Dataset, Error, Result, Split};

/// A data set of the hub: 60,000 training and 10,000 test images of 1 x 28 x 28.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HubDataset {
    /// `mnist`: digits, with classes "0" to "9".
    Mnist,
    /// `fashion-mnist`: clothes. The class names need no quotes in a shell: `t-shirt` (T-shirt or
    /// top), `trouser`, `pullover`, `dress`, `coat`, `sandal`, `shirt`, `sneaker`, `bag`,
    /// `ankle-boot`, in the order of the original labels 0 to 9.
    FashionMnist,
}

impl HubDataset {
    /// Returns the name after `hub:`. The loaded data set has the same name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
        }
    }

    /// Returns the data set as `--dataset` names it, e.g. `hub:mnist`.
    fn source(self) -> String {
        format!("hub:{}", self.name())
    }

    /// Returns the names of the classes.
    pub fn classes(self) -> [&'static str; 10] {
        match self {
            Self::Mnist => ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            Self::FashionMnist => [
                "t-shirt",
                "trouser",
                "pullover",
                "dress",
                "coat",
                "sandal",
                "shirt",
                "sneaker",
                "bag",
                "ankle-boot",
            ],
        }
    }
}

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
    let (images, labels) =
        converted.map_err(|source| Error::Hub { dataset: dataset.source(), source })?;
    let shape = crate::ImageShape { channels: 1, height: 28, width: 28 };
    let classes = dataset.classes().map(String::from).into();
    Dataset::new(dataset.name(), shape, images, labels, classes)
}

/// Returns the error that the feature is off.
#[cfg(not(feature = "hub"))]
pub(crate) fn load(dataset: HubDataset, _split: Split) -> Result<Dataset> {
    Err(Error::FeatureDisabled { dataset: dataset.source(), feature: "hub" })
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
        let text = error.to_string();
        assert!(text.contains("hub:mnist needs a program built with `--features hub`"), "{text}");
    }

    #[test]
    fn class_names_need_no_quotes() {
        for class in HubDataset::FashionMnist.classes() {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
            assert!(class.bytes().all(plain), "{class}");
        }
    }
}
