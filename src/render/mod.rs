//! Results as text and JSON: returns strings. Pure.
