//! Results as text and JSON: returns strings. Pure.

mod mistakes;

pub use mistakes::mistakes;
