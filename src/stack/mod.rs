//! Compose text to a typed [`Stack`]: interpolate, merge, normalise, validate.

mod model;

pub use model::*;
