use arkwright::ports::{Put, Store};
use arkwright::store::FsStore;

use super::contract::{body, contract, names};

#[tokio::test]
async fn a_disk_keeps_the_contract() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FsStore::create(folder.path().join("backups")).expect("made");
    contract(&store).await;
}

#[tokio::test]
async fn a_disk_that_is_not_mounted_is_not_an_empty_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backups");
    assert!(FsStore::open(&path).is_err());
    let store = FsStore::create(&path).expect("made");
    store.put("seg/a", body(b"x"), Put::Create).await.expect("put");
    std::fs::remove_dir_all(&path).expect("unmounted");
    assert!(store.list("seg/").await.is_err());
    assert!(store.put("seg/b", body(b"x"), Put::Create).await.is_err());
    assert!(!path.exists());
}

#[tokio::test]
async fn foreign_files_on_the_disk_are_no_objects() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FsStore::open(folder.path()).expect("there");
    std::fs::create_dir(folder.path().join("lost+found")).expect("made");
    std::fs::write(folder.path().join("README.txt"), "x").expect("written");
    std::fs::write(folder.path().join(".hidden"), "x").expect("written");
    assert_eq!(names(&store, "").await, Vec::<String>::new());
}
