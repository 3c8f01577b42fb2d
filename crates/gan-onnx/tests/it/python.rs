//! Models checked by Python's onnx and run by its onnxruntime.

use crate::cases;
use candle_core::Tensor;
use std::path::Path;
use std::process::Command;

/// Runs only where the environment names a Python that has onnx, onnxruntime and numpy:
/// `CANDLE_GAN_ONNX_PYTHON=.../bin/python cargo test -p gan-onnx --test it python`.
#[test]
#[allow(clippy::print_stdout, reason = "says whether it ran")]
fn generators_agree_with_onnxruntime() {
    let Some(python) = std::env::var_os("CANDLE_GAN_ONNX_PYTHON") else {
        println!("skipped: CANDLE_GAN_ONNX_PYTHON names no Python with onnx and onnxruntime");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run_onnx.py");
    let directory = tempfile::tempdir().unwrap();
    for case in cases() {
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("model.onnx"), case.onnx()).unwrap();
        for batch in [1, 3] {
            let (z, labels, want) = case.images(batch);
            z.write_npy(at("z.npy")).unwrap();
            let mut command = Command::new(&python);
            command.arg(&script).args(["model.onnx", "z.npy", "images.npy"].map(at));
            if case.generator.config().conditional {
                command.args(labels.iter().map(u32::to_string));
            }
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", case.name);
            let got = Tensor::read_npy(at("images.npy")).unwrap();
            assert_eq!(got.dims(), want.dims(), "{}", case.name);
            let got: Vec<f32> = got.flatten_all().unwrap().to_vec1().unwrap();
            let worst = case.check(&got, &want);
            println!("{}, {batch} images: largest difference {worst:e}", case.name);
        }
    }
}
