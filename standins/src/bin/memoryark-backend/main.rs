//! Stand-in for MemoryArk's back end: photos as files, rows in one SQLite file that only one process may open.

mod database;
mod photos;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, body::Body};
use serde::Deserialize;
use serde_json::json;
use standins::metrics::{self, family, sample};
use standins::serve::Common;
use standins::{echo, health, secret, serve};

use crate::database::Database;
use crate::photos::Photos;

struct Backend {
    common: Arc<Common>,
    database: Database,
    photos: Photos,
    token: String,
    errors: AtomicU64,
}

type Shared = State<Arc<Backend>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(url) = health::asked(&arguments) {
        return health::check(url).await;
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("memoryark-backend: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), String> {
    let common = Common::start(8081).await?;
    let token = env::var("LINE_SERVICE_API_TOKEN")
        .ok()
        .filter(|token| !token.is_empty());
    let token = token.ok_or("LINE_SERVICE_API_TOKEN is not set: uploads would be open to everyone")?;
    let database = PathBuf::from(env::var("DATABASE_PATH").unwrap_or_else(|_| "/data/memoryark.db".to_owned()));
    let uploads = PathBuf::from(env::var("UPLOAD_PATH").unwrap_or_else(|_| "/uploads".to_owned()));
    let backend = Arc::new(Backend {
        database: Database::open(&database)
            .map_err(|error| format!("cannot open or migrate {}: {error}", database.display()))?,
        photos: Photos::open(uploads.clone())
            .map_err(|error| format!("cannot write below {}: {error}", uploads.display()))?,
        token,
        errors: AtomicU64::new(0),
        common: Arc::clone(&common),
    });
    let routes = Router::new()
        .route("/api/health", get(answer_health))
        .route("/api/version", get(answer_version))
        .route("/api/photos/upload", post(upload))
        .route("/api/files", get(list))
        .route("/api/files/{id}", get(show))
        .route("/api/ws", get(socket))
        .route("/metrics", get(answer_metrics))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(&backend));
    let app = common.wrap(routes);
    let listener = common.listen().await?;
    eprintln!("memoryark-backend {} serves {}", common.version, database.display());
    common.arm();
    // MemoryArk's back end has no signal handler: it ends with requests in flight.
    serve::run(&common, listener, app, Duration::ZERO).await
}

/// Never touches the database, as the original: a full disk or a locked file does not show here.
async fn answer_health(State(backend): Shared) -> Response {
    let (status, word) = match backend.common.switches.unhealthy {
        false => (StatusCode::OK, "ok"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
    };
    (
        status,
        Json(json!({ "status": word, "version": backend.common.version })),
    )
        .into_response()
}

async fn answer_version(State(backend): Shared) -> Response {
    Json(json!({ "service": "memoryark-backend", "version": backend.common.version })).into_response()
}

async fn answer_metrics(State(backend): Shared) -> Response {
    let files = {
        let backend = Arc::clone(&backend);
        tokio::task::spawn_blocking(move || backend.database.count()).await
    };
    let text = backend.common.metrics.render(&backend.common.version, |text| {
        family(
            text,
            "memoryark_errors_total",
            "counter",
            "Requests that failed on the database or the disk.",
        );
        sample(
            text,
            "memoryark_errors_total",
            &[],
            backend.errors.load(Ordering::Relaxed) as f64,
        );
        if let Ok(Ok(files)) = files {
            family(text, "memoryark_files", "gauge", "Rows in the files table.");
            sample(text, "memoryark_files", &[], files as f64);
        }
    });
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn upload(State(backend): Shared, headers: HeaderMap, body: Body) -> Response {
    let presented = headers
        .get(header::AUTHORIZATION)
        .map_or(&b""[..], |value| value.as_bytes());
    let bearer = presented.strip_prefix(b"Bearer ").unwrap_or_default();
    if !secret::same(bearer, backend.token.as_bytes()) {
        return (
            StatusCode::UNAUTHORIZED,
            Json(json!({ "error": "wrong or missing token" })),
        )
            .into_response();
    }
    let name = headers
        .get("x-file-name")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("photo.jpg");
    let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
    let photo = match backend.photos.receive(body).await {
        Ok(photo) => photo,
        Err(error) => return refuse(&backend, error.status(), &error.to_string()),
    };
    let row = {
        let backend = Arc::clone(&backend);
        let photo = photo.clone();
        tokio::task::spawn_blocking(move || backend.database.add(&name, &photo)).await
    };
    match row {
        Ok(Ok((id, new))) => {
            let status = if new { StatusCode::CREATED } else { StatusCode::OK };
            (
                status,
                Json(json!({ "id": id, "path": photo.path, "sha256": photo.sha256 })),
            )
                .into_response()
        }
        // The file stays: a later upload of the same photo finds it and only adds the row.
        Ok(Err(error)) => refuse(&backend, StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        Err(error) => refuse(&backend, StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

#[derive(Deserialize)]
struct Listing {
    limit: Option<u32>,
}

async fn list(State(backend): Shared, Query(listing): Query<Listing>) -> Response {
    let limit = listing.limit.unwrap_or(50).min(500);
    let reader = Arc::clone(&backend);
    let read = move || Ok::<_, rusqlite::Error>((reader.database.newest(limit)?, reader.database.count()?));
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok((files, total))) => Json(json!({ "files": files, "total": total })).into_response(),
        Ok(Err(error)) => refuse(&backend, StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        Err(error) => refuse(&backend, StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn show(State(backend): Shared, Path(id): Path<i64>) -> Response {
    let reader = Arc::clone(&backend);
    match tokio::task::spawn_blocking(move || reader.database.find(id)).await {
        Ok(Ok(Some(file))) => Json(file).into_response(),
        Ok(Ok(None)) => (StatusCode::NOT_FOUND, Json(json!({ "error": "no such file" }))).into_response(),
        Ok(Err(error)) => refuse(&backend, StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        Err(error) => refuse(&backend, StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn socket(State(backend): Shared, upgrade: WebSocketUpgrade) -> Response {
    let metrics = Arc::clone(&backend.common.metrics);
    let stopping = backend.common.stop.stopping();
    upgrade
        .max_message_size(echo::MAX_MESSAGE)
        .on_upgrade(move |socket| echo::run(socket, metrics, stopping))
}

fn refuse(backend: &Backend, status: StatusCode, why: &str) -> Response {
    backend.errors.fetch_add(1, Ordering::Relaxed);
    eprintln!("memoryark-backend: {why}");
    (status, Json(json!({ "error": why }))).into_response()
}
