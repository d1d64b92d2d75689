use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use crate::ports::ForgeError;

use super::GitHub;
use super::deployments::{garbled, refused};

#[derive(Serialize)]
struct New<'a> {
    title: &'a str,
    body: &'a str,
}

#[derive(Deserialize)]
struct Opened {
    number: u64,
}

impl GitHub {
    /// Sent once; the issue's number.
    pub async fn open_issue(&self, title: &str, body: &str) -> Result<u64, ForgeError> {
        let what = "open an issue";
        let (status, answer) = self.post(what, "/issues", &New { title, body }).await?;
        match status {
            StatusCode::CREATED => match serde_json::from_slice(&answer) {
                Ok(Opened { number }) => Ok(number),
                Err(_) => Err(garbled(what, &answer)),
            },
            _ => Err(refused(what, status, &answer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::{body_json, header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    #[tokio::test]
    async fn an_issue_is_opened_once_and_a_refusal_is_told() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/repos/o/r/issues"))
            .and(header("authorization", "Bearer t"))
            .and(body_json(json!({ "title": "a", "body": "b" })))
            .respond_with(ResponseTemplate::new(201).set_body_json(json!({ "number": 7 })))
            .expect(1)
            .mount(&server)
            .await;
        let github = GitHub::new(Some(&server.uri()), "o/r", "t").expect("a client");
        assert_eq!(github.open_issue("a", "b").await.expect("opened"), 7);
        let refused = github.open_issue("other", "b").await.expect_err("not mocked");
        assert!(refused.to_string().contains("404"), "{refused}");
    }
}
