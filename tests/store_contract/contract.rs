use arkwright::ports::{ByteStream, Put, Store, StoreError};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

pub fn body(bytes: &[u8]) -> ByteStream {
    let chunks: Vec<std::io::Result<Bytes>> = bytes.chunks(7).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    Box::pin(stream::iter(chunks))
}

pub async fn content(store: &dyn Store, name: &str) -> Vec<u8> {
    let chunks: Vec<Bytes> = store.get(name).await.expect("there").try_collect().await.expect("read");
    chunks.concat()
}

pub async fn names(store: &dyn Store, prefix: &str) -> Vec<String> {
    let objects = store.list(prefix).await.expect("listed");
    objects.into_iter().map(|object| object.name).collect()
}

pub async fn contract(store: &dyn Store) {
    // Empty.
    assert_eq!(names(store, "").await, Vec::<String>::new());
    assert_eq!(names(store, "seg/").await, Vec::<String>::new());
    assert!(matches!(
        store.get("seg/a").await.err(),
        Some(StoreError::NotFound { .. })
    ));

    // What is put is read back, whole and by range, and listed in order.
    assert_eq!(
        store
            .put("seg/b.tar.age", body(b"0123456789"), Put::Create)
            .await
            .expect("put"),
        10
    );
    assert_eq!(
        store.put("seg/a.tar.age", body(b""), Put::Create).await.expect("put"),
        0
    );
    assert_eq!(
        store
            .put("man/0000000001.json", body(b"{}"), Put::Create)
            .await
            .expect("put"),
        2
    );
    assert_eq!(content(store, "seg/b.tar.age").await, b"0123456789");
    assert_eq!(content(store, "seg/a.tar.age").await, b"");
    assert_eq!(store.get_range("seg/b.tar.age", 3, 4).await.expect("range"), "3456");
    assert!(store.get_range("seg/b.tar.age", 8, 3).await.is_err());
    assert!(store.get_range("seg/b.tar.age", u64::MAX, 1).await.is_err());
    assert_eq!(names(store, "seg/").await, ["seg/a.tar.age", "seg/b.tar.age"]);
    assert_eq!(
        names(store, "").await,
        ["man/0000000001.json", "seg/a.tar.age", "seg/b.tar.age"]
    );
    assert_eq!(names(store, "seg/b").await, ["seg/b.tar.age"]);
    let listed = store.list("seg/b").await.expect("listed");
    assert_eq!(listed[0].bytes, 10);

    // A taken name is refused, and what was there stays.
    let again = store.put("man/0000000001.json", body(b"other"), Put::Create).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    assert_eq!(content(store, "man/0000000001.json").await, b"{}");
    store
        .put("man/0000000001.json", body(b"other"), Put::Replace)
        .await
        .expect("replaced");
    assert_eq!(content(store, "man/0000000001.json").await, b"other");

    // Of those who want a name at once, one gets it.
    let tries = (0..8u8).map(|n| async move {
        store
            .put("man/0000000002.json", body(&[n; 50]), Put::Create)
            .await
            .is_ok()
    });
    let won: Vec<bool> = futures_util::future::join_all(tries).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let one = content(store, "man/0000000002.json").await;
    assert!(one.len() == 50 && one.iter().all(|b| *b == one[0]));

    // A body that breaks leaves nothing.
    let broken = body(b"half").chain(stream::iter([Err(std::io::Error::other("gone"))]));
    assert!(store.put("seg/c.tar.age", Box::pin(broken), Put::Create).await.is_err());
    assert!(matches!(
        store.get("seg/c.tar.age").await.err(),
        Some(StoreError::NotFound { .. })
    ));

    // A writer that is dropped leaves nothing.
    let endless = body(b"half").chain(stream::pending());
    let dropped = tokio::time::timeout(
        std::time::Duration::from_millis(50),
        store.put("seg/d.tar.age", Box::pin(endless), Put::Create),
    );
    assert!(dropped.await.is_err());
    assert_eq!(names(store, "seg/").await, ["seg/a.tar.age", "seg/b.tar.age"]);

    // Removing is removing, also twice.
    store.delete("seg/a.tar.age").await.expect("deleted");
    store.delete("seg/a.tar.age").await.expect("deleted again");
    assert_eq!(names(store, "seg/").await, ["seg/b.tar.age"]);

    // Names that lead elsewhere are none.
    for bad in [
        "",
        "/etc/passwd",
        "../x",
        "seg/../../x",
        "seg//x",
        "seg/.x",
        "SEG/x",
        "seg/x\n",
        "seg/",
    ] {
        let refused = store.put(bad, body(b"x"), Put::Replace).await;
        assert!(matches!(refused, Err(StoreError::BadName(_))), "{bad:?}");
        assert!(
            matches!(store.get(bad).await.err(), Some(StoreError::BadName(_))),
            "{bad:?}"
        );
        assert!(
            matches!(store.delete(bad).await, Err(StoreError::BadName(_))),
            "{bad:?}"
        );
    }
}
