//! A generator's configuration and weights.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = readers::generator(bytes);
});
