//! Pre-fork process supervision.

mod address;
mod options;
mod supervisor;

pub use address::{Address, AddressError};
pub use options::Options;
pub use supervisor::Plan;
