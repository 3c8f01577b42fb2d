//! Every instruction set of the processor: the tests run once for each.

use gan_kernels::{Isa, isa, requested_isa};
use std::io::Write;
use std::process::Command;

const VARIABLE: &str = "GAN_KERNELS_ISA";

/// Runs this test program again with each narrower instruction set, and prints which ones the run
/// has covered. Output through `print!` would be captured.
#[test]
fn tests_pass_with_every_instruction_set() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let sets = Isa::available();
    for set in sets.iter().filter(|set| **set != isa()) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.env(VARIABLE, set.name()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "with {VARIABLE}={set}:\n{text}");
        assert!(!text.contains(" 0 passed"), "no test ran with {VARIABLE}={set}:\n{text}");
    }
    let names: Vec<_> = sets.iter().map(|set| set.name()).collect();
    let others = ["avx2", "avx512", "amx", "neon"].into_iter().filter(|set| !names.contains(set));
    let line = format!(
        "gan-kernels: instruction sets covered: {}; not on this processor: {}\n",
        names.join(", "),
        others.collect::<Vec<_>>().join(", ")
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

#[test]
fn the_variable_narrows_the_instruction_set() {
    if let Some(name) = std::env::var_os(VARIABLE) {
        assert_eq!(isa().name(), name);
        assert_eq!(requested_isa().unwrap(), isa());
    } else {
        assert_eq!(Some(&isa()), Isa::available().last());
    }
}
