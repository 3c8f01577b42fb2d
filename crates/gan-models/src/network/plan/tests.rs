//! Tests of the sizes of networks.

use super::*;

fn error(layer: Layer) -> String {
    let input = FeatureShape { channels: 3, height: 28, width: 28 };
    plan(input, &[Layer::Dropout(0.5), layer]).expect_err("too large").to_string()
}

/// What the blocks before one hold counts with it.
#[test]
fn layers_inside_residual_blocks_count() {
    let input = FeatureShape { channels: 1, height: 8, width: 8 };
    let plan_of = |count: usize, channels: usize| {
        let conv =
            |channels| Layer::Conv { channels, kernel: 1, stride: 1, bias: false, groups: 1 };
        let body = vec![conv(channels), conv(1)];
        let block = Layer::Residual { body, shortcut: Vec::new(), zero_init: true };
        let mut bytes = 0;
        plan_after(input, &vec![block; count], &mut bytes).map(|_| bytes)
    };
    let one = plan_of(1, 10).expect("small");
    assert_eq!(plan_of(3, 10).expect("small"), 3 * one);
    // Of each channel in the middle: 64 values as an output and as an input, and two weights.
    let most = (total_memory() / 4 / 4 / 130) as usize;
    plan_of(1, most * 6 / 10).expect("fits");
    let error = plan_of(2, most * 6 / 10).expect_err("two do not").to_string();
    assert!(error.starts_with("layer 1 (residual): body: layer"), "{error}");
}

#[test]
fn weights_that_start_at_0_must_be_the_body_s_own() {
    let conv = Layer::Conv { channels: 1, kernel: 1, stride: 1, bias: false, groups: 1 };
    let block = |body: Vec<Layer>| Layer::Residual { body, shortcut: vec![], zero_init: true };
    for (body, want) in [
        (vec![Layer::Dropout(0.5)], "zero_init: the body has no linear layer"),
        (vec![conv.clone(), block(vec![conv])], "are inside another residual layer"),
    ] {
        let error = plan((1, 4, 4).into(), &[block(body)]).expect_err(want).to_string();
        assert!(error.contains(want), "{error}");
    }
}

/// Within microseconds, where building it would take all memory.
#[test]
fn a_layer_beyond_the_machine_s_memory_is_named_with_its_size() {
    let conv =
        |channels, kernel, stride| Layer::Conv { channels, kernel, stride, bias: true, groups: 1 };
    let cases = [
        (Layer::Dense { units: 1_000_000_000, bias: true }, "9416.0 GB"),
        (Layer::Dense { units: usize::MAX, bias: true }, "more than any memory"),
        (conv(1 << 40, 3, 1), "GB"),
        (conv(1, 1 << 30, 1), "more than any memory"),
        (conv(1, 1 << 20, 1), "GB"),
        (conv(1, usize::MAX, usize::MAX), "more than any memory"),
        (
            Layer::ConvTranspose {
                channels: 1,
                kernel: 1,
                stride: 1 << 40,
                bias: false,
                groups: 1,
            },
            "any",
        ),
        (
            Layer::ConvTranspose { channels: 1, kernel: 1, stride: 2000, bias: false, groups: 1 },
            "GB",
        ),
    ];
    for (layer, want) in cases {
        let text = error(layer.clone());
        assert!(text.starts_with(&format!("layer 1 ({}): ", layer.kind())), "{text}");
        assert!(text.contains(want), "{layer:?}: {text}, not {want}");
    }
    let project = [Layer::Project { to: (1, 65_536, 65_536).into(), bias: true }];
    let text = plan(FeatureShape::vector(64), &project).expect_err("too large").to_string();
    assert!(text.starts_with("layer 0 (project): its sizes"), "{text}");
    // As many rows as an index can count.
    let tall = FeatureShape { channels: 1, height: u32::MAX as usize, width: 1 };
    let conv = Layer::Conv { channels: 1, kernel: 1, stride: 1, bias: false, groups: 1 };
    let text = plan(tall, &[conv]).expect_err("too large").to_string();
    assert!(text.contains("take 274.9 GB"), "{text}");
    let latents = [Layer::Dense { units: 2, bias: true }];
    for length in [4_000_000_000_000, usize::MAX] {
        plan(FeatureShape::vector(length), &latents).expect_err("too large");
    }
}
