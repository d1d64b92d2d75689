//! A GitHub that answers like the real one and notes every request that is not as its API wants it.

use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

pub const TOKEN: &str = "ghs_0123456789";
const ID: u64 = 1_234_567_890_123;

#[derive(Clone, Copy, PartialEq)]
pub enum Mood {
    Good,
    /// 202: GitHub merged the default branch instead.
    Merged,
    /// 403: the token may not.
    Forbidden,
    /// 409: something stands against it.
    Conflict,
    /// 502, a page for people.
    Down,
    /// 201 with a body that is none.
    Garbled,
    /// The deployment is made, its statuses are refused.
    NoStatuses,
}

/// Every field the API knows and no other; the required ones are not optional.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDeployment {
    r#ref: String,
    task: String,
    auto_merge: bool,
    required_contexts: Vec<String>,
    environment: String,
    description: String,
    transient_environment: bool,
    production_environment: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewStatus {
    state: State,
    log_url: Option<String>,
    description: String,
    environment_url: Option<String>,
    auto_inactive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Error,
    Failure,
    Inactive,
    InProgress,
    Queued,
    Pending,
    Success,
}

#[derive(Default)]
pub struct Seen {
    pub deployments: Vec<(String, String, String, bool)>,
    pub statuses: Vec<(State, String)>,
    pub wrong: Vec<String>,
}

pub struct FakeGitHub {
    server: MockServer,
    seen: Arc<Mutex<Seen>>,
}

struct Answering {
    mood: Mood,
    seen: Arc<Mutex<Seen>>,
}

impl FakeGitHub {
    pub async fn start(mood: Mood) -> Self {
        let server = MockServer::start().await;
        let seen = Arc::<Mutex<Seen>>::default();
        let answering = Answering {
            mood,
            seen: seen.clone(),
        };
        Mock::given(any()).respond_with(answering).mount(&server).await;
        FakeGitHub { server, seen }
    }

    /// As GITHUB_API_URL has it on an Enterprise Server.
    pub fn url(&self) -> String {
        format!("{}/api/v3", self.server.uri())
    }

    /// What was asked for, once it is sure that every request was right.
    pub fn seen(&self) -> Seen {
        let seen = std::mem::take(&mut *self.seen.lock().expect("whole"));
        assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
        seen
    }
}

impl Respond for Answering {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut seen = self.seen.lock().expect("whole");
        match self.check(request, &mut seen) {
            Ok(response) => response,
            Err(why) => {
                seen.wrong.push(format!("{} {}: {why}", request.method, request.url));
                ResponseTemplate::new(422).set_body_json(json!({ "message": "Validation Failed" }))
            }
        }
    }
}

impl Answering {
    fn check(&self, request: &Request, seen: &mut Seen) -> Result<ResponseTemplate, String> {
        let header = |name: &str| {
            let value = request.headers.get(name).and_then(|value| value.to_str().ok());
            value.ok_or(format!("no {name}"))
        };
        let expect = |name: &str, wanted: &str| match header(name)? {
            value if value == wanted => Ok(()),
            other => Err(format!("{name} is {other}")),
        };
        expect("authorization", &format!("Bearer {TOKEN}"))?;
        expect("x-github-api-version", "2022-11-28")?;
        expect("accept", "application/vnd.github+json")?;
        expect("content-type", "application/json")?;
        header("user-agent")?;
        if request.method.as_str() != "POST" || request.url.query().is_some() {
            return Err("not a plain POST".into());
        }
        let path = request.url.path();
        let deployments = "/api/v3/repos/church/ark/deployments";
        if path == deployments {
            self.create(&request.body, seen)
        } else if path == format!("{deployments}/{ID}/statuses") {
            self.status(&request.body, seen)
        } else {
            Err("no such path".into())
        }
    }

    fn create(&self, body: &[u8], seen: &mut Seen) -> Result<ResponseTemplate, String> {
        let new: NewDeployment = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        described(&new.description)?;
        if new.auto_merge || !new.required_contexts.is_empty() {
            return Err("it could merge, or wait for its own check".into());
        }
        if new.r#ref.is_empty() || new.environment.is_empty() || new.transient_environment {
            return Err("not what the step asked for".into());
        }
        seen.deployments
            .push((new.r#ref, new.task, new.environment, new.production_environment));
        let refused = |code: u16, message: &str| {
            let body =
                json!({ "message": message, "documentation_url": "https://docs.example", "status": code.to_string() });
            ResponseTemplate::new(code).set_body_json(body)
        };
        Ok(match self.mood {
            Mood::Good | Mood::NoStatuses => ResponseTemplate::new(201).set_body_json(deployment()),
            Mood::Merged => refused(202, "Auto-merged main into topic on deployment."),
            Mood::Forbidden => refused(403, "Resource not accessible by integration"),
            Mood::Conflict => refused(409, "Conflict: Commit status checks failed for topic."),
            Mood::Down => ResponseTemplate::new(502).set_body_string("<html>Unicorn!</html>"),
            Mood::Garbled => ResponseTemplate::new(201).set_body_string("OK"),
        })
    }

    fn status(&self, body: &[u8], seen: &mut Seen) -> Result<ResponseTemplate, String> {
        let new: NewStatus = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        described(&new.description)?;
        if new.log_url.as_deref() != Some("https://github.example/church/ark/actions/runs/4711") {
            return Err(format!("log_url is {:?}", new.log_url));
        }
        if new.environment_url.as_deref() != Some("https://ark.example") || !new.auto_inactive {
            return Err("not what the step asked for".into());
        }
        seen.statuses.push((new.state, new.description));
        Ok(match self.mood {
            Mood::NoStatuses => ResponseTemplate::new(422).set_body_json(json!({ "message": "Validation Failed" })),
            // A state this binary has never heard of, as the real API has one.
            _ => ResponseTemplate::new(201).set_body_json(json!({ "id": 1, "state": "waiting", "target_url": null })),
        })
    }
}

fn described(description: &str) -> Result<(), String> {
    match description.chars().count() {
        1..=140 => Ok(()),
        long => Err(format!("a description of {long} characters")),
    }
}

fn deployment() -> Value {
    json!({
        "url": "https://api.github.example/repos/church/ark/deployments/1", "id": ID, "node_id": "DE_x",
        "sha": "0123456789abcdef0123456789abcdef01234567", "ref": "topic", "task": "deploy", "payload": {},
        "original_environment": "production", "environment": "production", "description": null,
        "creator": { "login": "noah", "id": 1 }, "created_at": "2026-11-20T12:00:00Z",
        "updated_at": "2026-11-20T12:00:00Z", "transient_environment": false, "production_environment": true,
        "performed_via_github_app": null, "a_field_of_tomorrow": [1, 2]
    })
}
