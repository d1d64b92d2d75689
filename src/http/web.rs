use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::percent_decode_str;
use tokio::sync::OnceCell;
use url::Url;

use crate::ports::{LARGEST_PAGE, Page, PageRequest, Web, WebError};

/// Redirects of one request; beyond that the redirect is the answer.
const REDIRECTS: usize = 3;

type Secure = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Asks by HTTP/1.1, with TLS where the address says so; each request has a connection of its own.
pub struct WebClient {
    plain: Client<HttpConnector, Empty<Bytes>>,
    /// Made at the first need: a machine without certificates can still ask without TLS.
    secure: OnceCell<Secure>,
}

impl Default for WebClient {
    fn default() -> Self {
        WebClient {
            plain: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build(HttpConnector::new()),
            secure: OnceCell::new(),
        }
    }
}

#[async_trait]
impl Web for WebClient {
    async fn get(&self, request: &PageRequest) -> Result<Page, WebError> {
        self.ask(Target::of(Method::GET, request)?, request.limit).await
    }

    async fn post(&self, request: &PageRequest) -> Result<Page, WebError> {
        self.ask(Target::of(Method::POST, request)?, request.limit).await
    }
}

impl WebClient {
    async fn ask(&self, target: Target, limit: Duration) -> Result<Page, WebError> {
        let at = target.at.clone();
        match tokio::time::timeout(limit, self.fetch(target)).await {
            Ok(page) => page,
            Err(_) => Err(WebError::Late { at, limit }),
        }
    }

    async fn fetch(&self, mut target: Target) -> Result<Page, WebError> {
        let redirects = if target.method == Method::GET { REDIRECTS } else { 0 };
        for left in (0..=redirects).rev() {
            let response = self.send(&target).await?;
            if left > 0
                && let Some(next) = target.redirected(&response)
            {
                target.url = next;
                continue;
            }
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LARGEST_PAGE).collect().await;
            let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                true => WebError::TooLarge { at: target.at.clone() },
                false => target.broken(&*error),
            })?;
            return Ok(Page {
                status,
                body: body.to_bytes(),
            });
        }
        Err(target.broken(&std::io::Error::other("redirects without an end")))
    }

    async fn send(&self, target: &Target) -> Result<Response<Incoming>, WebError> {
        let request = target.request()?;
        let answer = match target.url.scheme() {
            "https" => self.secure().await?.request(request).await,
            _ => self.plain.request(request).await,
        };
        answer.map_err(|error| match error.is_connect() {
            true => WebError::Unreachable {
                at: target.at.clone(),
                why: root(&error),
            },
            false => target.broken(&error),
        })
    }

    async fn secure(&self) -> Result<&Secure, WebError> {
        self.secure
            .get_or_try_init(|| async {
                let made = tokio::task::spawn_blocking(|| {
                    HttpsConnectorBuilder::new()
                        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
                });
                let builder = made.await.map_err(|error| WebError::NoRoots(error.to_string()))?;
                let builder = builder.map_err(|error| WebError::NoRoots(error.to_string()))?;
                Ok(secure(builder.https_or_http().enable_http1().build()))
            })
            .await
    }
}

fn secure(connector: HttpsConnector<HttpConnector>) -> Secure {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(connector)
}

/// Where a request goes, what it carries, and what may be told of it.
struct Target {
    method: Method,
    /// Without the login.
    url: Url,
    headers: HeaderMap,
    /// `http://host:port`
    at: String,
}

impl Target {
    fn of(method: Method, request: &PageRequest) -> Result<Self, WebError> {
        let mut url = Url::parse(&request.url).map_err(|error| WebError::Address(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(WebError::Address("it begins with neither http:// nor https://".into()));
        }
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("arkwright"));
        if !url.username().is_empty() || url.password().is_some() {
            headers.insert(AUTHORIZATION, login(&url)?);
        }
        for (name, value) in &request.headers {
            let wrong = || WebError::Header(name.chars().filter(|c| !c.is_control()).take(60).collect());
            let (name, value) = (HeaderName::try_from(name), HeaderValue::try_from(value));
            headers.insert(name.map_err(|_| wrong())?, value.map_err(|_| wrong())?);
        }
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| WebError::Address("it has no host".into()))?;
        let at = url.origin().ascii_serialization();
        Ok(Target {
            method,
            url,
            headers,
            at,
        })
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, WebError> {
        let uri: Uri = self
            .url
            .as_str()
            .parse()
            .map_err(|_| WebError::Address("it cannot be asked for".into()))?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }

    /// Where a redirect leads, if that is the same server.
    fn redirected(&self, response: &Response<Incoming>) -> Option<Url> {
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let location = response.headers().get(LOCATION)?.to_str().ok()?;
        let next = self.url.join(location).ok()?;
        let login = !next.username().is_empty() || next.password().is_some();
        (next.origin() == self.url.origin() && !login).then_some(next)
    }

    fn broken(&self, error: &(dyn Error + 'static)) -> WebError {
        WebError::Broken {
            at: self.at.clone(),
            why: root(error),
        }
    }
}

fn login(url: &Url) -> Result<HeaderValue, WebError> {
    let user = percent_decode_str(url.username());
    let password = percent_decode_str(url.password().unwrap_or_default());
    let bytes: Vec<u8> = user.chain([b':']).chain(password).collect();
    let value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(bytes)));
    let mut value = value.map_err(|_| WebError::Address("its login cannot be sent".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The first cause of an error, which alone says what happened.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests;
