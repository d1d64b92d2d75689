use super::{Failure, Global, Terminal};

pub fn run(global: &Global) -> Result<(), Failure> {
    Terminal::of(global).print_json(&crate::config::schema())
}
