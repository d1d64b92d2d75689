//! SCRAM-SHA-256, the client's side: how PostgreSQL learns that we know the password without being told it (RFC 7677).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// More rounds than this a server may ask for only to keep us busy.
const MAX_ROUNDS: u32 = 1_000_000;

/// A conversation whose first message is on its way.
pub struct Scram {
    bare: String,
    nonce: String,
}

/// What to send next, and what the server must then prove.
pub struct Proof {
    pub message: String,
    signature: [u8; 32],
}

impl Scram {
    /// `nonce` is printable, without a comma, and never used twice.
    pub fn new(user: &str, nonce: String) -> Self {
        Self {
            bare: format!("n={user},r={nonce}"),
            nonce,
        }
    }

    pub fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// Answers the server's first message.
    pub fn prove(&self, server_first: &str, password: &[u8]) -> Result<Proof, String> {
        let wrong = || "the server's SCRAM message makes no sense".to_owned();
        let field = |key: &str| server_first.split(',').find_map(|part| part.strip_prefix(key));
        let nonce = field("r=").ok_or_else(wrong)?;
        let salt = field("s=").and_then(|text| STANDARD.decode(text).ok());
        let salt = salt.ok_or_else(wrong)?;
        let rounds = field("i=").and_then(|text| text.parse::<u32>().ok());
        let rounds = rounds
            .filter(|rounds| (1..=MAX_ROUNDS).contains(rounds))
            .ok_or_else(wrong)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the server's SCRAM message answers another question".to_owned());
        }
        let salted = salted(password, &salt, rounds);
        let unproven = format!("c=biws,r={nonce}");
        let said = format!("{},{server_first},{unproven}", self.bare);
        let mut proof = mac(&salted, &[b"Client Key"]);
        let stored: [u8; 32] = Sha256::digest(proof).into();
        xor(&mut proof, &mac(&stored, &[said.as_bytes()]));
        let server_key = mac(&salted, &[b"Server Key"]);
        Ok(Proof {
            message: format!("{unproven},p={}", STANDARD.encode(proof)),
            signature: mac(&server_key, &[said.as_bytes()]),
        })
    }
}

impl Proof {
    /// Whether the server's last message shows that it knows the password too.
    pub fn answered_by(&self, server_final: &str) -> bool {
        let signature = server_final.strip_prefix("v=").map(|text| STANDARD.decode(text));
        signature.is_some_and(|bytes| bytes.is_ok_and(|bytes| standins::secret::same(&bytes, &self.signature)))
    }
}

fn salted(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    let mut last = mac(password, &[salt, &1u32.to_be_bytes()]);
    let mut all = last;
    for _ in 1..rounds {
        last = mac(password, &[&last]);
        xor(&mut all, &last);
    }
    all
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn xor(into: &mut [u8; 32], other: &[u8; 32]) {
    for (a, b) in into.iter_mut().zip(other) {
        *a ^= b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7677, section 3.
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    #[test]
    fn the_conversation_of_the_standard() {
        let scram = Scram::new("user", "rOprNGfwEbeRWgbNEkqO".to_owned());
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = scram.prove(SERVER_FIRST, b"pencil").expect("a proof");
        assert_eq!(
            proof.message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(proof.answered_by("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proof.answered_by("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proof.answered_by("e=other-error"));
    }

    #[test]
    fn a_server_that_makes_no_sense_is_refused() {
        let scram = Scram::new("user", "rOprNGfwEbeRWgbNEkqO".to_owned());
        for wrong in [
            "",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=another-nonce,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=?,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4294967295",
        ] {
            assert!(scram.prove(wrong, b"pencil").is_err(), "{wrong}");
        }
    }
}
