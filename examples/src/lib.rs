//! One program in `src/bin` for each thing that the crates can do.
