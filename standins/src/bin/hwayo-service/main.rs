//! Stand-in for each of Hwayo's six services: which one, `HWAYO_ROLE` says.
//!
//! Health asks what the role cannot work without, as the original's does; the business figures are those that a
//! release of Hwayo is judged by.

mod business;
mod cache;
mod database;
mod gateway;
mod migration;
mod role;
mod scram;
mod trouble;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use redis::cmd;
use serde_json::json;
use standins::metrics::{self, family, sample};
use standins::serve::{Common, VERSION_HEADER};
use standins::{echo, health, serve};

use crate::business::{Business, QUEUE};
use crate::cache::Cache;
use crate::database::Database;
use crate::gateway::Gateway;
use crate::role::Role;
use crate::trouble::Trouble;

/// Longest wait for requests in flight after SIGTERM; shorter than the stack's `stop_grace_period`.
const DRAIN: Duration = Duration::from_secs(10);

struct Service {
    role: Role,
    common: Arc<Common>,
    database: Option<Database>,
    cache: Option<Cache>,
    gateway: Option<Gateway>,
    business: Business,
    trouble: Trouble,
}

type Shared = State<Arc<Service>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(url) = health::asked(&arguments) {
        return health::check(url).await;
    }
    if let Some((file, takes)) = migration::asked(&arguments) {
        let version = env::var("APP_VERSION").unwrap_or_default();
        return migration::run(file, takes, &version).await;
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("hwayo-service: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), String> {
    let role = Role::from_env()?;
    let common = Common::start(role.port()).await?;
    let service = Arc::new(Service {
        role,
        database: role.has_database().then(Database::from_env).transpose()?,
        cache: role.has_cache().then(Cache::from_env).transpose()?,
        gateway: (role == Role::ApiGateway).then(Gateway::from_env).transpose()?,
        business: Business::default(),
        trouble: Trouble::from_env()?,
        common: Arc::clone(&common),
    });
    // The switches make work slow or fail, never what the orchestrator and the operator look at.
    let watching = Router::new()
        .route(role.health_path(), get(answer_health))
        .route("/metrics", get(answer_metrics));
    let app = common.wrap(work(role).with_state(Arc::clone(&service)));
    let app = app.merge(watching.with_state(Arc::clone(&service)));
    let listener = common.listen().await?;
    eprintln!("hwayo {} {} listens", role.name(), common.version);
    common.arm();
    service.trouble.arm();
    serve::run(&common, listener, app, DRAIN).await
}

fn work(role: Role) -> Router<Arc<Service>> {
    let routes = Router::new().route("/version", get(answer_version));
    match role {
        Role::Web => routes.route("/", get(page)).route("/ws", get(socket)),
        Role::ApiGateway => routes.route("/api/v1/{*rest}", post(gateway::forward)),
        Role::Auth => routes.route("/auth/login", post(business::login)),
        Role::Workflow => routes.route("/workflow/submissions", post(business::submit)),
        Role::Notification => routes
            .route("/notification/send", post(business::notify))
            .route("/notification/ws", get(socket)),
        Role::Report => routes.route("/report/generate", post(business::generate)),
    }
}

impl Service {
    async fn ask_database(&self) -> Result<(), String> {
        match &self.database {
            Some(database) => database.run("select 1").await.map(drop),
            None => Ok(()),
        }
    }

    async fn ask_cache(&self) -> Result<(), String> {
        match &self.cache {
            Some(cache) => cache.ping().await,
            None => Ok(()),
        }
    }
}

async fn answer_health(State(service): Shared) -> Response {
    let (database, cache) = tokio::join!(service.ask_database(), service.ask_cache());
    let version = &service.common.version;
    let ill = match service.common.switches.unhealthy {
        true => Err("unhealthy".to_owned()),
        false => database.and(cache),
    };
    let (status, word) = match ill {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let body = Json(json!({ "service": service.role.name(), "status": word, "version": version }));
    (status, [(VERSION_HEADER, version.clone())], body).into_response()
}

async fn answer_version(State(service): Shared) -> Response {
    Json(json!({ "service": service.role.name(), "version": service.common.version })).into_response()
}

async fn answer_metrics(State(service): Shared) -> Response {
    let waiting = match (&service.cache, service.role) {
        (Some(cache), Role::Notification) => cache.ask::<u64>(cmd("LLEN").arg(QUEUE)).await.ok(),
        _ => None,
    };
    let version = &service.common.version;
    let text = service.common.metrics.render(version, |text| {
        service.business.render(text, service.role, version);
        if let Some(waiting) = waiting {
            family(text, "queue_length", "gauge", "Notifications waiting in Redis.");
            sample(text, "queue_length", &[], waiting as f64);
        }
    });
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn page() -> Html<&'static str> {
    Html("<!doctype html>\n<meta charset=\"utf-8\">\n<title>Hwayo</title>\n<h1>Hwayo 檢驗流程</h1>\n")
}

async fn socket(State(service): Shared, upgrade: WebSocketUpgrade) -> Response {
    let metrics = Arc::clone(&service.common.metrics);
    let stopping = service.common.stop.stopping();
    upgrade
        .max_message_size(echo::MAX_MESSAGE)
        .on_upgrade(move |socket| echo::run(socket, metrics, stopping))
}
