//! From a message id to a photo in the back end.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Uri};
use sha2::{Digest, Sha256};
use standins::http;
use tokio::time::sleep;

/// Attempts before a photo goes back to the queue.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(10);

/// Where photos are handed over, and with which token.
pub struct Handover {
    upload: Uri,
    bearer: HeaderValue,
}

impl Handover {
    /// `api` is the back end's root, such as `http://backend:8081`.
    pub fn new(api: &str, token: &str) -> Result<Self, String> {
        let upload: Uri = format!("{}/api/photos/upload", api.trim_end_matches('/'))
            .parse()
            .map_err(|error| format!("MEMORYARK_API_URL: {error}"))?;
        if upload.scheme_str() != Some("http") || upload.host().is_none() {
            return Err(format!(
                "MEMORYARK_API_URL: `{api}` should look like http://backend:8081"
            ));
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| "MEMORYARK_API_TOKEN holds characters no HTTP header may carry".to_owned())?;
        bearer.set_sensitive(true);
        Ok(Self { upload, bearer })
    }

    /// Uploads the photo of a message, trying again with growing pauses.
    ///
    /// The back end recognises a photo it already has, so an attempt whose answer was lost does no harm.
    pub async fn deliver(&self, message: &str) -> Result<(), String> {
        let photo = Bytes::from(photo(message));
        let mut pause = FIRST_PAUSE;
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS {
            match self.upload(message, photo.clone()).await {
                Ok(()) => return Ok(()),
                Err(why) => last = why,
            }
            if attempt < ATTEMPTS {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        Err(last)
    }

    async fn upload(&self, message: &str, photo: Bytes) -> Result<(), String> {
        let request = Request::post(self.upload.clone())
            .header(AUTHORIZATION, self.bearer.clone())
            .header(CONTENT_TYPE, "image/jpeg")
            .header("x-file-name", format!("line-{message}.jpg"))
            .body(Full::new(photo))
            .map_err(|error| error.to_string())?;
        match http::send(request, PATIENCE).await? {
            (200..300, _) => Ok(()),
            (status, body) => {
                let said = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
                Err(format!("the back end answered {status}: {said}"))
            }
        }
    }
}

/// The bytes LINE's content API would give for this message: the same for the same id, in the size of a small photo.
///
/// They begin and end like a JPEG and are noise in between.
fn photo(message: &str) -> Vec<u8> {
    let seed = Sha256::digest(message.as_bytes());
    let blocks = 512 + usize::from(u16::from_be_bytes([seed[0], seed[1]])) % 1536;
    let mut bytes = Vec::with_capacity(blocks * 32 + 32);
    bytes.extend_from_slice(&[0xff, 0xd8, 0xff, 0xe0, 0x00, 0x10]);
    bytes.extend_from_slice(b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    for block in 0..blocks {
        let mut hasher = Sha256::new();
        hasher.update(seed);
        hasher.update(block.to_be_bytes());
        bytes.extend_from_slice(&hasher.finalize());
    }
    bytes.extend_from_slice(&[0xff, 0xd9]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_depends_on_its_message_alone() {
        assert_eq!(photo("100"), photo("100"));
        assert_ne!(photo("100"), photo("101"));
        let bytes = photo("100");
        assert!((16 * 1024..70 * 1024).contains(&bytes.len()));
        assert!(bytes.starts_with(&[0xff, 0xd8]) && bytes.ends_with(&[0xff, 0xd9]));
    }

    #[test]
    fn addresses_that_cannot_work_are_refused() {
        for wrong in ["backend:8081", "https://backend", "", "http://"] {
            assert!(Handover::new(wrong, "t").is_err(), "{wrong}");
        }
        assert!(Handover::new("http://backend:8081/", "a\nb").is_err());
        let handover = Handover::new("http://backend:8081/", "t").expect("an address");
        assert_eq!(handover.upload, "http://backend:8081/api/photos/upload");
    }
}
