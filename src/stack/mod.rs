//! Compose text to a typed [`Stack`]: interpolate, merge, normalise, validate.
//!
//! ```text
//! load        the whole way; every file read is numbered, so that a place can be told
//! yaml        text → tree with places: anchors, merges, duplicates, bounds
//! interpolate, dotenv                       variables
//! shape/      which keys and kinds of value the specification allows
//! canonical/  short forms → long forms, relative paths → absolute ones, per file
//! extends, include, merge                   files and services on top of each other
//! normalise/  defaults, environments, names, units
//! validate    what keys say about each other
//! typed/      tree → the types of model
//! render, redact                            `arkwright config`
//! ```

mod canonical;
mod discover;
mod dotenv;
mod error;
mod extends;
mod include;
mod interpolate;
mod load;
mod merge;
mod model;
mod normalise;
mod redact;
mod render;
mod request;
mod scalar;
mod shape;
mod sources;
#[cfg(test)]
mod tests;
mod tree;
mod typed;
mod units;
mod validate;
mod yaml;

pub use error::{LoadError, Place};
pub use load::load;
pub use model::*;
pub use redact::{REDACTED, Secrets, password_of, telling};
pub use render::{redact_tree, render_json, render_yaml};
pub use request::{Files, LoadRequest, Loaded, Unread, Variables, Warning};
pub use validate::MOST_REPLICAS;
pub use yaml::place_of;
