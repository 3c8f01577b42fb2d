//! Tests of the metrics against the reference programs. `testdata/gen/reference.py` prints the
//! expected values.

use crate::feature_stats::FeatureStats;
use crate::features::Features;
use crate::frechet::frechet_distance;
use crate::mmd::{mmd_squared, polynomial_mmd};
use crate::prdc::{Manifold, prdc, prdc_with};
use crate::pyramid::{Planes, laplacian_pyramid};
use crate::sliced_wasserstein::{Patches, sliced, unit};
use candle_core::{Device, Tensor};

/// The script's formula, whose values are exact in f32.
fn features(rows: usize, dim: usize, seed: usize, scale: f32, shift: f32) -> Features {
    let value = |i: usize, j: usize| {
        let hashed = (i * i * 31 + j * j * 17 + i * j * seed + 13 * i) % 1009;
        hashed as f32 / 512.0 * scale + shift
    };
    let values = (0..rows * dim).map(|k| value(k / dim, k % dim)).collect();
    Features::new(values, dim).expect("features")
}

fn sets() -> (Features, Features) {
    (features(60, 6, 7, 1.0, 0.0), features(50, 6, 11, 0.75, 0.625))
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

/// The Fréchet distance of the script's sets of 128 features, whose values are multiplied by
/// `scale(column)`.
fn wide_distance((reals, fakes): (usize, usize), scale: impl Fn(usize) -> f32) -> f64 {
    let stats = |set: Features| {
        let scaled = set.values().iter().enumerate().map(|(k, value)| value * scale(k % 128));
        let set = Features::new(scaled.collect(), 128).expect("features");
        FeatureStats::from_features(&set).expect("statistics")
    };
    let real = stats(features(reals, 128, 7, 1.0, 0.0));
    let fake = stats(features(fakes, 128, 11, 0.75, 0.625));
    frechet_distance(&real, &fake).expect("a distance")
}

/// `sqrtm` of SciPy, and where that is inaccurate, because the covariances are singular, the nuclear
/// norm, which the script prints beside it.
#[test]
fn frechet_distance_of_wide_features() {
    let full = 26.231_130_864_353_37;
    // Powers of 2 change no digit, and neither scale overflows.
    for power in [-50, 0, 50] {
        let scale = 2f32.powi(power);
        assert_near(wide_distance((400, 300), |_| scale) / f64::from(scale).powi(2), full);
    }
    let assert_close = |got: f64, wanted: f64| {
        assert!((got - wanted).abs() < 1e-7 * wanted, "{got}, not {wanted}");
    };
    // Fewer rows than features; then every second feature 2^20 times smaller.
    assert_close(wide_distance((20, 30), |_| 1.0), 60.338_429_630_229_43);
    let near = |column: usize| if column.is_multiple_of(2) { 1.0 } else { 2f32.powi(-20) };
    assert_close(wide_distance((400, 300), near), 11.750_073_432_616_922);
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

/// The script's two sets of 3 images of 33 x 40 pixels in two channels.
fn images() -> [Tensor; 2] {
    let first = features(6, 33 * 40, 7, 1.0, 0.0).values().to_vec();
    let mut second = features(6, 33 * 40, 11, 0.75, 0.0).values().to_vec();
    for i in (0..second.len()).filter(|i| i % (33 * 40) >= 40) {
        second[i] += first[i - 40];
    }
    [first, second]
        .map(|values| Tensor::from_vec(values, (3, 2, 33, 40), &Device::Cpu).expect("images"))
}

/// Places and directions are the script's formulas in place of random ones.
#[test]
fn sliced_wasserstein_distance_of_numpy() {
    let [first, second] = images().map(|images| laplacian_pyramid(&images).expect("a pyramid"));
    let wanted = [
        (0.093_106_086_818_518_74, [-0.572_224_617, -0.552_770_615, -0.186_193_466, 0.508_632_660]),
        (0.079_717_412_541_439_04, [0.564_056_396, 0.633_041_382, 0.830_795_288, 1.062_576_294]),
    ];
    assert_eq!((first.len(), second.len()), (2, 2));
    for ((a, b), (distance, corner)) in first.iter().zip(&second).zip(wanted) {
        let start = a.height * a.width;
        for (place, wanted) in [0, 1, a.width, a.width + 1].into_iter().zip(corner) {
            let got = f64::from(a.values[start + place]);
            assert!((got - wanted).abs() < 1e-6, "{got}, not {wanted}");
        }
        let patches = |level: &Planes| {
            let mut t = 0..;
            Patches::new(level, |[top, left]| {
                let t = t.next().unwrap_or(0);
                [t * 5 % (top + 1), t * 3 % (left + 1)]
            })
        };
        let mut next = 0..;
        let direction = |dim| {
            let j = next.next().unwrap_or(0);
            unit(
                (0..dim)
                    .map(|i| ((j * j * 31 + i * i * 17 + i * j * 7) % 101) as f64 - 50.0)
                    .collect(),
            )
        };
        let got = sliced(&[patches(a), patches(b)], 40, direction).expect("a distance");
        assert!((got - distance).abs() < 1e-5 * distance, "{got}, not {distance}");
    }
}
