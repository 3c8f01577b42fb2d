//! Checksums of what all ranks must have alike.

use anyhow::Result;
use gan_data::Dataset;
use gan_models::Parameters;
use std::hash::{DefaultHasher, Hasher};

/// The checksum of a data set's images and labels. It is that of one build of the program.
pub(super) fn of_images(data: &Dataset) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (index, label) in data.labels().iter().enumerate() {
        hasher.write(data.image(index).unwrap_or_default());
        hasher.write_u32(*label);
    }
    hasher.finish()
}

/// The checksum of networks' parameters.
///
/// # Errors
/// Failures of the device.
pub(super) fn of_networks(networks: [&Parameters; 2]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for (name, var) in networks.into_iter().flat_map(Parameters::iter) {
        hasher.write(name.as_bytes());
        for value in var.flatten_all()?.to_vec1::<f32>()? {
            hasher.write_u32(value.to_bits());
        }
    }
    Ok(hasher.finish())
}
