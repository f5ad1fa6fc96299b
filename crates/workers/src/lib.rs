//! Pre-fork HTTP workers.
