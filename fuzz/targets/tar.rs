//! A tar file of a sharded set.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = readers::tar(bytes);
});
