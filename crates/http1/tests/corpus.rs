//! Messages written from RFC 9112, and requests as clients, proxies and probes send them, each with
//! what must come out of it. Every one is fed whole, byte by byte, at random cuts, and to a
//! connection that is moved at every byte. `BLESS=1` rewrites the expectations.
//!
//! Those of curl, wget, nginx, Node and the Python libraries were recorded; those of browsers, Go,
//! AWS and Kubernetes are written as these are known to send them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod transcript;

use std::path::{Path, PathBuf};
use std::{env, fs};

use transcript::{transcript, transcript_moving};

#[test]
fn valid_messages_are_read() {
    let names = run("valid", |transcript| !transcript.contains("error"));
    assert!(names >= 25, "{names}");
}

#[test]
fn invalid_messages_are_refused() {
    let names = run("invalid", |transcript| transcript.contains("error"));
    assert!(names >= 45, "{names}");
}

/// Runs the files of one directory and tells how many there were.
fn run(directory: &str, is_right: impl Fn(&str) -> bool) -> usize {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(directory);
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "http"));
    files.sort();
    for file in &files {
        let name = file.display();
        let input = fs::read(file).unwrap();
        let whole = transcript([&input[..]]);
        assert!(is_right(&whole), "{name}:\n{whole}");
        assert_eq!(transcript(input.chunks(1)), whole, "{name}, byte by byte");
        assert_eq!(transcript_moving(input.chunks(1)), whole, "{name}, moved at every byte");
        for seed in 1..=32 {
            assert_eq!(transcript(random_cuts(&input, seed)), whole, "{name}, cut by seed {seed}");
        }
        let expectation = file.with_extension("expect");
        if env::var_os("BLESS").is_some() {
            fs::write(&expectation, &whole).unwrap();
        }
        let expected = fs::read_to_string(&expectation).unwrap_or_default();
        assert_eq!(whole, expected, "{name}; BLESS=1 accepts what is on the left");
    }
    files.len()
}

/// Pieces of 1 to 16 bytes; the same for the same seed, on every machine.
fn random_cuts(mut input: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut pieces = Vec::new();
    while !input.is_empty() {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let length = usize::try_from(state % 16).unwrap() + 1;
        let (piece, rest) = input.split_at(length.min(input.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces
}
