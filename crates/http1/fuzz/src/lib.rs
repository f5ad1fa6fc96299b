//! What the fuzz targets run. The judge is the one of the corpus and of the properties: however a
//! message is cut, it must be read in the same way, and nothing may panic on the way.
//!
//! With cargo-fuzz and a nightly compiler, from the directory of the crate:
//!
//! ```sh
//! mkdir -p fuzz/corpus/request
//! cargo +nightly fuzz run request fuzz/corpus/request tests/corpus/valid tests/corpus/invalid
//! ```
//!
//! What was found goes into `tests/corpus` as `regress-NAME.http`: there every test run reads it, and
//! it is a seed for the next fuzzing. `cargo test --lib` feeds all messages of the corpus to both
//! functions, with any compiler.

#[path = "../../tests/transcript/mod.rs"]
mod transcript;

use transcript::transcript;

/// A connection on which a peer sends anything.
///
/// # Panics
///
/// If the way in which `input` is cut changes what is read, or if any invariant fails.
pub fn fuzz_request(input: &[u8]) {
    let whole = transcript([input]);
    assert_eq!(transcript(input.chunks(1)), whole, "byte by byte");
    // The input itself chooses one more cut, so that the fuzzer can search for it.
    let place = input.last().map_or(0, |&byte| usize::from(byte) % input.len());
    let (first, second) = input.split_at(place);
    assert_eq!(transcript([first, second]), whole, "cut at {place}");
}

/// A request whose chunked body may be anything: the fuzzer needs not find the head first.
///
/// # Panics
///
/// As [`fuzz_request`].
pub fn fuzz_chunked(body: &[u8]) {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    fuzz_request(&[head, body].concat());
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
        for kind in ["valid", "invalid"] {
            for entry in fs::read_dir(corpus.join(kind)).unwrap() {
                let message = fs::read(entry.unwrap().path()).unwrap();
                fuzz_request(&message);
                fuzz_chunked(&message);
            }
        }
    }
}
