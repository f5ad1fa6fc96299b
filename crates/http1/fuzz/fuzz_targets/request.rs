#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| rgunicorn_http1_fuzz::fuzz_request(input));
