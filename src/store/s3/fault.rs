use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;

use super::Bucket;

/// What went wrong with a request, in words that hold no credential, and what to do.
#[derive(Debug)]
pub(super) struct Fault {
    kind: Kind,
    code: String,
    passing: bool,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Absent,
    Taken,
    Full,
    Other,
}

impl Fault {
    pub(super) fn other(text: impl Into<String>) -> Self {
        Fault {
            kind: Kind::Other,
            code: String::new(),
            passing: false,
            text: text.into(),
        }
    }

    pub(super) fn taken() -> Self {
        Fault {
            kind: Kind::Taken,
            code: String::new(),
            passing: false,
            text: "the name is taken".into(),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// A list that is not there is no empty list.
    pub(super) fn of_a_list(self) -> Self {
        Fault {
            kind: Kind::Other,
            ..self
        }
    }

    /// Whether asking again may help, and what was asked may have been done.
    pub(super) fn is_passing(&self) -> bool {
        self.passing
    }

    fn passing(self) -> Self {
        Fault { passing: true, ..self }
    }

    /// The server's own word, such as `AccessDenied`.
    pub(super) fn code(&self) -> &str {
        &self.code
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Fault {}

impl Bucket {
    pub(super) fn fault<E>(&self, error: SdkError<E, HttpResponse>) -> Fault
    where
        E: ProvideErrorMetadata + RequestId + Error + 'static,
    {
        match &error {
            SdkError::ServiceError(answered) => {
                let (answer, status) = (answered.err(), answered.raw().status().as_u16());
                self.answered(status, answer.code(), answer.message(), answer.request_id())
            }
            SdkError::ResponseError(answered) => {
                let status = answered.raw().status().as_u16();
                Fault::other(format!(
                    "its answer (HTTP {status}) broke off or cannot be read: {}",
                    inner(&error)
                ))
                .passing()
            }
            SdkError::TimeoutError(_) => Fault::other("it did not answer in time; run it again when it does").passing(),
            SdkError::DispatchFailure(_) if lacks_credentials(&error) => Fault::other(format!(
                "there are no credentials for it: {}; put them into the environment (AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY), or name a file or profile in `credentials` of the store",
                inner(&error)
            )),
            SdkError::DispatchFailure(_) => Fault::other(format!(
                "it cannot be reached: {}; look at the store's `endpoint` and `region`, and at the network",
                inner(&error)
            ))
            .passing(),
            other => Fault::other(format!("the request could not be made: {}", inner(other))),
        }
    }

    fn answered(&self, status: u16, code: Option<&str>, message: Option<&str>, request: Option<&str>) -> Fault {
        let code = printable(code.unwrap_or_default(), 80);
        let kind = match (status, code.as_str()) {
            (_, "NoSuchBucket") => Kind::Other,
            (404, "" | "NoSuchKey" | "NotFound") | (_, "NoSuchKey") => Kind::Absent,
            (412, _) | (_, "PreconditionFailed") => Kind::Taken,
            (507, _) | (_, "QuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull") => Kind::Full,
            _ => Kind::Other,
        };
        let mut text = match code.as_str() {
            "" => format!("it answered HTTP {status}"),
            code => format!("it answered {code} (HTTP {status})"),
        };
        // What a message about keys and signatures repeats is nobody's business.
        let quiet = matches!(code.as_str(), "InvalidAccessKeyId" | "SignatureDoesNotMatch");
        if let Some(message) = message.filter(|_| !quiet) {
            text.push_str(&format!(": {}", printable(message, 300)));
        }
        if let Some(request) = request {
            text.push_str(&format!(", request {}", printable(request, 100)));
        }
        if let Some(hint) = self.hint(status, &code) {
            text.push_str(&format!("; {hint}"));
        }
        Fault {
            kind,
            passing: status >= 500 || matches!(code.as_str(), "SlowDown" | "RequestTimeout" | "Throttling"),
            code,
            text,
        }
    }

    fn hint(&self, status: u16, code: &str) -> Option<String> {
        let config = &self.config;
        let hint = match (status, code) {
            (_, "RequestTimeTooSkewed" | "RequestExpired") => {
                let seconds = self.skew.seconds();
                let how = if seconds >= 0 { "behind" } else { "ahead of" };
                return Some(format!(
                    "this host's clock is {} s {how} the server's: set it right (chrony or systemd-timesyncd)",
                    seconds.unsigned_abs()
                ));
            }
            (_, "NoSuchBucket") => format!("make the bucket {}, or correct `bucket`", config.bucket),
            (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken") => {
                "the server does not accept the credentials: look at the access key, its secret and its age".to_owned()
            }
            (_, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")
            | (301 | 307, _) => "the bucket is in another region: correct `region`".to_owned(),
            (_, "InvalidObjectState") => {
                "the object was moved to an archive class: restore it there, and take `seg/` out of the bucket's \
                 lifecycle rules"
                    .to_owned()
            }
            (501, _) | (_, "NotImplemented") => {
                "the server does not know what the store's configuration asks of it".to_owned()
            }
            (403, _) => "the credentials' policy does not allow it".to_owned(),
            (500..=599, _) | (_, "SlowDown") => "it was asked several times; run it again later".to_owned(),
            _ => return None,
        };
        Some(hint)
    }
}

fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<CredentialsError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The chain below the SDK's own words.
fn inner(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => printable(&crate::model::chain(source), 400),
        None => printable(&error.to_string(), 400),
    }
}

/// What a stranger says, on one line.
fn printable(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}
