use std::fmt;
use std::str::FromStr;

/// The registry meant where a reference names none.
const HUB: &str = "docker.io";

/// A reference to an image, taken apart by Docker's rules: `redis:7` is `docker.io/library/redis:7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// `docker.io`, `registry.example:5000`
    pub registry: String,
    /// `library/redis`
    pub path: String,
    pub tag: Option<String>,
    /// `sha256:…`
    pub digest: Option<String>,
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{0}` is not an image reference; write name:tag or name@sha256:…")]
pub struct NotAReference(String);

impl Reference {
    /// Docker's rule: what stands before the first slash is a registry if it has a dot or colon or is `localhost`.
    pub fn names_registry(text: &str) -> bool {
        Self::named_registry(text).is_some()
    }

    /// The registry a text names; without one it is Docker Hub.
    pub fn named_registry(text: &str) -> Option<&str> {
        let (host, _) = text.split_once('/')?;
        is_registry(host).then_some(host)
    }

    /// What stands before the tag or digest, and that; a tag beside a digest stays with the name.
    pub fn split(text: &str) -> (&str, Option<&str>) {
        if let Some((name, digest)) = text.split_once('@') {
            return (name, Some(digest));
        }
        match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (text, None),
        }
    }

    /// Registry and path, which tags and digests of one image have in common: `docker.io/library/redis`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// What a login for its registry is filed under: Docker Hub's has a name of its own.
    pub fn login_key(&self) -> &str {
        match self.registry.as_str() {
            HUB => "https://index.docker.io/v1/",
            other => other,
        }
    }

    /// What follows `login` to log in there, for a person.
    pub fn login_place(&self) -> &str {
        &self.registry
    }

    /// Whether `name@sha256:…` is of the same repository.
    pub fn is_of(&self, repo_digest: &str) -> bool {
        repo_digest
            .parse::<Reference>()
            .is_ok_and(|other| other.digest.is_some() && other.repository() == self.repository())
    }

    /// The same image by its digest as well; the tag stays, for a person to read.
    pub fn at(&self, digest: &str) -> Reference {
        Reference {
            digest: Some(digest.to_owned()),
            ..self.clone()
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        parse(text).ok_or_else(|| NotAReference(text.chars().take(80).collect()))
    }
}

fn parse(text: &str) -> Option<Reference> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b':' | b'@');
    if text.len() > 1024 || !text.bytes().all(plain) || is_id(text) {
        return None;
    }
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|digest| digest.contains(['@', '/']) || !digest.contains(':') || digest.ends_with(':')) {
        return None;
    }
    let (name, tag) = match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (named, None),
    };
    let (registry, path) = match name.split_once('/') {
        Some((host, path)) if is_registry(host) => (host, path.to_owned()),
        Some(_) => (HUB, name.to_owned()),
        None => (HUB, format!("library/{name}")),
    };
    let registry = match registry {
        "index.docker.io" | "registry-1.docker.io" => HUB,
        other => other,
    };
    let path = match path.contains('/') || registry != HUB {
        true => path,
        false => format!("library/{path}"),
    };
    let walks = |part: &str| part.is_empty() || part == "." || part == "..";
    if !registry.starts_with(|c: char| c.is_ascii_alphanumeric())
        || path.contains(':')
        || path.split('/').any(walks)
        || tag.is_some_and(str::is_empty)
    {
        return None;
    }
    Some(Reference {
        registry: registry.to_owned(),
        path,
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
    })
}

fn is_registry(host: &str) -> bool {
    host.contains(['.', ':']) || host == "localhost"
}

/// An image's own id, which says nothing of a registry.
fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_names_are_docker_hubs() {
        for (text, full) in [
            ("redis", "docker.io/library/redis"),
            ("redis:7", "docker.io/library/redis:7"),
            ("docker.io/redis", "docker.io/library/redis"),
            ("index.docker.io/library/redis", "docker.io/library/redis"),
            ("team/app:1", "docker.io/team/app:1"),
            ("localhost/app", "localhost/app"),
            ("ghcr.io/a/b:2@sha256:00", "ghcr.io/a/b:2@sha256:00"),
            ("host:5000/a", "host:5000/a"),
        ] {
            assert_eq!(text.parse::<Reference>().map(|r| r.to_string()), Ok(full.to_owned()));
        }
    }

    #[test]
    fn a_registry_is_told_from_a_folder() {
        for (text, names) in [
            ("redis:7", false),
            ("team/app:1", false),
            ("localhost/app", true),
            ("ghcr.io/a/b", true),
            ("host:5000/a", true),
        ] {
            assert_eq!(Reference::names_registry(text), names, "{text}");
        }
    }

    #[test]
    fn docker_hubs_login_has_a_name_of_its_own() {
        let key = |text: &str| text.parse::<Reference>().map(|r| r.login_key().to_owned());
        assert_eq!(key("redis"), Ok("https://index.docker.io/v1/".to_owned()));
        assert_eq!(key("127.0.0.1:5000/x"), Ok("127.0.0.1:5000".to_owned()));
    }

    #[test]
    fn a_digest_belongs_to_a_repository_and_not_to_a_tag() {
        let redis: Reference = "redis:7".parse().expect("a reference");
        assert!(redis.is_of("redis@sha256:00"));
        assert!(redis.is_of("docker.io/library/redis@sha256:00"));
        assert!(!redis.is_of("docker.io/library/redis:7"));
        assert!(!redis.is_of("ghcr.io/library/redis@sha256:00"));
        assert_eq!(redis.at("sha256:11").to_string(), "docker.io/library/redis:7@sha256:11");
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let id = format!("sha256:{}", "a".repeat(64));
        for bad in [
            "",
            "a b",
            "../x",
            "a//b",
            "a:",
            "a@",
            "a@sha256",
            "a@sha256:",
            "a/../b",
            "é",
            "a@b@c:1",
            &id,
            ":1",
            "/a",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_the_same(text in "[a-zA-Z0-9./:@_-]{0,60}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference));
            }
        }
    }
}
