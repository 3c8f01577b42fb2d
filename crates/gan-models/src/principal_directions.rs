//! Directions of the latent space that change what a generator draws most.

use crate::error::Result;
use crate::generator::Generator;
use rand::{Rng, RngCore};
use rand_distr::StandardNormal;
use serde::Serialize;

/// Number of latents whose features are compared.
const LATENTS: usize = 1024;
/// Iterations that find the principal components.
const ITERATIONS: usize = 200;

/// Principal directions of a generator, the strongest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PrincipalDirections {
    /// The change of the latent vector that goes with one standard deviation of a principal component:
    /// `count` vectors of the latent dimension.
    pub directions: Vec<Vec<f32>>,
    /// The fraction of the features' variance that each component explains, in [0, 1].
    pub explained: Vec<f64>,
}

impl Generator {
    /// Finds the principal components of the first layer's outputs over random latents of one class, and
    /// the direction of the latent space that goes with each: the regression of the latents on the
    /// component. At most as many as the latent has values are found.
    ///
    /// # Errors
    /// A label beyond the classes; failures of the device.
    /// # Reference
    /// Haerkoenen et al. 2020, "GANSpace: discovering interpretable GAN controls".
    pub fn principal_directions(
        &self,
        count: usize,
        label: u32,
        rng: &mut dyn RngCore,
    ) -> Result<PrincipalDirections> {
        let latents = self.sample_latents(LATENTS, rng)?;
        let features = self.first_features(&self.input(&latents, &[label; LATENTS])?)?;
        let mut features = features.to_vec2::<f32>()?;
        centre(&mut features);
        let count = count.min(self.config().latent_dim);
        let components = components(&gram(&features), count, rng);
        let latents = latents.to_vec2::<f32>()?;
        let direction = |(_, scores): &(f64, Vec<f64>)| {
            // The scores have the length 1; of a standard deviation 1, they are sqrt(N) as large.
            let scale = (LATENTS as f64).sqrt().recip();
            (0..self.config().latent_dim)
                .map(|i| {
                    let dot = scores.iter().zip(&latents).map(|(s, z)| s * f64::from(z[i]));
                    (scale * dot.sum::<f64>()) as f32
                })
                .collect()
        };
        let total: f64 = features.iter().flatten().map(|v| f64::from(*v).powi(2)).sum();
        let fraction = |(variance, _): &(f64, Vec<f64>)| variance / total.max(f64::MIN_POSITIVE);
        Ok(PrincipalDirections {
            directions: components.iter().map(direction).collect(),
            explained: components.iter().map(fraction).collect(),
        })
    }
}

/// Subtracts the mean row from every row.
fn centre(rows: &mut [Vec<f32>]) {
    let mut mean = vec![0.0; rows.first().map_or(0, Vec::len)];
    for row in rows.iter() {
        mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value));
    }
    for row in rows.iter_mut() {
        let count = LATENTS as f64;
        row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= (mean / count) as f32);
    }
}

/// The products of all pairs of rows, N x N.
fn gram(rows: &[Vec<f32>]) -> Vec<Vec<f64>> {
    let mut gram = vec![vec![0.0; rows.len()]; rows.len()];
    for i in 0..rows.len() {
        for j in 0..=i {
            let product = dot(&rows[i], &rows[j]);
            gram[i][j] = product;
            gram[j][i] = product;
        }
    }
    gram
}

/// The product of two vectors, in lanes that the compiler can keep in one register.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum::<f32>();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + f64::from(rest)
}

/// The `count` largest eigenvalues of a symmetric matrix and their eigenvectors of length 1, by
/// orthogonal iteration. The largest value of each vector is positive.
fn components(matrix: &[Vec<f64>], count: usize, rng: &mut dyn RngCore) -> Vec<(f64, Vec<f64>)> {
    let rows = matrix.len();
    let mut vectors: Vec<Vec<f64>> = (0..count.min(rows))
        .map(|_| (0..rows).map(|_| rng.sample(StandardNormal)).collect())
        .collect();
    for _ in 0..ITERATIONS {
        orthonormalize(&mut vectors);
        vectors = vectors.iter().map(|vector| product(matrix, vector)).collect();
    }
    // The last product stretched each vector by its eigenvalue.
    let values = orthonormalize(&mut vectors);
    let mut found: Vec<(f64, Vec<f64>)> = values.into_iter().zip(vectors).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, vector) in &mut found {
        let largest = vector.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
        if largest.is_some_and(|value| value < 0.0) {
            vector.iter_mut().for_each(|value| *value = -*value);
        }
    }
    found
}

fn product(matrix: &[Vec<f64>], vector: &[f64]) -> Vec<f64> {
    let mut result = vec![0.0; matrix.len()];
    // Symmetric: a sum of rows, which needs no sum over lanes.
    for (row, factor) in matrix.iter().zip(vector) {
        result.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
    }
    result
}

/// Makes vectors orthogonal and of length 1 (Gram and Schmidt), and returns what their lengths were.
fn orthonormalize(vectors: &mut [Vec<f64>]) -> Vec<f64> {
    let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut lengths = Vec::new();
    for i in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(i);
        let vector = &mut rest[0];
        for other in before.iter() {
            let shared = inner(vector, other);
            vector.iter_mut().zip(other).for_each(|(value, other)| *value -= shared * other);
        }
        let length = inner(vector, vector).sqrt();
        vector.iter_mut().for_each(|value| *value /= length.max(f64::MIN_POSITIVE));
        lengths.push(length);
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Architecture, Custom, Layer, Parameters, WeightInit};
    use candle_core::{Device, Tensor};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// A generator of one dense layer with this weight, (latent dim, outputs), and an activation that
    /// changes nothing at the values that occur.
    fn linear(weight: &[[f32; 4]; 3]) -> Generator {
        let layers = vec![
            Layer::Project { to: (1, 2, 2).into(), bias: false },
            Layer::Activation(Activation::LeakyRelu(1.0)),
        ];
        let critic = vec![Layer::Dense { units: 1, bias: true }];
        let custom = Custom::new(3, WeightInit::Glorot, layers, critic);
        let architecture = Architecture::Custom(custom);
        let config = architecture.generator((1, 2, 2).into(), vec![], false).expect("it fits");
        let (generator, parameters) =
            Parameters::init(1, &Device::Cpu, |vars| Generator::new(config, vars))
                .expect("it builds");
        let weight = Tensor::new(weight, &Device::Cpu).expect("12 values");
        let weight = weight.reshape((1, 1, 3, 4)).expect("12 values");
        let var = parameters.get("layers.0.weight").expect("the only layer");
        var.set(&weight).expect("the same shape");
        generator
    }

    /// Of a linear layer, the components are its singular vectors: here each latent value moves pixels
    /// of its own, the second the most, the third the least.
    #[test]
    fn directions_of_a_linear_layer_are_its_singular_vectors() {
        let generator = linear(&[[2.0, 0.0, 0.0, 0.0], [0.0, 3.0, 3.0, 0.0], [0.0, 0.0, 0.0, 1.0]]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let found = generator.principal_directions(3, 0, &mut rng).expect("a CPU");
        // Variances 18, 4 and 1 of 23.
        for ((direction, explained), (strongest, variance)) in
            found.directions.iter().zip(&found.explained).zip([(1, 18.0), (0, 4.0), (2, 1.0)])
        {
            assert!((explained - variance / 23.0).abs() < 0.03, "{found:?}");
            for (i, value) in direction.iter().enumerate() {
                let wanted = if i == strongest { 1.0 } else { 0.0 };
                assert!((value.abs() - wanted).abs() < 0.1, "{found:?}");
            }
        }
    }

    #[test]
    fn the_same_seed_finds_the_same_directions() {
        let generator = linear(&[[2.0, 0.5, 0.0, 0.0], [0.0, 3.0, 3.0, 0.1], [0.0, 0.2, 0.0, 1.0]]);
        let find = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            generator.principal_directions(2, 0, &mut rng).expect("a CPU")
        };
        assert_eq!(find(1), find(1));
        // The latent has three values, and no more directions.
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let all = generator.principal_directions(8, 0, &mut rng).expect("a CPU");
        assert_eq!((all.directions.len(), all.explained.len()), (3, 3));
        assert_ne!(find(1), find(2));
    }

    #[test]
    fn components_are_eigenvectors() {
        let matrix = [[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 2.0]].map(Vec::from);
        let found = components(&matrix, 3, &mut ChaCha8Rng::seed_from_u64(3));
        let root = 0.5_f64.sqrt();
        for ((value, vector), (wanted, of)) in found.iter().zip([
            (3.0, [root, root, 0.0]),
            (2.0, [0.0, 0.0, 1.0]),
            (1.0, [root, -root, 0.0]),
        ]) {
            assert!((value - wanted).abs() < 1e-9, "{found:?}");
            let product: f64 = vector.iter().zip(of).map(|(a, b)| a * b).sum();
            assert!((product.abs() - 1.0).abs() < 1e-9, "{found:?}");
        }
        assert_eq!(dot(&[1.0; 19], &[2.0; 19]), 38.0);
    }
}
