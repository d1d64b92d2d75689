use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

/// What manifests are signed for; `ssh-keygen -Y verify -n` takes it.
pub const MANIFEST_NAMESPACE: &str = "arkwright-manifest";

/// The key that signs manifests: Ed25519, in OpenSSH's format.
#[derive(Clone)]
pub struct Signer(PrivateKey);

/// The public keys a signature is accepted from, pinned from outside the store.
#[derive(Clone, Debug)]
pub struct TrustedKeys(Vec<PublicKey>);

#[derive(Debug, thiserror::Error)]
pub enum BadKey {
    #[error("it is not a key in OpenSSH's format")]
    Format(#[source] ssh_key::Error),
    #[error("it is not an Ed25519 key; `arkwright key new` makes one")]
    Algorithm,
    #[error("it is protected by a passphrase, which nobody is there to type at night; use a key without one")]
    Passphrase,
    #[error("it holds no key")]
    Empty,
}

#[derive(Debug, thiserror::Error)]
pub enum BadSignature {
    #[error("it is not a signature in OpenSSH's format")]
    Format,
    #[error("it is by another key than the ones trusted here: {0}")]
    Stranger(String),
    #[error("it does not fit what it signs: one of the two was changed")]
    Mismatch,
}

impl Signer {
    /// From the 32 bytes of an Ed25519 seed.
    pub fn from_seed(seed: &[u8; 32], comment: &str) -> Result<Self, BadKey> {
        let pair = ssh_key::private::Ed25519Keypair::from_seed(seed);
        PrivateKey::new(pair.into(), comment)
            .map(Signer)
            .map_err(BadKey::Format)
    }

    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let key = PrivateKey::from_openssh(text).map_err(BadKey::Format)?;
        if key.is_encrypted() {
            return Err(BadKey::Passphrase);
        }
        match key.algorithm() {
            Algorithm::Ed25519 => Ok(Signer(key)),
            _ => Err(BadKey::Algorithm),
        }
    }

    /// The private key's file; secret.
    pub fn private_text(&self) -> Result<String, BadKey> {
        let text = self.0.to_openssh(LineEnding::LF).map_err(BadKey::Format)?;
        Ok(text.to_string())
    }

    /// One line, as in a `.pub` file.
    pub fn public_text(&self) -> Result<String, BadKey> {
        self.0.public_key().to_openssh().map_err(BadKey::Format)
    }

    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    pub fn trusted(&self) -> TrustedKeys {
        TrustedKeys(vec![self.0.public_key().clone()])
    }

    /// An armoured OpenSSH signature (SSHSIG) over the bytes.
    pub fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, BadKey> {
        let signature = self.0.sign(namespace, HashAlg::Sha512, bytes).map_err(BadKey::Format)?;
        signature.to_pem(LineEnding::LF).map_err(BadKey::Format)
    }
}

impl TrustedKeys {
    /// Reads a `.pub` file; after a rotation it has a line for each key that signed something still kept.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let mut keys = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = PublicKey::from_openssh(line).map_err(BadKey::Format)?;
            if key.algorithm() != Algorithm::Ed25519 {
                return Err(BadKey::Algorithm);
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(BadKey::Empty);
        }
        Ok(TrustedKeys(keys))
    }

    /// Whether one of the keys signed exactly these bytes; the armour has to be spelled as it was written.
    pub fn verify(&self, namespace: &str, bytes: &[u8], armour: &[u8]) -> Result<(), BadSignature> {
        let signature = SshSig::from_pem(armour).map_err(|_| BadSignature::Format)?;
        let spelled = signature.to_pem(LineEnding::LF).map_err(|_| BadSignature::Format)?;
        // What is signed covers neither the version nor the reserved field.
        let first_version = signature.version() == SshSig::VERSION && signature.reserved().is_empty();
        if spelled.as_bytes() != armour || !first_version {
            return Err(BadSignature::Format);
        }
        let signer = self.0.iter().find(|key| key.key_data() == signature.public_key());
        match signer {
            None => Err(BadSignature::Stranger(
                signature.public_key().fingerprint(HashAlg::Sha256).to_string(),
            )),
            Some(key) => key
                .verify(namespace, bytes, &signature)
                .map_err(|_| BadSignature::Mismatch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_key_and_the_exact_bytes_are_accepted() {
        let signer = Signer::from_seed(&[1; 32], "host").expect("a key");
        let other = Signer::from_seed(&[2; 32], "other").expect("a key");
        let armour = signer.sign(MANIFEST_NAMESPACE, b"header").expect("signed");
        let check = |keys: &TrustedKeys, namespace, bytes: &[u8], armour: &str| {
            keys.verify(namespace, bytes, armour.as_bytes()).is_ok()
        };
        let trusted = TrustedKeys::parse(&signer.public_text().expect("text")).expect("a key");
        assert!(check(&trusted, MANIFEST_NAMESPACE, b"header", &armour));
        assert!(!check(&trusted, MANIFEST_NAMESPACE, b"headex", &armour));
        assert!(!check(&trusted, "file", b"header", &armour));
        assert!(!check(&other.trusted(), MANIFEST_NAMESPACE, b"header", &armour));
    }

    #[test]
    fn any_flipped_bit_of_a_signature_is_noticed() {
        let signer = Signer::from_seed(&[1; 32], "host").expect("a key");
        let armour = signer.sign(MANIFEST_NAMESPACE, b"header").expect("signed");
        for at in 0..armour.len() {
            for bit in 0..8 {
                let mut changed = armour.clone().into_bytes();
                changed[at] ^= 1 << bit;
                let accepted = signer.trusted().verify(MANIFEST_NAMESPACE, b"header", &changed);
                assert!(accepted.is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn keys_of_other_kinds_are_refused() {
        assert!(TrustedKeys::parse("").is_err());
        assert!(TrustedKeys::parse("ssh-rsa AAAA x").is_err());
        assert!(Signer::parse("-----BEGIN OPENSSH PRIVATE KEY-----\n").is_err());
    }
}
