//! Pre-fork process supervision.
