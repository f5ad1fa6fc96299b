#![no_main]
libfuzzer_sys::fuzz_target!(|body: &[u8]| rgunicorn_http1_fuzz::fuzz_chunked(body));
