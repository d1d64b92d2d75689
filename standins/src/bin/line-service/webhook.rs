//! What LINE's webhook body says, as far as this service cares.

use serde::Deserialize;

#[derive(Deserialize)]
struct Webhook {
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

/// Message ids of the images in a webhook; every other event is none of our business.
///
/// A body without events is LINE's own test of the address and is fine.
pub fn photos(body: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let webhook: Webhook = serde_json::from_slice(body)?;
    Ok(webhook
        .events
        .into_iter()
        .filter(|event| event.kind == "message")
        .filter_map(|event| event.message)
        .filter(|message| message.kind == "image" && plausible(&message.id))
        .map(|message| message.id)
        .collect())
}

/// Ids become part of file names and Redis values.
fn plausible(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_are_taken() {
        let body = br#"{"destination":"U1","events":[
            {"type":"message","message":{"type":"image","id":"100"}},
            {"type":"message","message":{"type":"text","id":"101","text":"hi"}},
            {"type":"follow"},
            {"type":"message","message":{"type":"image","id":"../../etc"}},
            {"type":"message","message":{"type":"image","id":"102"}}]}"#;
        assert_eq!(photos(body).expect("a webhook"), ["100", "102"]);
        assert!(
            photos(br#"{"destination":"U1","events":[]}"#)
                .expect("a webhook")
                .is_empty()
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [&b""[..], b"[]", b"{}", b"\xff", br#"{"events":{}}"#] {
            assert!(photos(wrong).is_err());
        }
    }
}
