use std::io::{IsTerminal, Read};

use super::{Failure, Kind, OrFail};
use crate::model::Logins;
use crate::registry::{LARGEST_GIVEN, parse_given};

/// For verbs that may pull images.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct RegistryAuth {
    /// Take logins for registries from standard input, for this once: JSON as in config.json, `{"auths": {…}}`, or one
    /// with `username`, `password` and `serveraddress`
    #[arg(long)]
    registry_auth: bool,
}

impl RegistryAuth {
    /// None without the flag.
    pub fn read(self) -> Result<Logins, Failure> {
        if !self.registry_auth {
            return Ok(Logins::default());
        }
        let input = std::io::stdin();
        if input.is_terminal() {
            return Err(
                Failure::new(Kind::Usage, "--registry-auth reads a JSON document from standard input")
                    .hinted("pipe it in: arkwright … --registry-auth < logins.json"),
            );
        }
        let mut bytes = Vec::new();
        let most = LARGEST_GIVEN as u64 + 1;
        input.take(most).read_to_end(&mut bytes).or_fail(Kind::Host)?;
        parse_given(&bytes).or_fail(Kind::Input)
    }
}
