//! What Hwayo's users come for, and the figures of it that a release is judged by.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use redis::cmd;
use serde_json::{Value, json};
use standins::metrics::{family, sample};

use crate::role::Role;
use crate::{Service, Shared};

/// Notifications on their way.
pub const QUEUE: &str = "hwayo:notifications";
const SESSIONS: &str = "hwayo:sessions";

/// Attempts, and those that came to something. A role has one kind of business, so one pair is enough.
#[derive(Debug, Default)]
pub struct Business {
    attempts: AtomicU64,
    successes: AtomicU64,
}

impl Business {
    /// The two counters of this role, by version, so that a new one is judged apart from the old.
    pub fn render(&self, text: &mut String, role: Role, version: &str) {
        let (name, what) = match role {
            Role::Auth => ("user_login", "Logins"),
            Role::Workflow => ("data_submission", "Submissions"),
            Role::Report => ("report_generation", "Reports asked for"),
            Role::Notification => ("notification_send", "Notifications"),
            Role::Web | Role::ApiGateway => return,
        };
        for (suffix, note, counter) in [
            ("attempts_total", "", &self.attempts),
            ("success_total", " that came to something", &self.successes),
        ] {
            let name = format!("{name}_{suffix}");
            family(text, &name, "counter", &format!("{what}{note}."));
            let count = counter.load(Ordering::Relaxed) as f64;
            sample(text, &name, &[("version", version)], count);
        }
    }
}

pub async fn login(State(service): Shared) -> Response {
    attempt(&service, StatusCode::UNAUTHORIZED, async || {
        let session: u64 = match &service.cache {
            Some(cache) => cache.ask(cmd("INCR").arg(SESSIONS)).await?,
            None => 0,
        };
        Ok(json!({ "session": session }))
    })
    .await
}

pub async fn submit(State(service): Shared) -> Response {
    attempt(&service, StatusCode::UNPROCESSABLE_ENTITY, async || {
        let id = match &service.database {
            Some(database) => {
                database
                    .run("insert into submissions default values returning id")
                    .await?
            }
            None => None,
        };
        Ok(json!({ "submission": id }))
    })
    .await
}

pub async fn notify(State(service): Shared) -> Response {
    attempt(&service, StatusCode::UNPROCESSABLE_ENTITY, async || {
        if let Some(cache) = &service.cache {
            cache.ask::<u64>(cmd("LPUSH").arg(QUEUE).arg("a notification")).await?;
            // Nobody takes them here: the oldest go.
            cache.ask::<String>(cmd("LTRIM").arg(QUEUE).arg(0).arg(99)).await?;
        }
        Ok(json!({ "queued": true }))
    })
    .await
}

pub async fn generate(State(service): Shared) -> Response {
    attempt(&service, StatusCode::UNPROCESSABLE_ENTITY, async || {
        let count = match &service.database {
            Some(database) => database.run("select count(*) from submissions").await?,
            None => None,
        };
        Ok(json!({ "submissions": count }))
    })
    .await
}

/// Counts, turns away whom the switches say, and does the work otherwise.
async fn attempt(
    service: &Service,
    refusal: StatusCode,
    work: impl AsyncFnOnce() -> Result<Value, String>,
) -> Response {
    service.business.attempts.fetch_add(1, Ordering::Relaxed);
    if service.trouble.refuses_now() {
        return (refusal, Json(json!({ "error": "STANDIN_REFUSE" }))).into_response();
    }
    match work().await {
        Ok(done) => {
            service.business.successes.fetch_add(1, Ordering::Relaxed);
            let version = &service.common.version;
            Json(json!({ "service": service.role.name(), "version": version, "done": done })).into_response()
        }
        Err(why) => {
            eprintln!("hwayo {}: {why}", service.role.name());
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": why }))).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_a_gate_asks_for_are_there_before_the_first_user() {
        let business = Business::default();
        business.attempts.fetch_add(3, Ordering::Relaxed);
        let mut text = String::new();
        business.render(&mut text, Role::Auth, "1.1.0");
        assert!(
            text.contains("user_login_attempts_total{version=\"1.1.0\"} 3\n"),
            "{text}"
        );
        assert!(
            text.contains("user_login_success_total{version=\"1.1.0\"} 0\n"),
            "{text}"
        );
        text.clear();
        business.render(&mut text, Role::Web, "1.1.0");
        assert_eq!(text, "");
    }
}
