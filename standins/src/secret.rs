//! Comparing what a caller presents with what only we know, and LINE's signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Whether both are the same bytes, in time that depends on their lengths only.
pub fn same(presented: &[u8], known: &[u8]) -> bool {
    if presented.len() != known.len() {
        return false;
    }
    presented
        .iter()
        .zip(known)
        .fold(0u8, |differences, (a, b)| differences | (a ^ b))
        == 0
}

/// The `X-Line-Signature` of `body`: base64 of HMAC-SHA256 under the channel secret.
pub fn line_signature(channel_secret: &[u8], body: &[u8]) -> String {
    STANDARD.encode(mac(channel_secret, body).finalize().into_bytes())
}

/// Checks a presented `X-Line-Signature` in constant time; anything that is not base64 of a MAC is just wrong.
pub fn line_signature_holds(channel_secret: &[u8], body: &[u8], presented: &[u8]) -> bool {
    STANDARD
        .decode(presented)
        .is_ok_and(|tag| mac(channel_secret, body).verify_slice(&tag).is_ok())
}

fn mac(key: &[u8], body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_of_a_known_vector() {
        // RFC 4231, test case 2.
        let expected = hex::decode("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843").expect("hex");
        let signature = line_signature(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(STANDARD.decode(&signature).expect("base64"), expected);
        assert!(line_signature_holds(
            b"Jefe",
            b"what do ya want for nothing?",
            signature.as_bytes()
        ));
    }

    #[test]
    fn every_other_signature_fails() {
        let good = line_signature(b"secret", b"{}");
        assert!(!line_signature_holds(b"secret", b"{ }", good.as_bytes()));
        assert!(!line_signature_holds(b"other", b"{}", good.as_bytes()));
        for wrong in [&b""[..], b"====", b"\xff\xfe", &good.as_bytes()[..good.len() - 4]] {
            assert!(!line_signature_holds(b"secret", b"{}", wrong));
        }
    }

    #[test]
    fn same_compares_all_bytes() {
        assert!(same(b"token", b"token"));
        assert!(!same(b"token", b"toker"));
        assert!(!same(b"token", b"token "));
        assert!(!same(b"", b"x"));
    }
}
