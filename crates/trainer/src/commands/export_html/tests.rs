//! Pages against their generators.

use super::*;
use gan_models::{Activation, GeneratorConfig, Layer, Momentum, UpsampleFilter, WeightInit};
use std::process::Command;

fn new(config: GeneratorConfig) -> Result<(Generator, Parameters)> {
    let (generator, parameters) =
        Parameters::init(3, &Device::Cpu, |vars| Generator::new(config, vars))?;
    for (at, (_, var)) in parameters.iter().enumerate().filter(|(_, (_, var))| var.rank() == 1) {
        let shift = (0..var.elem_count()).map(|i| 0.02 + ((i * 7 + at) % 11) as f32 / 40.0);
        let shift = Tensor::from_iter(shift, &Device::Cpu)?;
        var.set(&(var.as_detached_tensor() + shift)?)?;
    }
    Ok((generator, parameters))
}

/// A class-conditional generator with every kind of layer.
fn every_layer() -> GeneratorConfig {
    let conv =
        |channels, kernel, stride| Layer::Conv { channels, kernel, stride, bias: true, groups: 1 };
    let transposed = |channels, kernel, stride| Layer::ConvTranspose {
        channels,
        kernel,
        stride,
        bias: true,
        groups: 1,
    };
    let norm =
        |per_channel| Layer::BatchNorm { epsilon: 1e-3, momentum: Momentum(0.2), per_channel };
    let leaky = Layer::Activation(Activation::LeakyRelu(0.2));
    let upsample = |filter| Layer::Upsample { factor: 2, filter };
    let block = Layer::Residual {
        body: vec![leaky.clone(), upsample(UpsampleFilter::Nearest), conv(8, 3, 1), norm(false)],
        shortcut: vec![conv(8, 1, 1), upsample(UpsampleFilter::Bilinear)],
        zero_init: false,
    };
    let layers = vec![
        Layer::Project { to: (4, 3, 5).into(), bias: false },
        norm(false),
        leaky.clone(),
        conv(4, 4, 1),
        conv(6, 2, 3),
        Layer::Dense { units: 9, bias: true },
        Layer::Activation(Activation::Relu),
        Layer::Dense { units: 4, bias: true },
        Layer::Basis(3, 5),
        transposed(5, 4, 3),
        Layer::Activation(Activation::Sigmoid),
        Layer::Dropout(0.2),
        Layer::Resize(11, 13),
        Layer::AvgPool(3),
        norm(true),
        Layer::Conv { channels: 10, kernel: 3, stride: 1, bias: true, groups: 5 },
        Layer::ConvTranspose { channels: 4, kernel: 3, stride: 2, bias: true, groups: 2 },
        transposed(4, 5, 1),
        Layer::GroupNorm { groups: 2, epsilon: 1e-3 },
        block,
        Layer::PixelUnshuffle(2),
        Layer::PixelShuffle(2),
        Layer::Downsample(2),
        Layer::MinibatchStd,
        transposed(2, 3, 2),
        Layer::Activation(Activation::Tanh),
        Layer::Rescale { scale: 0.5, shift: 0.25 },
    ];
    let mut config =
        GeneratorConfig::new(6, (2, 16, 20).into(), layers, WeightInit::FanInNormal(1.0));
    config.classes = ["a", "b</script>", "c"].map(String::from).to_vec();
    config.conditional = true;
    config
}

#[test]
fn a_page_holds_its_parts_and_nothing_ends_them() -> Result<()> {
    let (generator, parameters) = new(every_layer())?;
    let page = page("<b>&", &generator, &parameters, true)?;
    assert!(page.contains("<title>&lt;b&gt;&amp;</title>") && !page.contains("{{"));
    assert_eq!(page.matches("</script>").count(), 4);
    assert!(page.contains("b\\u003c/script>"));
    for other in ["://", "src=", "href="] {
        assert!(!page.contains(other), "{other}");
    }
    Ok(())
}

/// The pages in `docs` are those that the command writes today, but for the last digits of the principal
/// directions, which depend on the processor. The command that writes them is in `docs/cli.md`.
#[test]
fn pages_in_docs_are_those_of_today() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let parts = |page: &str| -> Result<([String; 2], Vec<Vec<f32>>)> {
        let (before, rest) = page.split_once("\"directions\":").context("no directions")?;
        let (directions, after) = rest.split_once('}').context("no end")?;
        Ok(([before.to_string(), after.to_string()], serde_json::from_str(directions)?))
    };
    for name in ["fives", "digits"] {
        let weights = root.join("assets/weights").join(name);
        let (generator, parameters) = Generator::load_trainable(weights, &Device::Cpu)?;
        let is_half = half_is_enough(&generator, &parameters)?;
        let today = page(name, &generator, &parameters, is_half)?;
        let committed = std::fs::read_to_string(root.join(format!("docs/{name}.html")))?;
        let (today, directions) = parts(&today)?;
        let (committed, old_directions) = parts(&committed)?;
        assert!(today == committed, "docs/{name}.html: write it anew, see docs/cli.md");
        let differences = directions.iter().flatten().zip(old_directions.iter().flatten());
        let largest = differences.map(|(new, old)| (new - old).abs()).fold(0.0, f32::max);
        assert_eq!(directions.len(), old_directions.len());
        assert!(largest < 1e-3, "docs/{name}.html: {largest}");
    }
    Ok(())
}

/// The page's own script, run where the environment names a Node.js:
/// `CANDLE_GAN_NODE=node cargo test -p trainer --lib export_html`.
#[test]
#[allow(clippy::print_stderr, reason = "a test that is skipped says why")]
fn scripts_draw_what_generators_draw() -> Result<()> {
    let Some(node) = std::env::var_os("CANDLE_GAN_NODE") else {
        eprintln!("skipped: CANDLE_GAN_NODE names no Node.js");
        return Ok(());
    };
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let trained = |name: &str| {
        let directory = root.join("../../assets/weights").join(name);
        Generator::load_trainable(directory, &Device::Cpu)
    };
    let place = tempfile::tempdir()?;
    for (generator, parameters) in [new(every_layer())?, trained("fives")?, trained("digits")?] {
        let is_half = half_is_enough(&generator, &parameters)?;
        let html = page("page", &generator, &parameters, is_half)?;
        let config = generator.config();
        let latents = generator.sample_latents(1, &mut ChaCha8Rng::seed_from_u64(7))?;
        let label = config.classes.len() as u32 - 1;
        let want = generator.forward(&generator.input(&latents, &[label])?, Mode::Eval)?;
        let want = range::to_bytes(&want)?;
        let z: Vec<f32> = latents.flatten_all()?.to_vec1()?;
        std::fs::write(place.path().join("page.html"), html)?;
        let script = format!(
            "const fs = require('fs'), Gan = require({:?});\n\
             const html = fs.readFileSync('page.html', 'utf8');\n\
             const part = (id) => html.split(`id=\"${{id}}\">`)[1].split('</script>')[0];\n\
             const network = Gan.load(JSON.parse(part('model')), Buffer.from(part('weights'), 'base64'));\n\
             const start = performance.now();\n\
             let values;\n\
             for (let i = 0; i < 20; i++) values = Gan.forward(network, {z:?}, {label});\n\
             console.error(20000 / (performance.now() - start), 'images/s');\n\
             console.log(JSON.stringify([...values].map((v) => Math.round((v + 1) * 127.5))));",
            root.join("assets/page/generator.js")
        );
        std::fs::write(place.path().join("draw.js"), script)?;
        let output = Command::new(&node).arg("draw.js").current_dir(place.path()).output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
        eprintln!("{:?}: {}", config.image, error.trim());
        let got: Vec<i32> = serde_json::from_slice(&output.stdout)?;
        assert_eq!(got.len(), want.len());
        let largest = got.iter().zip(&want).map(|(got, want)| (got - i32::from(*want)).abs()).max();
        assert!(largest <= Some(i32::from(MAX_DIFFERENCE)), "{largest:?}");
    }
    Ok(())
}
