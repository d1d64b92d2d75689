//! A stack of 300 services: how long it takes to load and to work out what its containers should be.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use arkwright::plan::desired::{HostFolders, container};
use arkwright::stack::{LoadRequest, Loaded, load};
use arkwright::state::Disk;

fn generated(services: u32) -> Loaded {
    let folder = tempfile::tempdir().expect("a folder");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/generate-stack");
    let output = Command::new(script).arg(services.to_string()).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(folder.path().join("compose.yaml"), output.stdout).expect("written");
    let request = LoadRequest {
        env: BTreeMap::from([("HOME".to_owned(), "/home/u".to_owned())]),
        current_dir: folder.path().to_path_buf(),
        ..LoadRequest::default()
    };
    load(&request, &Disk).unwrap_or_else(|error| panic!("{error}"))
}

/// From text to container specifications.
fn took(services: u32) -> Duration {
    let begun = Instant::now();
    let loaded = generated(services);
    let folders = HostFolders {
        files: "/s/files".into(),
        router_config: "/s/router".into(),
        router_run: "/s/run".into(),
        standby: "/s/standby".into(),
    };
    let mut count = 0;
    for service in loaded.stack.services.values() {
        container(&loaded.stack, service, 1, &folders).unwrap_or_else(|error| panic!("{error}"));
        count += 1;
    }
    assert_eq!(count, services);
    begun.elapsed()
}

/// Generous, because an unoptimised build on a busy machine runs this too.
#[test]
fn hundreds_of_services_load_in_moments() {
    let some = took(300);
    assert!(some < Duration::from_secs(10), "{some:?}");
}

/// Ten times the services take about ten times as long; a hundred times would be the square, and a busy machine is between.
#[test]
fn time_grows_with_the_stack_and_not_with_its_square() {
    let fewest = |services| (0..3).map(|_| took(services)).min().unwrap_or_default();
    let (some, many) = (fewest(200), fewest(2_000));
    assert!(many < some * 40, "{some:?} for 200, {many:?} for 2000");
}
