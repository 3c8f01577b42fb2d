//! Conversion between bytes in 0..=255 and values in [-1, 1]. Black is -1, white is 1.

use candle_core::{DType, Device, Result, Tensor, bail};

use crate::ImageShape;

/// Converts a byte x to x / 127.5 - 1.
///
/// # Range
///
/// Result in [-1, 1]; 0 and 255 give exactly -1 and 1.
pub fn to_unit(byte: u8) -> f32 {
    f32::from(byte) / 127.5 - 1.0
}

/// Converts a value x to the byte nearest to (x + 1) * 127.5, the inverse of [`to_unit`].
///
/// # Range
///
/// `value`: [-1, 1]; values outside are clamped, and NaN gives 0.
pub fn to_byte(value: f32) -> u8 {
    ((value + 1.0) * 127.5).round() as u8 // `as` clamps, and takes NaN to 0
}

/// Converts images to a tensor on the CPU.
///
/// # Shapes
///
/// `pixels`: B x C x H x W values, contiguous; result: (B, C, H, W) f32.
///
/// # Range
///
/// `pixels`: u8 in 0..=255; result: [-1, 1].
///
/// # Errors
///
/// `pixels` is not a whole number of images, or `shape` is empty.
pub fn to_tensor(pixels: &[u8], shape: ImageShape) -> Result<Tensor> {
    let len = shape.len();
    if len == 0 || !pixels.len().is_multiple_of(len) {
        bail!("to_tensor: {} pixels for images of {shape}", pixels.len());
    }
    let values = pixels.iter().map(|&byte| to_unit(byte)).collect();
    from_units(values, shape)
}

/// Creates a tensor from values in [-1, 1] of a whole number of images.
pub(crate) fn from_units(values: Vec<f32>, shape: ImageShape) -> Result<Tensor> {
    let ImageShape { channels, height, width } = shape;
    let count = values.len() / shape.len().max(1);
    Tensor::from_vec(values, (count, channels, height, width), &Device::Cpu)
}

/// Converts a tensor of images to pixels, the inverse of [`to_tensor`].
///
/// # Shapes
///
/// `images`: (B, C, H, W), any float type, any device; result: B x C x H x W values,
/// contiguous.
///
/// # Range
///
/// `images`: [-1, 1], see [`to_byte`]; result: u8 in 0..=255.
///
/// # Errors
///
/// A rank other than 4, a type that is not a float type, or a failed transfer from the device.
pub fn to_bytes(images: &Tensor) -> Result<Vec<u8>> {
    if images.rank() != 4 || !images.dtype().is_float() {
        bail!(
            "to_bytes: expected float images (B, C, H, W), got {:?} {:?}",
            images.dtype(),
            images.shape()
        );
    }
    let values =
        images.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.into_iter().map(to_byte).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 2, height: 1, width: 3 };

    #[test]
    fn every_byte_survives_the_round_trip() {
        assert_eq!(to_unit(0), -1.0);
        assert_eq!(to_unit(255), 1.0);
        for byte in 0..=255 {
            assert_eq!(to_byte(to_unit(byte)), byte);
        }
    }

    #[test]
    fn values_are_rounded_and_clamped() {
        assert_eq!(to_byte(-1.0 + 0.4 / 127.5), 0);
        assert_eq!(to_byte(-1.0 + 0.6 / 127.5), 1);
        assert_eq!(to_byte(1.5), 255);
        assert_eq!(to_byte(-1.5), 0);
        assert_eq!(to_byte(f32::INFINITY), 255);
        assert_eq!(to_byte(f32::NEG_INFINITY), 0);
        assert_eq!(to_byte(f32::NAN), 0);
    }

    #[test]
    fn tensors_keep_shape_and_order() {
        let pixels: Vec<u8> = (0..12).map(|byte| byte * 20).collect();
        let tensor = to_tensor(&pixels, SHAPE).unwrap();
        assert_eq!(tensor.dims(), [2, 2, 1, 3]);
        assert_eq!(to_bytes(&tensor).unwrap(), pixels);
        let half = tensor.to_dtype(DType::F64).unwrap();
        assert_eq!(to_bytes(&half).unwrap(), pixels);
    }

    #[test]
    fn strided_tensors_are_read_in_their_own_order() {
        let tensor = to_tensor(&[0, 1, 2, 3, 4, 5], SHAPE).unwrap();
        let turned = tensor.transpose(1, 3).unwrap();
        assert_eq!(to_bytes(&turned).unwrap(), [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn wrong_shapes_and_types_are_errors() {
        assert!(to_tensor(&[0; 7], SHAPE).is_err());
        assert!(to_tensor(&[], ImageShape { height: 0, ..SHAPE }).is_err());
        let tensor = to_tensor(&[0; 6], SHAPE).unwrap();
        let error = to_bytes(&tensor.flatten_all().unwrap()).unwrap_err();
        assert!(error.to_string().contains("(B, C, H, W)"), "{error}");
        assert!(to_bytes(&tensor.to_dtype(DType::U8).unwrap()).is_err());
    }
}
