//! The API gateway: passes on, by name, what the services behind it answer.

use std::env;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::Full;
use hyper::Request;
use standins::http;

use crate::Shared;

const PATIENCE: Duration = Duration::from_secs(30);
/// Goes on, so that whoever asks for the new colour gets it behind the gateway too.
const CANARY: HeaderName = HeaderName::from_static("canary");

pub struct Gateway {
    auth: String,
    workflow: String,
    report: String,
}

impl Gateway {
    /// From `AUTHN_URL`, `WORKFLOW_URL` and `REPORT_URL`.
    pub fn from_env() -> Result<Self, String> {
        let url = |name: &str| match env::var(name) {
            Ok(url) if url.starts_with("http://") => Ok(url.trim_end_matches('/').to_owned()),
            Ok(url) => Err(format!("{name}: `{url}` does not begin with http://")),
            Err(_) => Err(format!("{name} is not set")),
        };
        Ok(Self {
            auth: url("AUTHN_URL")?,
            workflow: url("WORKFLOW_URL")?,
            report: url("REPORT_URL")?,
        })
    }

    /// Where a path below `/api/v1/` leads.
    fn behind(&self, path: &str) -> Option<String> {
        match path {
            "auth/login" => Some(format!("{}/auth/login", self.auth)),
            "data-records" => Some(format!("{}/workflow/submissions", self.workflow)),
            "reports/generate" => Some(format!("{}/report/generate", self.report)),
            _ => None,
        }
    }
}

pub async fn forward(State(service): Shared, Path(path): Path<String>, headers: HeaderMap) -> Response {
    let Some(url) = service.gateway.as_ref().and_then(|gateway| gateway.behind(&path)) else {
        return (StatusCode::NOT_FOUND, "no such interface\n").into_response();
    };
    let mut request = Request::post(url);
    if let Some(canary) = headers.get(CANARY) {
        request = request.header(CANARY, canary);
    }
    let answer = match request.body(Full::new(Bytes::new())) {
        Ok(request) => http::send(request, PATIENCE).await,
        Err(error) => Err(error.to_string()),
    };
    let (status, body) = match answer {
        Ok((status, body)) => (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), body),
        Err(why) => {
            eprintln!("hwayo api-gateway: {path}: {why}");
            (
                StatusCode::BAD_GATEWAY,
                Bytes::from_static(b"{\"error\":\"no answer\"}"),
            )
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_passed_on() {
        let gateway = Gateway {
            auth: "http://auth:3002".into(),
            workflow: "http://workflow:3003".into(),
            report: "http://report:3005".into(),
        };
        let behind = |path| gateway.behind(path);
        assert_eq!(behind("auth/login").as_deref(), Some("http://auth:3002/auth/login"));
        assert_eq!(behind("auth/../metrics"), None);
        assert_eq!(behind(""), None);
    }
}
