//! IDX files, gzipped.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = readers::idx(bytes);
});
