//! Tells the crate whether it is compiled without optimisation, for its warning at run time.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(unoptimized)");
    // Loops are vectorised from level 2 on.
    let level = std::env::var("OPT_LEVEL").unwrap_or_default();
    if matches!(level.as_str(), "0" | "1") {
        println!("cargo::rustc-cfg=unoptimized");
    }
}
