use std::time::Duration;

use arkwright::ports::{ByteStream, Put, Store, StoreError};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::Method;
use serde_json::json;

use super::contract::{content, names};
use super::server::{Server, Trouble, tree};

const MIB: usize = 1 << 20;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 3 % 253) as u8).collect()
}

fn large(bytes: &[u8]) -> ByteStream {
    let chunks: Vec<std::io::Result<Bytes>> = bytes.chunks(300_001).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    Box::pin(stream::iter(chunks))
}

/// What a test leaves in the bucket beside objects, and what is remembered of it.
async fn nothing_is_left(server: &Server) {
    for _ in 0..100 {
        let remembered = std::fs::read_dir(server.unfinished()).map_or(0, Iterator::count);
        if server.settings().uploads.is_empty() && remembered == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("an upload is left");
}

#[tokio::test]
async fn a_large_object_goes_in_parts_and_comes_back() {
    let server = Server::start().await;
    for more in [
        json!({}),
        json!({ "checksums": "sha256" }),
        json!({ "checksums": "none" }),
    ] {
        let store = server.store_with(more);
        for length in [8 * MIB, 16 * MIB, 29 * MIB + 17] {
            let bytes = pattern(length);
            let wrote = store.put("seg/a", large(&bytes), Put::Create).await.expect("put");
            assert_eq!(wrote as usize, length);
            assert!(content(&store, "seg/a").await == bytes, "{length} bytes");
            let again = store.put("seg/a", large(&bytes), Put::Create).await;
            assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
            nothing_is_left(&server).await;
            store.delete("seg/a").await.expect("deleted");
        }
    }
    let most = server.settings().most_parts_at_once;
    assert!((1..=3).contains(&most), "{most} parts at once");
}

#[tokio::test]
async fn a_large_body_that_breaks_or_is_given_up_leaves_nothing() {
    let server = Server::start().await;
    let store = server.store();
    let broken = large(&pattern(20 * MIB)).chain(stream::iter([Err(std::io::Error::other("gone"))]));
    let refused = store.put("seg/a", Box::pin(broken), Put::Create).await;
    assert!(arkwright::model::chain(&refused.expect_err("broken")).contains("gone"));
    nothing_is_left(&server).await;
    let endless = large(&pattern(20 * MIB)).chain(stream::pending());
    let put = store.put("seg/a", Box::pin(endless), Put::Create);
    assert!(tokio::time::timeout(Duration::from_secs(3), put).await.is_err());
    nothing_is_left(&server).await;
    assert_eq!(server.seen(Method::POST, "uploads").len(), 2, "both were begun");
    assert_eq!(names(&store, "").await, Vec::<String>::new());
}

#[tokio::test]
async fn parts_and_answers_that_fail_are_sent_again() {
    let server = Server::start().await;
    let store = server.store();
    let bytes = pattern(20 * MIB);
    for trouble in [
        Trouble::Refuse(500, "InternalError"),
        Trouble::Refuse(503, "SlowDown"),
        Trouble::Reset,
        Trouble::Lost,
    ] {
        server.plan(Method::PUT, "partNumber=2", trouble.clone(), 2);
        server.plan(Method::POST, "uploadId", trouble.clone(), 1);
        server.plan(Method::POST, "uploads", trouble.clone(), 1);
        let wrote = store.put("seg/a", large(&bytes), Put::Create).await;
        assert_eq!(wrote.expect("written") as usize, bytes.len(), "{trouble:?}");
        assert!(content(&store, "seg/a").await == bytes);
        assert!(server.played(), "{trouble:?}");
        // Nor is the upload whose answer was lost.
        nothing_is_left(&server).await;
        server.clear();
        store.delete("seg/a").await.expect("deleted");
    }
}

#[tokio::test]
async fn a_part_that_cannot_be_sent_fails_the_object_and_nothing_is_left() {
    let server = Server::start().await;
    let store = server.store();
    for (method, part) in [
        (Method::PUT, "partNumber=2"),
        (Method::POST, "uploadId"),
        (Method::POST, "uploads"),
    ] {
        server.plan(method, part, Trouble::Refuse(503, "SlowDown"), usize::MAX);
        assert!(
            store
                .put("seg/a", large(&pattern(20 * MIB)), Put::Create)
                .await
                .is_err()
        );
        assert_eq!(names(&store, "").await, Vec::<String>::new());
        server.clear();
        // What could not be asked for is looked for by the next.
        let next = server.store();
        next.put("seg/next", large(b"x"), Put::Replace).await.expect("put");
        nothing_is_left(&server).await;
        next.delete("seg/next").await.expect("deleted");
    }
    assert!(
        tree(&server).keys().all(|name| name.contains(".arkwright/")),
        "{:?}",
        tree(&server).keys()
    );
}

#[tokio::test]
async fn what_a_killed_process_left_is_removed_by_the_next() {
    let server = Server::start().await;
    let (with_id, without_id) = (
        server.unfinished().join("0a.upload"),
        server.unfinished().join("0b.upload"),
    );
    // Another process begins two uploads, learns the id of one, and is killed.
    server.plan(
        Method::DELETE,
        "uploadId",
        Trouble::Refuse(403, "AccessDenied"),
        usize::MAX,
    );
    for (name, path) in [("seg/a", &with_id), ("seg/b", &without_id)] {
        server.plan(Method::PUT, "partNumber=2", Trouble::Refuse(403, "AccessDenied"), 1);
        assert!(
            server
                .store()
                .put(name, large(&pattern(20 * MIB)), Put::Create)
                .await
                .is_err()
        );
        let left = std::fs::read_dir(server.unfinished())
            .expect("there")
            .map(|entry| entry.expect("an entry").path());
        let left: Vec<_> = left
            .filter(|left| left.extension().is_some_and(|suffix| suffix == "upload"))
            .collect();
        let fresh = left
            .iter()
            .find(|left| ![&with_id, &without_id].contains(left))
            .expect("remembered");
        std::fs::rename(fresh, path).expect("moved");
    }
    let mut text: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&without_id).expect("read")).expect("an entry");
    text["id"] = serde_json::Value::Null;
    std::fs::write(&without_id, text.to_string()).expect("written");
    assert_eq!(server.settings().uploads.len(), 2);
    // Parts are seen for a while after an abort.
    server.clear();
    server.plan(Method::DELETE, "uploadId", Trouble::Refuse(500, "InternalError"), 1);
    let store = server.store();
    store
        .put("man/0000000001.json", large(b"{}"), Put::Create)
        .await
        .expect("put");
    assert!(server.settings().uploads.is_empty());
    assert!(!with_id.exists() && !without_id.exists());
}
