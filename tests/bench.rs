//! `bench`: times of a training step.

use serde_json::{Value, json};

use crate::{Place, SMALL, finish};

#[test]
fn json_has_every_field_of_the_contract() {
    let place = Place::new();
    let bench = "bench --recipe mlp-like.toml --batch-size 4 --steps 3 --threads 1";
    let cases = [("--precision highest", "kernels"), ("--operators candle", "candle")];
    for (flags, operators) in cases {
        let said = place.succeed(&format!("{bench} --json {flags}"));
        assert_eq!(said.out.lines().count(), 1, "{said:?}");
        let report: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(report["recipe"], "mlp-like");
        assert_eq!((&report["batch"], &report["threads"]), (&json!(4), &json!(1)));
        assert_eq!(
            (&report["operators"], &report["precision"]),
            (&json!(operators), &json!("f32"))
        );
        let sets = report["instruction_sets"].as_array().unwrap();
        assert_eq!(sets.last(), Some(&report["isa"]), "{report}");
        assert_eq!(report["profile"], if cfg!(debug_assertions) { "dev" } else { "release" });
        let number = |name: &str| report[name].as_f64().unwrap();
        let images_per_s = 4.0 / number("ms_per_step") * 1e3;
        assert!((number("images_per_s") / images_per_s - 1.0).abs() < 1e-9, "{report}");
        // A dense layer has as many multiply-adds as inputs times outputs.
        let layers =
            |sizes: &[usize]| sizes.windows(2).map(|pair| pair[0] * pair[1]).sum::<usize>();
        let (generator, discriminator) = (layers(&[6, 8, 16, 784]), layers(&[784, 16, 8, 1]));
        // For the discriminator: fakes, real and fake forward, weight gradients, input gradients
        // but the first; for the generator: forward, through the discriminator and back, weight
        // gradients, input gradients but the first.
        let step = generator
            + 2 * (3 * discriminator - 784 * 16)
            + (3 * generator - 6 * 8)
            + 2 * discriminator;
        let gflop_per_s = 2.0 * (4 * step) as f64 / number("ms_per_step") / 1e6;
        assert!((number("gflop_per_s") / gflop_per_s - 1.0).abs() < 1e-9, "{report}");
        assert!(number("sgemm_gflop_per_s") > 0.0);
        assert!(cfg!(not(target_os = "linux")) || number("peak_rss_mib") > 1.0);
    }
    assert!(!place.path("runs").exists(), "timing leaves no run");
}

#[test]
fn layers_are_timed_by_name() {
    let place = Place::new();
    let said = place.succeed("bench --recipe tiny.toml --steps 2 --layers");
    assert!(said.out.starts_with("tiny batch 8, "), "{said:?}");
    for part in [
        "generator / forward \"layers.0\"",
        "discriminator / backward \"layers.4\"",
        "discriminator / update",
        "ema",
    ] {
        let line = said.out.lines().find(|line| line.ends_with(part));
        assert!(line.is_some_and(|line| line.contains(" ms  ")), "{part} in {said:?}");
    }
}

#[test]
fn images_have_the_shape_that_is_asked_for() {
    let place = Place::new();
    let bench = |image: &str| {
        let said = place.succeed(&format!("bench --recipe tiny.toml --steps 1 --json {image}"));
        serde_json::from_str::<Value>(&said.out).unwrap()
    };
    assert_eq!(bench("")["image"], json!([1, 28, 28]));
    assert_eq!(bench("--image 3x16x16")["image"], json!([3, 16, 16]));
    let said = place.run("bench --image 3x64");
    let text = "three numbers are needed, CxHxW, such as 3x64x64";
    assert!(said.code == Some(2) && said.err.contains(text), "{said:?}");
}

#[test]
fn nothing_to_time_is_an_error() {
    let place = Place::new();
    place.refuse_saying("bench --steps 0", &["--steps 0"]);
    place.refuse_saying("bench --recipe dfault", &["--recipe dfault", "no such recipe"]);
}

#[test]
fn a_generator_is_timed() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 1"));
    let generator = "runs/00000-idx-set-tiny/generator";
    let bench = format!("bench --inference {generator} --threads 1 --steps 1 --batch-size 4");
    let said = place.succeed(&bench);
    assert!(said.out.contains(" us for one image\n"), "{said:?}");
    let said = place.succeed(&format!("{bench} --json"));
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert!(report["us_per_image"].as_f64() > Some(0.0) && report["batch"] == 4, "{report}");
    place.refuse_saying("bench --inference nowhere", &["nowhere/config.json"]);
}

#[test]
fn instructions_that_the_processor_lacks_are_an_error() {
    let place = Place::new();
    let with = |isa: &str| {
        let mut command = place.command("bench --recipe tiny.toml --steps 1 --threads 1");
        finish(command.env("GAN_KERNELS_ISA", isa))
    };
    let said = with("scalar");
    assert!(said.out.contains("CPU, scalar, 1 thread, products in f32"), "{said:?}");
    let said = with("avx1024");
    let text = "GAN_KERNELS_ISA=avx1024: this processor has scalar";
    assert!(said.code == Some(2) && said.err.contains(text), "{said:?}");
}

#[test]
fn a_run_keeps_its_precision() {
    let place = Place::new();
    place.succeed("--recipe tiny.toml --dataset idx:set --steps 3 --precision highest");
    let config: Value =
        serde_json::from_slice(&place.read("runs/00000-idx-set-tiny/config.json")).unwrap();
    assert_eq!(config["precision"], "highest");
    let said = place.run("--resume runs/00000-idx-set-tiny --steps 5 --precision high");
    assert!(
        said.code == Some(2) && said.err.contains("cannot be used with '--precision"),
        "{said:?}"
    );
    let said = place.succeed("--resume runs/00000-idx-set-tiny --steps 5");
    assert!(said.err.contains("products in f32"), "{said:?}");
}
