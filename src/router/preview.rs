use std::fmt;
use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::model::{ServiceName, Timestamp};

/// The cookie that reaches the colour without weight.
pub const COOKIE: &str = "arkwright-preview";

/// Signs preview cookies. Made once; it lies in the router's configuration alone, which others may not read.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PreviewKey([u8; 32]);

impl PreviewKey {
    pub fn make() -> io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(PreviewKey(bytes))
    }

    /// As the router is given it.
    pub fn base64(&self) -> String {
        BASE64_STANDARD.encode(self.0)
    }

    /// `<seconds since 1970 until which it is good>.<signature in hex>`
    pub fn cookie(&self, service: &ServiceName, until: Timestamp) -> String {
        let until = until.timestamp();
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(format!("{}{until}", signed(service)).as_bytes());
        format!("{until}.{}", hex::encode(mac.finalize().into_bytes()))
    }
}

/// What is signed is this and the seconds: a cookie is good for one service.
pub fn signed(service: &ServiceName) -> String {
    format!("preview:{service}:")
}

impl fmt::Debug for PreviewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreviewKey(…)")
    }
}

impl From<PreviewKey> for String {
    fn from(key: PreviewKey) -> String {
        key.base64()
    }
}

impl TryFrom<String> for PreviewKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = BASE64_STANDARD.decode(text).ok();
        let key = bytes.and_then(|bytes| bytes.try_into().ok()).map(PreviewKey);
        key.ok_or("the key of the preview cookies is not 32 bytes in base64")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_never_told() {
        let key = PreviewKey::make().expect("random bytes");
        let text = serde_json::to_string(&key).expect("written");
        assert_eq!(serde_json::from_str::<PreviewKey>(&text).expect("read"), key);
        assert_eq!(format!("{key:?}"), "PreviewKey(…)");
        let refusal = serde_json::from_str::<PreviewKey>("\"c2hvcnQ=\"").expect_err("short");
        assert!(!refusal.to_string().contains("c2hvcnQ"), "{refusal}");
    }
}
