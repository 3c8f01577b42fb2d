//! Directories of networks: whole, damaged and of another network.

use crate::{dcgan, generator, mlp, values};
use candle_core::{Device, Var};
use gan_models::{
    Architecture, CONFIG_FILE, Error, Generator, GeneratorConfig, LatentDistribution, Mode,
    Parameters, WEIGHTS_FILE,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::fs;

fn load(directory: &std::path::Path) -> Result<Generator, Error> {
    Generator::load(directory, &Device::Cpu)
}

/// An error and its source.
fn chain(error: Error) -> String {
    let source = std::error::Error::source(&error).map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

#[test]
fn a_generator_comes_back_from_its_directory() {
    for architecture in [dcgan(5), mlp()] {
        let directory = tempfile::tempdir().unwrap();
        let (generator, parameters) = generator(&architecture, (1, 12, 8).into(), 1);
        generator.save(&parameters, directory.path()).unwrap();
        let loaded = load(directory.path()).unwrap();
        assert_eq!(loaded.config(), generator.config());
        let sample = |g: &Generator, count| {
            values(&g.sample(count, &mut ChaCha8Rng::seed_from_u64(1)).unwrap())
        };
        for count in [3, 1] {
            assert_eq!(sample(&loaded, count), sample(&generator, count));
        }
        assert!(sample(&loaded, 3).iter().all(|value| (-1.0..=1.0).contains(value)));
        // Packed weights stop no gradient of the latents.
        let latents = loaded.sample_latents(1, &mut ChaCha8Rng::seed_from_u64(2)).unwrap();
        let latents = Var::from_tensor(&latents).unwrap();
        let images = loaded.forward(&latents, Mode::Eval).unwrap();
        let gradients = images.sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&latents).is_some());
        // Nothing but the two files is left.
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}

/// Names and shapes of weights are a file format.
#[test]
fn the_names_of_weights_stay() {
    let (_, parameters) = generator(&dcgan(4), (1, 8, 8).into(), 1);
    let names: Vec<_> =
        parameters.iter().map(|(name, var)| format!("{name} {:?}", var.dims())).collect();
    assert_eq!(
        names,
        [
            "layers.0.weight [2, 2, 5, 7]",
            "layers.1.bias [28]",
            "layers.1.running_mean [28]",
            "layers.1.running_var [28]",
            "layers.1.weight [28]",
            "layers.3.weight [4, 4, 7, 6]",
            "layers.4.bias [6]",
            "layers.4.running_mean [6]",
            "layers.4.running_var [6]",
            "layers.4.weight [6]",
            "layers.6.weight [4, 4, 6, 4]",
            "layers.7.bias [4]",
            "layers.7.running_mean [4]",
            "layers.7.running_var [4]",
            "layers.7.weight [4]",
            "layers.9.weight [4, 4, 4, 1]",
        ]
    );
}

/// What it is in may have been moved away meanwhile, and must not come back in part.
#[test]
fn a_directory_is_made_but_not_those_that_it_is_in() {
    let place = tempfile::tempdir().unwrap();
    let (generator, parameters) = generator(&mlp(), (1, 6, 5).into(), 1);
    generator.save(&parameters, place.path().join("generator")).unwrap();
    let error = generator.save(&parameters, place.path().join("run/generator")).unwrap_err();
    assert!(error.to_string().contains("run/generator"), "{error}");
    assert!(!place.path().join("run").exists());
}

#[test]
fn every_damage_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let text = chain(load(directory).unwrap_err());
    assert!(text.contains(CONFIG_FILE) && text.contains("No such file"), "{text}");

    let (generator, parameters) = generator(&dcgan(4), (1, 8, 8).into(), 1);
    generator.save(&parameters, directory).unwrap();
    let weights = directory.join(WEIGHTS_FILE);
    let whole = fs::read(&weights).unwrap();
    for length in [0, 7, 100, whole.len() - 1] {
        fs::write(&weights, &whole[..length]).unwrap();
        let error = load(directory).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{length} bytes: {error}");
        let text = error.to_string();
        assert!(text.contains(WEIGHTS_FILE) && text.contains("damaged or cut short"), "{text}");
    }
    let mut long = whole.clone();
    long.extend([0; 4]);
    fs::write(&weights, &long).unwrap();
    assert!(matches!(load(directory).unwrap_err(), Error::Damaged { .. }));

    // Weights of another architecture: other shapes, and missing or surplus tensors.
    let (_, other) = crate::generator(&dcgan(5), (1, 8, 8).into(), 1);
    gan_models::weights::save(&weights, &other).unwrap();
    let text = load(directory).unwrap_err().to_string();
    assert!(
        text.contains(
            "another architecture: layers.3.weight has shape [5, 5, 7, 6], must have [4, 4, 7, 6]"
        ),
        "{text}"
    );
    let (_, other) = crate::generator(&mlp(), (1, 8, 8).into(), 1);
    gan_models::weights::save(&weights, &other).unwrap();
    let text = load(directory).unwrap_err().to_string();
    assert!(text.contains("layers.0.weight has shape [1, 1, 6, 9]"), "{text}");

    fs::write(directory.join(CONFIG_FILE), "{\"latent_dim\": 5, \"colour\": 1}").unwrap();
    let text = chain(load(directory).unwrap_err());
    assert!(text.contains("unknown field `colour`"), "{text}");
}

/// Keys of earlier versions have their meaning.
#[test]
fn configurations_of_earlier_versions_load() {
    let old = r#"{ "latent_dim": 5, "noise": "truncated_normal", "image": [1, 2, 2], "init": "glorot",
        "layers": [{ "project": { "to": [1, 2, 2], "bias": true } }, { "activation": "tanh" }] }"#;
    let directory = tempfile::tempdir().unwrap();
    let config: GeneratorConfig = serde_json::from_str(old).unwrap();
    assert_eq!(config.latent_distribution, LatentDistribution::TruncatedNormal);
    let (generator, parameters) =
        Parameters::init(1, &Device::Cpu, |vars| Generator::new(config, vars)).unwrap();
    generator.save(&parameters, directory.path()).unwrap();
    fs::write(directory.path().join(CONFIG_FILE), old).unwrap();
    let loaded = load(directory.path()).unwrap();
    assert_eq!(loaded.config(), generator.config());

    // Of a recipe.
    let old = r#"{ "layers": { "latent_dim": 5, "noise": "truncated_normal", "init": "glorot",
        "generator": [], "discriminator": [] } }"#;
    let architecture: Architecture = serde_json::from_str(old).unwrap();
    let Architecture::Custom(custom) = &architecture else { panic!("{architecture:?}") };
    assert_eq!(custom.latent_distribution, LatentDistribution::TruncatedNormal);
    let new = serde_json::to_string(&architecture).unwrap();
    assert!(new.starts_with(r#"{"custom":{"latent_dim":5,"latent_distribution":"#), "{new}");
    assert_eq!(serde_json::from_str::<Architecture>(&new).unwrap(), architecture);
}
