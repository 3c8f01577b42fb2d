//! How good the networks become, as the examples train them.

#[allow(dead_code, reason = "its main is for the command line")]
#[path = "../../examples/own_networks.rs"]
mod own_networks;
#[allow(dead_code, reason = "its main is for the command line")]
#[path = "../../examples/train.rs"]
mod train;

/// 300 steps of the recipe `default` reach a Frechet distance of 14; an untrained generator is above
/// 100, real fives are at 0.4.
#[test]
fn the_default_recipe_learns_fives_in_300_steps() {
    let directory = tempfile::tempdir().unwrap();
    let images = train::fives::load().unwrap();
    let distance = train::train(&images, directory.path(), 300).unwrap();
    assert!(distance < 20.0, "Frechet distance {distance}");
    assert!(directory.path().join("samples.png").is_file());
    assert!(directory.path().join("generator/model.safetensors").is_file());
    // Run again, it restores the last checkpoint and has nothing left to train.
    let again = train::train(&images, directory.path(), 300).unwrap();
    assert_eq!(again, distance);
}

/// 1,500 steps of the user's own modules, whose weights start unseeded, reach a Frechet distance of 17 to 29.
/// candle's products are not optimised in dev builds, so this takes minutes there; it runs where
/// `CANDLE_GAN_SLOW_TESTS` is set.
#[test]
fn own_networks_learn_fives() {
    if std::env::var_os("CANDLE_GAN_SLOW_TESTS").is_none() {
        return;
    }
    let images = own_networks::fives::load().unwrap();
    let (distance, ..) = own_networks::train(&images, 1500).unwrap();
    assert!(distance < 60.0, "Frechet distance {distance}");
}
