//! The signed cookie that shows a colour without weight to those who have it.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use arkwright::model::{Colour, ServiceName, Span, Timestamp};
use arkwright::ports::{Notice, Router, RouterError};

use crate::lab::until;
use crate::local::free_port;
use crate::{Stage, service, stage};

impl Stage {
    async fn cookie(&self, service: &ServiceName, seconds: i64) -> String {
        let until = Timestamp::from(std::time::SystemTime::now()) + chrono::TimeDelta::seconds(seconds);
        self.router.preview_cookie(service, until).await.expect("signed")
    }

    /// Which colour answers who has this cookie.
    async fn shown(&self, cookie: &str) -> String {
        self.ask(&format!("Cookie: a=b; arkwright-preview={cookie}; c=d\r\n"))
            .await
            .1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_cookie_shows_the_colour_without_weight_until_it_ends() {
    let Some(mut stage) = stage().await else { return };
    let cookie = stage.cookie(&service(), 60).await;
    assert_eq!(stage.shown(&cookie).await, "blue", "green is not there yet");
    stage.point_green().await;
    assert_eq!(stage.shown(&cookie).await, "green");
    assert_eq!(stage.ask("").await.1, "blue");

    let (ends, signature) = cookie.split_once('.').expect("two parts");
    let later = ends.parse::<u64>().expect("seconds") + 3600;
    let (first, rest) = signature.split_at(1);
    let other = stage.cookie(&service(), 61).await;
    let forged = [
        format!("{later}.{signature}"),
        format!("{ends}.{}{rest}", if first == "0" { "1" } else { "0" }),
        format!("{ends}."),
        ends.to_owned(),
        format!(".{signature}"),
        format!("{ends}x.{signature}"),
        format!("0{ends}.{signature}"),
        format!("{ends}.{}", other.split_once('.').expect("two parts").1),
        format!("{ends}.{}", "0".repeat(64)),
        String::new(),
        ".".into(),
        "999999999999999999999999.00".into(),
    ];
    for forged in &forged {
        assert_eq!(stage.shown(forged).await, "blue", "{forged}");
    }
    assert_eq!(
        stage.shown(&stage.cookie(&service(), -1).await).await,
        "blue",
        "it has ended"
    );
    let short = stage.cookie(&service(), 2).await;
    assert_eq!(stage.shown(&short).await, "green");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(stage.shown(&short).await, "blue", "it has ended");

    stage
        .router
        .maintenance(
            &service(),
            Some(Notice {
                retry_after: Span::seconds(60),
            }),
        )
        .await
        .expect("switched");
    assert_eq!(stage.shown(&cookie).await, "green", "the operator looks");
    assert_eq!(
        stage
            .ask(&format!("Cookie: arkwright-preview={}\r\n", forged[0]))
            .await
            .0,
        503
    );
    stage.router.maintenance(&service(), None).await.expect("switched");

    stage.restart().await;
    until("green", 5, || stage.up(Colour::Green)).await;
    assert_eq!(
        stage.shown(&cookie).await,
        "green",
        "the key is the same after a restart"
    );
    let nobody: ServiceName = "nobody".parse().expect("a name");
    let refusal = stage.router.preview_cookie(&nobody, Timestamp::UNIX_EPOCH).await;
    assert!(matches!(refusal, Err(RouterError::UnknownService(_))), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_good_for_one_service_and_the_key_is_kept_from_others() {
    let Some(stage) = stage().await else { return };
    stage.point_green().await;
    let mut routes = stage.router.routes().await.expect("routes");
    let mut other = routes[0].clone();
    other.service = "api".parse().expect("a name");
    other.port = free_port().await;
    routes.push(other.clone());
    stage.router.apply(&routes).await.expect("reloaded");
    until("green", 5, || stage.up(Colour::Green)).await;
    let cookie = stage.cookie(&other.service, 60).await;
    assert_eq!(stage.shown(&cookie).await, "blue");
    assert_eq!(stage.shown(&stage.cookie(&service(), 60).await).await, "green");
    for file in ["haproxy.cfg", "state.map"] {
        let metadata = std::fs::metadata(stage.folder.path().join("config").join(file)).expect("there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640, "{file}");
    }
    let config = std::fs::read_to_string(stage.folder.path().join("config/haproxy.cfg")).expect("there");
    let key = config
        .split("hmac(sha256,")
        .nth(1)
        .and_then(|rest| rest.split(')').next())
        .expect("a key");
    assert_eq!(key.len(), 44);
    assert!(!stage.said().contains(key), "the router's own log");
}
