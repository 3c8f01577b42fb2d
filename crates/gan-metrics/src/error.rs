//! The error type of this crate.

/// Error of this crate's functions. Its message does not repeat that of its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The number of values is not a multiple of the row length.
    #[error("{values} values are not rows of {dim} features")]
    Ragged {
        /// Number of values.
        values: usize,
        /// Expected number of features in a row.
        dim: usize,
    },
    /// Two sets of features differ in the number of features.
    #[error("rows of {left} features cannot be compared with rows of {right}")]
    Lengths {
        /// Number of features of the first set.
        left: usize,
        /// Number of features of the second set.
        right: usize,
    },
    /// A set has too few rows for a metric.
    #[error("{metric}: too few rows, {rows} of at least {needed}")]
    TooFew {
        /// The metric.
        metric: &'static str,
        /// Number of rows.
        rows: usize,
        /// The required number of rows.
        needed: usize,
    },
    /// A value is NaN or infinite.
    #[error("{what}: value {index} is {value}, not a finite number")]
    NotFinite {
        /// What the values are.
        what: &'static str,
        /// Index of the first such value, from 0.
        index: usize,
        /// The first such value.
        value: f64,
    },
    /// Two sets of images whose patches cannot be compared.
    #[error(
        "images of shapes {left:?} and {right:?}: two sets of one shape are needed, of at least 1 \
         image and sides of at least 7 pixels"
    )]
    ImageSets {
        /// Count, channels, height and width of the first set.
        left: Vec<usize>,
        /// Those of the second set.
        right: Vec<usize>,
    },
    /// The eigenvalues of a covariance matrix do not converge.
    #[error("the eigenvalues of a covariance matrix do not converge")]
    Eigenvalues,
    /// Images of this shape have no features.
    #[cfg(feature = "classifier")]
    #[error(
        "images of {} x {} pixels in {} channels: features take sides of 8 to 256 pixels, 1 to 4 \
         channels", shape.1, shape.2, shape.0
    )]
    Unsupported {
        /// Channels, height and width.
        shape: (usize, usize, usize),
    },
    /// A file that does not hold the weights of [`Inception`](crate::Inception).
    #[cfg(feature = "classifier")]
    #[error("{path}: not the weights of the FID's Inception: {reason}", path = path.display())]
    Inception {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong, with the tensor and its shapes.
        reason: String,
    },
    /// The classifier cannot be built, read or run.
    #[cfg(feature = "classifier")]
    #[error(transparent)]
    Model(#[from] gan_models::Error),
    /// The classifier cannot be trained.
    #[cfg(feature = "classifier")]
    #[error(transparent)]
    Training(#[from] gan_training::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let text = |error: Error| error.to_string();
        assert_eq!(
            text(Error::Ragged { values: 7, dim: 2 }),
            "7 values are not rows of 2 features"
        );
        assert_eq!(
            text(Error::Lengths { left: 3, right: 4 }),
            "rows of 3 features cannot be compared with rows of 4"
        );
        assert_eq!(
            text(Error::TooFew { metric: "covariance", rows: 1, needed: 2 }),
            "covariance: too few rows, 1 of at least 2"
        );
        assert_eq!(
            text(Error::NotFinite { what: "features", index: 5, value: f64::NAN }),
            "features: value 5 is NaN, not a finite number"
        );
        let tensor = candle_core::Error::Msg("of a tensor".into());
        assert!(text(tensor.into()).starts_with("of a tensor"));
        #[cfg(feature = "classifier")]
        {
            let model = gan_models::Error::Config("of a model".into());
            assert_eq!(text(model.into()), "of a model");
        }
    }
}
