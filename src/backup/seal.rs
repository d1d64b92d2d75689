use std::io::{self, Read, Write};
use std::str::FromStr;

use age::secrecy::ExposeSecret;
use age::stream::{StreamReader, StreamWriter};
use age::x25519;

/// age public keys: whoever holds one of their identities can read what is sealed.
#[derive(Clone)]
pub struct Recipients(Vec<x25519::Recipient>);

/// age private keys; secret.
#[derive(Clone, Default)]
pub struct Identities(Vec<x25519::Identity>);

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum BadAgeKey {
    #[error("recipient {0} is not an age public key (age1…)")]
    Recipient(usize),
    #[error("there is no recipient: nobody could read the backup")]
    NoRecipient,
    #[error("line {0} is not an age identity (AGE-SECRET-KEY-1…)")]
    Identity(usize),
    #[error("it holds no age identity")]
    NoIdentity,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not damage: somebody else can open it.
    #[error("none of the identities given opens it")]
    NoIdentity,
    #[error("it is not what age wrote")]
    Damaged(#[source] age::DecryptError),
    #[error("it could not be read")]
    Read(#[source] io::Error),
}

impl Recipients {
    pub fn parse(keys: &[String]) -> Result<Self, BadAgeKey> {
        let parse = |(at, key): (usize, &String)| {
            x25519::Recipient::from_str(key.trim()).map_err(|_| BadAgeKey::Recipient(at + 1))
        };
        let keys: Vec<_> = keys.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(BadAgeKey::NoRecipient);
        }
        Ok(Recipients(keys))
    }

    /// Encrypts what is written to the result; it has to be finished, or it cannot be opened.
    pub fn seal<W: Write>(&self, out: W) -> io::Result<StreamWriter<W>> {
        let keys = self.0.iter().map(|key| key as &dyn age::Recipient);
        age::Encryptor::with_recipients(keys)
            .map_err(io::Error::other)?
            .wrap_output(out)
    }
}

impl Identities {
    /// Reads an identity file as `age-keygen` writes it.
    pub fn parse(text: &str) -> Result<Self, BadAgeKey> {
        let mut keys = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            keys.push(x25519::Identity::from_str(line).map_err(|_| BadAgeKey::Identity(at + 1))?);
        }
        if keys.is_empty() {
            return Err(BadAgeKey::NoIdentity);
        }
        Ok(Identities(keys))
    }

    /// A new identity.
    pub fn generate() -> Self {
        Identities(vec![x25519::Identity::generate()])
    }

    pub fn none() -> Self {
        Identities::default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn extend(&mut self, other: Identities) {
        self.0.extend(other.0);
    }

    /// The public keys, `age1…`.
    pub fn recipients(&self) -> Vec<String> {
        self.0.iter().map(|key| key.to_public().to_string()).collect()
    }

    /// An identity file; secret.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for key in &self.0 {
            text.push_str(&format!("# public key: {}\n", key.to_public()));
            text.push_str(key.to_string().expose_secret());
            text.push('\n');
        }
        text
    }

    pub fn open<R: Read>(&self, from: R) -> Result<StreamReader<R>, OpenError> {
        let failed = |error| match error {
            age::DecryptError::NoMatchingKeys => OpenError::NoIdentity,
            age::DecryptError::Io(e) if e.kind() == io::ErrorKind::Other => OpenError::Read(e),
            other => OpenError::Damaged(other),
        };
        age::Decryptor::new(from)
            .and_then(|sealed| sealed.decrypt(self.0.iter().map(|key| key as &dyn age::Identity)))
            .map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_among_the_recipients_is_named_by_its_place_alone() {
        let identities = Identities::generate();
        let secret = identities.text().lines().last().unwrap_or_default().to_owned();
        let mut keys = identities.recipients();
        keys.push(secret);
        let error = Recipients::parse(&keys).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("recipient 2 is not an age public key (age1…)"));
    }
}
