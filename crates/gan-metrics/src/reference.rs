//! The metrics against numbers from the programs that are usually quoted, which
//! `testdata/gen/reference.py` prints.

use crate::features::Features;
use crate::frechet::frechet_distance;
use crate::kernel::{discrepancy, kernel_distance};
use crate::manifold::{Manifold, manifold_scores, scores};
use crate::moments::Moments;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

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
    let (real, fake) = (Moments::of(&real).expect("moments"), Moments::of(&fake).expect("moments"));
    assert_near(frechet_distance(&real, &fake).expect("a distance"), 1.065_645_932_640_910_2);
}

#[test]
fn kernel_distance_of_scikit_learn() {
    let (real, fake) = sets();
    let wanted = 4.196_525_571_536_021_5;
    let got = discrepancy(&real, &fake).expect("a discrepancy");
    assert!((got - wanted).abs() < 1e-4, "{got}, not {wanted}");
    // Subsets of all rows of the one set and most of the other.
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let estimate = kernel_distance(&real, &fake, 50, 1000, &mut rng).expect("an estimate");
    assert!((estimate.mean - wanted).abs() < estimate.spread, "{estimate:?}");
}

#[test]
fn precision_recall_density_and_coverage_of_prdc() {
    let (real, fake) = sets();
    let real = Manifold::of(&real).expect("a manifold");
    let three = scores(&real, &fake, 3, 3).expect("scores");
    assert_near(three.precision, 0.74);
    assert_near(three.recall, 0.533_333_333_333_333_3);
    assert_near(three.density, 0.54);
    assert_near(three.coverage, 0.483_333_333_333_333_34);
    let five = scores(&real, &fake, 5, 5).expect("scores");
    assert_near(five.precision, 1.0);
    assert_near(five.recall, 0.7);
    assert_near(five.density, 0.824);
    assert_near(five.coverage, 0.683_333_333_333_333_3);
    let both = manifold_scores(&real, &fake).expect("scores");
    assert_eq!((both.precision, both.recall), (three.precision, three.recall));
    assert_eq!((both.density, both.coverage), (five.density, five.coverage));
}
