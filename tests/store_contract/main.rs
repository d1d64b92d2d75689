//! What every store has to keep to, run on each of them; and what a bucket's server may do to us.

mod bucket;
mod contract;
mod disk;
mod faults;
mod locks;
mod parts;
mod server;
mod whole;
