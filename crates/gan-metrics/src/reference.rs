//! Tests of the metrics against the reference programs. `testdata/gen/reference.py` prints the
//! expected values.

use crate::feature_stats::FeatureStats;
use crate::features::Features;
use crate::frechet::frechet_distance;
use crate::mmd::{mmd_squared, polynomial_mmd};
use crate::prdc::{Manifold, prdc, prdc_with};

const DIM: usize = 6;

/// The script's formula, whose values are exact in f32.
fn features(rows: usize, seed: usize, scale: f32, shift: f32) -> Features {
    let value = |i: usize, j: usize| {
        let hashed = (i * i * 31 + j * j * 17 + i * j * seed + 13 * i) % 1009;
        hashed as f32 / 512.0 * scale + shift
    };
    let values = (0..rows * DIM).map(|k| value(k / DIM, k % DIM)).collect();
    Features::new(values, DIM).expect("features")
}

fn sets() -> (Features, Features) {
    (features(60, 7, 1.0, 0.0), features(50, 11, 0.75, 0.625))
}

fn assert_near(got: f64, wanted: f64) {
    assert!((got - wanted).abs() < 1e-9 * wanted, "{got}, not {wanted}");
}

#[test]
fn frechet_distance_of_pytorch_fid() {
    let (real, fake) = sets();
    let (real, fake) = (
        FeatureStats::from_features(&real).expect("statistics"),
        FeatureStats::from_features(&fake).expect("statistics"),
    );
    assert_near(frechet_distance(&real, &fake).expect("a distance"), 1.065_645_932_640_910_2);
}

#[test]
fn mmd_of_scikit_learn() {
    let (real, fake) = sets();
    let wanted = 4.196_525_571_536_021_5;
    let got = mmd_squared(&real, &fake).expect("a discrepancy");
    assert!((got - wanted).abs() < 1e-4, "{got}, not {wanted}");
    // Subsets of all rows of the one set and most of the other.
    let estimate = polynomial_mmd(&real, &fake, 50, 1000, 1).expect("an estimate");
    assert!((estimate.mean - wanted).abs() < estimate.std, "{estimate:?}");
}

#[test]
fn precision_recall_density_and_coverage_of_prdc() {
    let (real, fake) = sets();
    let real = Manifold::from_features(&real).expect("a manifold");
    let three = prdc_with(&real, &fake, 3, 3).expect("scores");
    assert_near(three.precision, 0.74);
    assert_near(three.recall, 0.533_333_333_333_333_3);
    assert_near(three.density, 0.54);
    assert_near(three.coverage, 0.483_333_333_333_333_34);
    let five = prdc_with(&real, &fake, 5, 5).expect("scores");
    assert_near(five.precision, 1.0);
    assert_near(five.recall, 0.7);
    assert_near(five.density, 0.824);
    assert_near(five.coverage, 0.683_333_333_333_333_3);
    let both = prdc(&real, &fake).expect("scores");
    assert_eq!((both.precision, both.recall), (three.precision, three.recall));
    assert_eq!((both.density, both.coverage), (five.density, five.coverage));
}
