use std::time::{Duration, Instant};

use arkwright::ports::{Put, Store, StoreError};
use arkwright::store::S3Store;
use futures_util::TryStreamExt;
use hyper::Method;
use serde_json::json;

use super::contract::{body, content, contract, names};
use super::server::{ACCESS_KEY, SECRET_KEY, Server, Trouble, hasty, tree};

fn told<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    arkwright::model::chain(&result.expect_err("an error"))
}

#[tokio::test]
async fn a_bucket_keeps_the_contract() {
    let server = Server::start().await;
    contract(&server.store()).await;
    for seen in server.seen(Method::PUT, "") {
        assert!(seen.headers.contains_key("authorization"), "signed");
        let encoding = seen.headers.get("content-encoding");
        assert!(encoding.is_none(), "bodies go out as they are: {encoding:?}");
    }
    let server = Server::start().await;
    contract(&server.store_with(json!({ "prefix": "", "checksums": "sha256" }))).await;
    let server = Server::start().await;
    contract(&server.store_with(json!({ "create": "look_first", "checksums": "none" }))).await;
    let sent = server.seen(Method::PUT, "/seg/b");
    assert!(
        sent.iter()
            .all(|put| !put.headers.keys().any(|name| name.as_str().contains("checksum")))
    );
}

#[tokio::test]
async fn an_answer_that_fails_is_asked_for_again() {
    let server = Server::start().await;
    let store = server.store();
    for trouble in [
        Trouble::Refuse(500, "InternalError"),
        Trouble::Refuse(503, "SlowDown"),
        Trouble::Reset,
        Trouble::Silence,
        Trouble::Lost,
    ] {
        for (method, part) in [
            (Method::PUT, "seg/a"),
            (Method::GET, "seg/a"),
            (Method::GET, "list-type=2"),
        ] {
            server.plan(method, part, trouble.clone(), 2);
        }
        let wrote = store.put("seg/a", body(b"0123456789"), Put::Create).await;
        assert_eq!(wrote.expect("written"), 10, "{trouble:?}");
        assert_eq!(content(&store, "seg/a").await, b"0123456789");
        assert_eq!(names(&store, "seg/").await, ["seg/a"]);
        assert!(server.played(), "{trouble:?}");
        store.delete("seg/a").await.expect("deleted");
        server.clear();
    }
}

#[tokio::test]
async fn a_server_that_always_fails_is_an_error_and_leaves_nothing() {
    let server = Server::start().await;
    let store = server.store();
    store.put("seg/there", body(b"x"), Put::Create).await.expect("put");
    for trouble in [Trouble::Refuse(503, "SlowDown"), Trouble::Reset, Trouble::Silence] {
        for method in [Method::PUT, Method::GET, Method::DELETE] {
            server.plan(method, "", trouble.clone(), usize::MAX);
        }
        let start = Instant::now();
        let refused = told(store.put("seg/a", body(b"x"), Put::Create).await);
        assert!(refused.contains("bucket ark-backups/ark/host-1"), "{refused}");
        assert!(store.list("").await.is_err(), "a list that fails is no empty list");
        assert!(store.get("seg/there").await.is_err());
        assert!(!matches!(
            store.get("seg/there").await.err(),
            Some(StoreError::NotFound { .. })
        ));
        assert!(store.delete("seg/there").await.is_err());
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        server.clear();
    }
    assert_eq!(names(&store, "seg/").await, ["seg/there"]);
}

#[tokio::test]
async fn a_body_that_is_cut_or_stalls_is_read_to_its_end_or_is_an_error() {
    let server = Server::start().await;
    let store = server.store();
    let bytes: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    store.put("seg/a", body(&bytes), Put::Create).await.expect("put");
    for (trouble, times) in [
        (Trouble::Cut(70_000), 3),
        (Trouble::Stall(100_000), 2),
        (Trouble::Cut(0), 2),
    ] {
        server.plan(Method::GET, "seg/a", trouble, times);
        assert_eq!(content(&store, "seg/a").await, bytes);
        assert!(server.played());
        server.clear();
    }
    server.plan(Method::GET, "seg/a", Trouble::Cut(1000), 2);
    let range = store.get_range("seg/a", 150_000, 70_000).await.expect("a range");
    assert_eq!(range, bytes[150_000..220_000]);
    // What comes after another object took the name is not the rest of the first.
    server.clear();
    server.plan(Method::GET, "seg/a", Trouble::Cut(1000), 1);
    let reading = store.get("seg/a").await.expect("there");
    store
        .put("seg/a", body(&[9; 300_000]), Put::Replace)
        .await
        .expect("replaced");
    let read = reading.try_collect::<Vec<_>>().await;
    let error = read
        .map(|chunks| chunks.len())
        .expect_err("two objects are not one")
        .to_string();
    assert!(error.contains("at byte 1000: "), "{error}");
    // One that never gets on is given up.
    server.plan(Method::GET, "seg/a", Trouble::Cut(0), usize::MAX);
    let endless = store.get("seg/a").await.expect("begun");
    assert!(endless.try_collect::<Vec<_>>().await.is_err());
    assert!(store.get_range("seg/a", 0, 10).await.is_err());
    // So is a list whose answer is cut.
    server.clear();
    server.plan(Method::GET, "list-type=2", Trouble::Cut(60), usize::MAX);
    assert!(store.list("").await.is_err());
}

#[tokio::test]
async fn a_list_of_many_pages_is_whole_or_an_error() {
    let server = Server::start().await;
    let store = server.store();
    for n in 0..7 {
        store
            .put(&format!("seg/{n}"), body(b"x"), Put::Create)
            .await
            .expect("put");
    }
    server.settings().page = Some(2);
    assert_eq!(names(&store, "seg/").await.len(), 7);
    // The third page fails for good.
    server.clear();
    server.plan(
        Method::GET,
        "continuation-token=ark%2Fhost-1%2Fseg%2F3",
        Trouble::Refuse(500, "InternalError"),
        99,
    );
    assert!(store.list("seg/").await.is_err());
    assert_eq!(
        server.seen(Method::GET, "continuation-token").len(),
        5,
        "one page more, and four tries"
    );
    // A bucket that is gone is no empty store.
    server.clear();
    std::fs::remove_dir_all(server.objects()).expect("removed");
    let gone = told(store.list("").await);
    assert!(
        gone.contains("NoSuchBucket") && gone.contains("make the bucket ark-backups"),
        "{gone}"
    );
}

#[tokio::test]
async fn a_server_that_lets_names_be_taken_twice_is_refused_before_anything_is_written() {
    let server = Server::start().await;
    server.settings().ignores_conditions = true;
    let refused = told(server.store().put("seg/a", body(b"x"), Put::Create).await);
    assert!(refused.contains("create: look_first"), "{refused}");
    assert_eq!(names(&server.store(), "").await, Vec::<String>::new());
    let store = server.store_with(json!({ "create": "look_first" }));
    store.put("seg/a", body(b"x"), Put::Create).await.expect("put");
    let again = store.put("seg/a", body(b"y"), Put::Create).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    assert_eq!(content(&store, "seg/a").await, b"x");
    // One that does not know them says so.
    server.settings().ignores_conditions = false;
    server.clear();
    server.plan(Method::PUT, "taken-once", Trouble::Refuse(501, "NotImplemented"), 9);
    let refused = told(server.store().put("seg/b", body(b"x"), Put::Create).await);
    assert!(refused.contains("create: look_first"), "{refused}");
    // The probe is asked once for a store, and is no object of it.
    server.clear();
    let store = server.store();
    for name in ["seg/c", "seg/d", "seg/e"] {
        store.put(name, body(b"x"), Put::Create).await.expect("put");
    }
    assert_eq!(server.seen(Method::PUT, "taken-once").len(), 1);
    assert!(tree(&server).contains_key("ark/host-1/.arkwright/taken-once"));
}

#[tokio::test]
async fn what_is_wrong_is_told_with_what_to_do_and_without_a_secret() {
    let server = Server::start().await;
    let stranger = server.credentials().with_file_name("stranger");
    let text = format!("[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = another-secret-value\n");
    std::fs::write(&stranger, text).expect("written");
    let store = server.store_with(json!({ "credentials": { "file": stranger } }));
    let error = store.list("").await.expect_err("refused");
    let refused = format!("{} {error:?} {store:?}", arkwright::model::chain(&error));
    assert!(
        refused.contains("SignatureDoesNotMatch") && refused.contains("access key"),
        "{refused}"
    );
    assert!(
        !refused.contains("another-secret-value") && !refused.contains(SECRET_KEY),
        "{refused}"
    );

    let store = server.store_with(json!({ "credentials": { "file": "/nowhere/credentials" } }));
    let refused = told(store.list("").await);
    assert!(refused.contains("there are no credentials"), "{refused}");
    let store = server.store_with(json!({ "credentials": { "file": server.credentials(), "profile": "other" } }));
    assert!(store.list("").await.is_err(), "a profile that is not there");

    let store = server.store();
    server.plan(Method::GET, "list-type=2", Trouble::Clock(3600), 9);
    let refused = told(store.list("").await);
    assert!(
        refused.contains("clock is 3600 s behind") || refused.contains("clock is 3599 s behind"),
        "{refused}"
    );
    server.clear();
    server.plan(Method::GET, "list-type=2", Trouble::Refuse(403, "AccessDenied"), 9);
    let refused = told(store.list("").await);
    assert!(
        refused.contains("AccessDenied") && refused.contains("policy"),
        "{refused}"
    );
    assert_eq!(
        server.seen(Method::GET, "list-type=2").len(),
        1,
        "asking again would not help"
    );

    let mut config = server.config(json!({}));
    config.endpoint = Some("http://127.0.0.1:9".into());
    let store = S3Store::open_patiently(config, "/".as_ref(), None, None, hasty());
    let refused = told(store.list("").await);
    assert!(
        refused.contains("cannot be reached") && refused.contains("endpoint"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_full_server_is_told_as_one() {
    let server = Server::start().await;
    let store = server.store();
    server.plan(Method::PUT, "seg/a", Trouble::Refuse(507, "InsufficientStorage"), 9);
    let refused = store.put("seg/a", body(b"x"), Put::Create).await;
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_is_sent_keeps_to_the_bandwidth() {
    let server = Server::start().await;
    let store = server.store_with(json!({ "bandwidth": "256KiB" }));
    let start = Instant::now();
    for name in ["seg/a", "seg/b", "seg/c"] {
        store.put(name, body(&[7; 128 << 10]), Put::Create).await.expect("put");
    }
    let took = start.elapsed().as_secs_f64();
    assert!(took >= 1.0, "two of three are waited for: {took}");
    let start = Instant::now();
    content(&store, "seg/a").await;
    assert!(start.elapsed().as_secs_f64() < 0.4, "reading is not held back");
}
