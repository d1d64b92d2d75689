use arkwright::ports::{Put, Store, StoreError};
use hyper::Method;
use serde_json::json;

use super::contract::{body, content, names};
use super::server::{Server, Trouble};

const DAY: i64 = 24 * 3600;
const LARGE: usize = 9 << 20;

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

#[tokio::test]
async fn what_is_written_is_locked_and_what_is_referred_to_is_locked_again() {
    let server = Server::start().await;
    let short = server.store_with(json!({ "object_lock": { "mode": "compliance", "days": 10 } }));
    short.put("seg/a", body(b"x"), Put::Create).await.expect("put");
    short.put("seg/b", body(&[1; LARGE]), Put::Create).await.expect("put");
    let sent = server.seen(Method::PUT, "seg/a");
    assert_eq!(sent[0].headers["x-amz-object-lock-mode"], "COMPLIANCE");
    assert!(sent[0].headers.contains_key("x-amz-checksum-crc32"), "a lock needs one");
    let days = |key: &str| (server.settings().locks[key] - now() + DAY / 2) / DAY;
    assert_eq!((days("ark/host-1/seg/a"), days("ark/host-1/seg/b")), (10, 10));
    let long = server.store_with(json!({ "object_lock": { "mode": "governance", "days": 40 } }));
    let both = ["seg/a".to_owned(), "seg/b".to_owned()];
    long.protect(&both).await.expect("extended");
    assert_eq!((days("ark/host-1/seg/a"), days("ark/host-1/seg/b")), (40, 40));
    // A lock that lasts longer is refused to be shortened, and is as good.
    short.protect(&both).await.expect("long enough");
    assert_eq!(days("ark/host-1/seg/a"), 40);
    server.settings().locks_refused = true;
    server.settings().locks.insert("ark/host-1/seg/a".into(), now() + DAY);
    let refused = long.protect(&both).await.expect_err("shorter than it has to be");
    assert!(arkwright::model::chain(&refused).contains("seg/a"), "{refused}");
    // A store that is not to lock asks for nothing.
    server.clear();
    server.store().protect(&both).await.expect("nothing to do");
    assert!(server.seen(Method::PUT, "").is_empty());
}

#[tokio::test]
async fn encryption_that_was_asked_for_is_confirmed_or_it_is_an_error() {
    let arn = "arn:aws:kms:ap-northeast-1:111122223333:key/1234";
    let server = Server::start().await;
    let alias = server.store_with(json!({ "sse": { "kms": "alias/ark" } }));
    let refused = alias
        .put("seg/a", body(b"x"), Put::Replace)
        .await
        .expect_err("not encrypted");
    assert!(arkwright::model::chain(&refused).contains("KMS"), "{refused}");
    // Known before a byte of a large one is sent.
    let refused = alias.put("seg/b", body(&[1; LARGE]), Put::Replace).await;
    assert!(refused.is_err());
    assert!(server.seen(Method::PUT, "partNumber").is_empty());
    assert!(server.settings().uploads.is_empty());
    server.settings().kms_key = Some(arn.into());
    alias.put("seg/c", body(b"x"), Put::Replace).await.expect("encrypted");
    alias
        .put("seg/d", body(&[1; LARGE]), Put::Create)
        .await
        .expect("encrypted");
    let sent = server.seen(Method::PUT, "seg/c");
    assert_eq!(sent[0].headers["x-amz-server-side-encryption"], "aws:kms");
    assert_eq!(
        sent[0].headers["x-amz-server-side-encryption-aws-kms-key-id"],
        "alias/ark"
    );
    let own = server.store_with(json!({ "sse": { "kms": arn } }));
    own.put("seg/e", body(b"x"), Put::Create).await.expect("with this key");
    let other = server.store_with(json!({ "sse": { "kms": format!("{arn}5") } }));
    assert!(
        other.put("seg/f", body(b"x"), Put::Replace).await.is_err(),
        "with another key"
    );
}

#[tokio::test]
async fn the_storage_class_is_asked_for_where_one_was_named() {
    let server = Server::start().await;
    let store = server.store_with(json!({ "storage_class": "STANDARD_IA" }));
    store.put("seg/a", body(b"x"), Put::Create).await.expect("put");
    store.put("seg/b", body(&[1; LARGE]), Put::Create).await.expect("put");
    server.store().put("seg/c", body(b"x"), Put::Create).await.expect("put");
    assert_eq!(
        server.seen(Method::PUT, "seg/a")[0].headers["x-amz-storage-class"],
        "STANDARD_IA"
    );
    assert_eq!(
        server.seen(Method::POST, "seg/b?uploads")[0].headers["x-amz-storage-class"],
        "STANDARD_IA"
    );
    assert!(
        !server.seen(Method::PUT, "seg/c")[0]
            .headers
            .contains_key("x-amz-storage-class")
    );
}

#[tokio::test]
async fn a_bucket_is_read_as_it_was_from_the_versions_it_keeps() {
    let server = Server::start().await;
    server.settings().versioned = true;
    let store = server.store();
    let later = || tokio::time::sleep(std::time::Duration::from_millis(1100));
    store.put("seg/a", body(b"first"), Put::Replace).await.expect("put");
    store.put("seg/b", body(b"stays"), Put::Replace).await.expect("put");
    store
        .put("seg/large", body(&[7; LARGE]), Put::Replace)
        .await
        .expect("put");
    let before = chrono::Utc::now();
    later().await;
    store
        .put("seg/a", body(b"replaced by somebody"), Put::Replace)
        .await
        .expect("put");
    store.put("seg/c", body(b"new"), Put::Replace).await.expect("put");
    store.delete("seg/large").await.expect("removed");
    later().await;
    let after = chrono::Utc::now();

    let past = server.store_at(before);
    assert_eq!(names(&past, "").await, ["seg/a", "seg/b", "seg/large"]);
    assert_eq!(content(&past, "seg/a").await, b"first");
    assert_eq!(past.get_range("seg/a", 1, 3).await.expect("a range"), "irs");
    assert!(content(&past, "seg/large").await == vec![7; LARGE]);
    assert!(matches!(
        past.get("seg/c").await.err(),
        Some(StoreError::NotFound { .. })
    ));
    assert_eq!(past.list("seg/l").await.expect("listed")[0].bytes, LARGE as u64);
    // A body that breaks off goes on with the same version.
    server.plan(Method::GET, "seg/large", Trouble::Cut(100_000), 2);
    assert!(content(&past, "seg/large").await == vec![7; LARGE]);
    assert!(server.played());
    for refused in [
        past.put("seg/d", body(b"x"), Put::Create).await.map(|_| ()),
        past.delete("seg/a").await,
    ] {
        let error = arkwright::model::chain(&refused.expect_err("the past is not written to"));
        assert!(error.contains("as it was"), "{error}");
    }
    let now = server.store_at(after);
    assert_eq!(names(&now, "").await, ["seg/a", "seg/b", "seg/c"]);
    assert_eq!(content(&now, "seg/a").await, b"replaced by somebody");
    let nothing = server.store_at(before - chrono::TimeDelta::days(1));
    assert_eq!(names(&nothing, "").await, Vec::<String>::new());
    server.plan(
        Method::GET,
        "version-id-marker",
        Trouble::Refuse(500, "InternalError"),
        usize::MAX,
    );
    assert!(server.store_at(before).list("").await.is_err(), "half a past is none");
}
