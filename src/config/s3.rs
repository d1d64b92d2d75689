use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Size;

/// A bucket of Amazon S3 or of a server that speaks like it.
///
/// Credentials are never written here: they come from the environment (`AWS_ACCESS_KEY_ID` and
/// `AWS_SECRET_ACCESS_KEY`), from a file in AWS's format, or from the role of the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    pub bucket: String,
    /// Everything lies below it; without one the bucket is this project's alone.
    #[serde(default)]
    pub prefix: String,
    /// Such as `ap-northeast-1`; may be left out where there is an `endpoint`.
    #[serde(default)]
    pub region: Option<String>,
    /// The URL of a server that is not Amazon's.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Ask for `endpoint/bucket/key` where it would be `bucket.endpoint/key`; most servers that are not Amazon's need it.
    #[serde(default)]
    pub path_style: bool,
    #[serde(default)]
    pub credentials: S3Credentials,
    #[serde(default)]
    pub storage_class: StorageClass,
    #[serde(default)]
    pub sse: Option<S3Sse>,
    #[serde(default)]
    pub object_lock: Option<S3Lock>,
    #[serde(default)]
    pub checksums: S3Checksums,
    #[serde(default)]
    pub create: S3Create,
    /// Bytes a second that are sent at most, on the average of some seconds. Reading is never held back.
    #[serde(default)]
    pub bandwidth: Option<Size>,
}

/// Where the keys are found; where nothing is said, as Amazon's own tools do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct S3Credentials {
    /// A profile of the file, or of `~/.aws`.
    pub profile: Option<String>,
    /// A file in the format of `~/.aws/credentials`; relative to arkwright.yaml.
    pub file: Option<PathBuf>,
}

/// Classes that are read at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StorageClass {
    #[default]
    Standard,
    StandardIa,
    OnezoneIa,
    IntelligentTiering,
    GlacierIr,
    ReducedRedundancy,
    #[schemars(skip)]
    Glacier,
    #[schemars(skip)]
    DeepArchive,
}

/// Encryption by the server, beside our own; every answer is checked for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Sse {
    /// A key's ARN, id or `alias/…`.
    pub kms: String,
}

/// Nobody removes or replaces what a snapshot refers to before so many days after its publication. The bucket needs
/// versions and object lock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Lock {
    pub mode: LockMode,
    pub days: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// Whoever has a permission of its own can lift it.
    Governance,
    /// Nobody can lift it.
    Compliance,
}

/// What is sent with every upload for the server to check, beside its signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum S3Checksums {
    #[default]
    Crc32,
    Crc32c,
    Sha256,
    /// For servers that refuse the headers.
    None,
}

/// How a name is taken only once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum S3Create {
    /// By the server (`If-None-Match: *`); one that ignores it is refused.
    #[default]
    Conditional,
    /// By looking first, for a server that ignores conditions: right while one host alone writes there.
    LookFirst,
}

/// The longest a lock may last: compliance cannot be taken back.
const LONGEST_LOCK: u32 = 3660;
/// Less would not let a part go out within its time.
const LEAST_BANDWIDTH: u64 = 64 << 10;

impl S3Config {
    /// The key that does not make sense, and why.
    pub fn checked(&self) -> Result<(), (&'static str, String)> {
        let wrong = |key, message: &str| Err((key, message.to_owned()));
        if !is_bucket(&self.bucket) {
            return wrong(
                "bucket",
                "a bucket's name has 3 to 63 lower-case letters, digits, `-` and `.`, and begins and ends with a letter or digit",
            );
        }
        if !self.prefix.is_empty() && !self.prefix.split('/').all(is_part) || self.prefix.len() > 200 {
            return wrong(
                "prefix",
                "`prefix` is made of letters, digits, `-`, `_` and `.`, with `/` between parts and none at its ends",
            );
        }
        match (&self.region, &self.endpoint) {
            (None, None) => return wrong("", "say the bucket's `region`, or the `endpoint` of another server"),
            (Some(region), _) if !is_part(region) => return wrong("region", "`region` is such as `ap-northeast-1`"),
            (_, Some(endpoint)) => endpoint_of(endpoint).map_err(|message| ("endpoint", message))?,
            _ => {}
        }
        if matches!(self.storage_class, StorageClass::Glacier | StorageClass::DeepArchive) {
            return wrong(
                "storage_class",
                "what lies in this class has to be thawed for hours before it can be read: no backup could build upon it, \
                 and no restore, drill or verification could be made from it; GLACIER_IR is cold and read at once",
            );
        }
        if self.sse.as_ref().is_some_and(|sse| sse.kms.trim().is_empty()) {
            return wrong("sse", "`kms` names a key: its ARN, id, or alias/…");
        }
        if let Some(lock) = &self.object_lock {
            if lock.days == 0 || lock.days > LONGEST_LOCK {
                return wrong("object_lock", "`days` lies between 1 and 3660");
            }
            if self.checksums == S3Checksums::None {
                return wrong(
                    "checksums",
                    "a server locks only what is sent with a checksum: not `none` with `object_lock`",
                );
            }
        }
        if self.bandwidth.is_some_and(|Size(bytes)| bytes < LEAST_BANDWIDTH) {
            return wrong("bandwidth", "`bandwidth` is at least 64KiB (a second)");
        }
        Ok(())
    }

    /// Reads `s3://bucket/prefix?region=…&endpoint=…&path_style=true&profile=…&credentials=FILE`.
    pub fn from_url(text: &str) -> Result<Self, String> {
        let url = url::Url::parse(text)
            .map_err(|error| format!("the address of a bucket (s3://BUCKET/…) cannot be read: {error}"))?;
        if url.scheme() != "s3" || !url.username().is_empty() || url.password().is_some() || url.port().is_some() {
            return Err("a bucket is written s3://BUCKET/PREFIX?region=REGION, and never with credentials".into());
        }
        let mut config = S3Config {
            bucket: url.host_str().unwrap_or_default().to_owned(),
            prefix: url.path().trim_matches('/').to_owned(),
            region: None,
            endpoint: None,
            path_style: false,
            credentials: S3Credentials::default(),
            storage_class: StorageClass::default(),
            sse: None,
            object_lock: None,
            checksums: S3Checksums::default(),
            create: S3Create::default(),
            bandwidth: None,
        };
        for (key, value) in url.query_pairs() {
            match &*key {
                "region" => config.region = Some(value.into_owned()),
                "endpoint" => config.endpoint = Some(value.into_owned()),
                "path_style" if value == "true" => config.path_style = true,
                "path_style" if value == "false" => config.path_style = false,
                "path_style" => return Err("path_style is true or false".into()),
                "profile" => config.credentials.profile = Some(value.into_owned()),
                "credentials" => config.credentials.file = Some(value.into_owned().into()),
                // Not its value, which may be a key.
                other => {
                    let known = "region, endpoint, path_style, profile or credentials";
                    return Err(format!("`{other}` is none of {known}"));
                }
            }
        }
        config.checked().map_err(|(_, message)| message)?;
        Ok(config)
    }
}

fn is_bucket(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    (3..=63).contains(&name.len())
        && edge(name.chars().next())
        && edge(name.chars().next_back())
        && !name.contains("..")
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
}

fn is_part(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('.')
        && part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn endpoint_of(text: &str) -> Result<(), String> {
    let url = url::Url::parse(text).map_err(|error| format!("`endpoint` is a URL: {error}"))?;
    let plain = url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() || !plain {
        return Err("`endpoint` is the http(s) URL of a server, such as https://s3.example.com".into());
    }
    match url.username().is_empty() && url.password().is_none() {
        true => Ok(()),
        false => Err("`endpoint` never holds credentials".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> S3Config {
        let text = format!("{{ bucket: ark-backups, region: ap-northeast-1, {more} }}");
        serde_yaml::from_str(&text).expect("a configuration")
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        assert_eq!(read("").checked(), Ok(()));
        assert_eq!(
            read("prefix: a/b-1, bandwidth: 1MiB, sse: { kms: alias/x }").checked(),
            Ok(())
        );
        for (more, key) in [
            ("prefix: /a", "prefix"),
            ("prefix: a/../b", "prefix"),
            ("endpoint: ftp://x", "endpoint"),
            ("endpoint: 'https://user:secret@x'", "endpoint"),
            ("storage_class: DEEP_ARCHIVE", "storage_class"),
            ("storage_class: GLACIER", "storage_class"),
            ("sse: { kms: '' }", "sse"),
            ("object_lock: { mode: compliance, days: 0 }", "object_lock"),
            (
                "object_lock: { mode: governance, days: 9 }, checksums: none",
                "checksums",
            ),
            ("bandwidth: 1k", "bandwidth"),
        ] {
            assert_eq!(read(more).checked().map_err(|(key, _)| key), Err(key), "{more}");
        }
        let mut config = read("");
        config.region = None;
        assert!(config.checked().is_err(), "neither region nor endpoint");
        for bad in ["ab", "UPPER", "-abc", "a..b", "a b c"] {
            config.bucket = bad.into();
            assert_eq!(config.checked().map_err(|(key, _)| key), Err("bucket"), "{bad}");
        }
    }

    #[test]
    fn a_bucket_is_named_in_one_line_without_its_keys() {
        let config = S3Config::from_url("s3://ark/in/here?endpoint=http://127.0.0.1:9000&path_style=true&profile=p");
        let config = config.expect("a bucket");
        assert_eq!((config.bucket.as_str(), config.prefix.as_str()), ("ark", "in/here"));
        assert!(config.path_style && config.credentials.profile.as_deref() == Some("p"));
        let refused = S3Config::from_url("s3://ark?region=eu-west-1&secret=hunter2").expect_err("refused");
        assert!(!refused.contains("hunter2"), "{refused}");
        for bad in [
            "s3://key:secret@ark?region=x",
            "s3://ark",
            "s3:ark?region=x",
            "https://ark?region=x",
        ] {
            assert!(S3Config::from_url(bad).is_err(), "{bad}");
        }
        let told = S3Config::from_url("s3://AKIA:se/cret@bucket?region=x").expect_err("refused");
        assert!(!told.contains("AKIA") && !told.contains("cret"), "{told}");
    }
}
