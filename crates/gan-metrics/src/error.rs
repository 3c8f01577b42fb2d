//! What can go wrong. The text of an error does not repeat its source's.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Values that do not make whole rows.
    #[error("{values} values are not rows of {dim} features")]
    Ragged {
        /// How many values there are.
        values: usize,
        /// Features that a row was to have.
        dim: usize,
    },
    /// Two sets that cannot be compared.
    #[error("rows of {left} features cannot be compared with rows of {right}")]
    Lengths {
        /// Features of a row of the first set.
        left: usize,
        /// Features of a row of the second set.
        right: usize,
    },
    /// A set that is too small for what is asked of it.
    #[error("{metric}: too few rows, {rows} of at least {needed}")]
    TooFew {
        /// What was to be computed.
        metric: &'static str,
        /// Rows there are.
        rows: usize,
        /// Rows that are needed.
        needed: usize,
    },
    /// NaN or infinity among the values.
    #[error("{what}: value {index} is {value}, not a finite number")]
    NotFinite {
        /// Which values.
        what: &'static str,
        /// The first such value's position, from 0.
        index: usize,
        /// The first such value.
        value: f64,
    },
    /// Covariances that are not finite or not symmetric.
    #[error("the eigenvalues of a covariance matrix could not be found")]
    Eigenvalues,
    /// A network that cannot be built, read or run.
    #[error(transparent)]
    Model(#[from] gan_models::Error),
    /// An error of the classifier's training.
    #[error(transparent)]
    Training(#[from] gan_training::Error),
    /// A tensor operation that failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// A result of this crate.
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
        let model = gan_models::Error::Config("of a model".into());
        assert_eq!(text(model.into()), "of a model");
    }
}
