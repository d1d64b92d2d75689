use arkwright::plan::ContainerSpec;
use arkwright::ports::{Engine, EngineError};
use arkwright::stack::Resources;

use crate::bench::{Bench, until};

pub async fn a_burning_processor_is_told_as_a_share_of_its_limit(bench: &Bench) {
    let burner = ContainerSpec {
        resources: Resources {
            cpus: Some(0.5),
            ..Resources::default()
        },
        ..bench.spec("burner", &["sh", "-c", "while :; do :; done"])
    };
    let (burner, idler) = (bench.run(&burner).await, bench.run(&bench.sleeper("idler")).await);
    let mut shares = Vec::new();
    for _ in 0..3 {
        let stats = bench.engine.stats(&burner).await.expect("figures");
        shares.push(stats.cpu.expect("a share"));
    }
    shares.sort_by(f64::total_cmp);
    // The machine may be busy with others; the kernel hands the share out in tenths of a second.
    assert!((0.6..1.2).contains(&shares[1]) && shares[2] > 0.8, "{shares:?}");
    let idle = bench.engine.stats(&idler).await.expect("figures").cpu.expect("a share");
    assert!((0.0..0.1).contains(&idle), "{idle}");
}

pub async fn memory_that_is_held_is_told_and_the_cache_of_files_is_not(bench: &Bench) {
    let holder = ContainerSpec {
        resources: Resources {
            memory: Some(400 << 20),
            ..Resources::default()
        },
        ..bench.spec("holder", &["perl", "-e", "my $x = 'x' x (64 << 20); sleep 600"])
    };
    let read = "head -c 104857600 /dev/zero > /f; cat /f > /dev/null; echo read; sleep 600";
    let (holder, reader) = (
        bench.run(&holder).await,
        bench.run(&bench.spec("reader", &["sh", "-c", read])).await,
    );
    until("64 MiB are held", || async {
        let stats = bench.engine.stats(&holder).await.expect("figures");
        stats.memory.is_some_and(|used| used >= 64 << 20)
    })
    .await;
    let stats = bench.engine.stats(&holder).await.expect("figures");
    assert!(stats.memory.is_some_and(|used| used < 200 << 20), "{stats:?}");
    assert_eq!(stats.memory_limit, Some(400 << 20));

    until("a file of 100 MiB was read", || async {
        bench.engine.logs(&reader, 10).await.expect("a log").contains("read")
    })
    .await;
    let stats = bench.engine.stats(&reader).await.expect("figures");
    assert!(
        stats.memory.is_some_and(|used| used > 0 && used < 60 << 20),
        "{stats:?}"
    );
    assert_eq!(stats.memory_limit, None);
}

pub async fn what_does_not_run_has_no_figures(bench: &Bench) {
    let id = bench.run(&bench.sleeper("still")).await;
    bench.engine.stop_container(&id, None).await.expect("stopped");
    let error = bench.engine.stats(&id).await.expect_err("it does not run");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    bench.engine.remove_container(&id).await.expect("removed");
    let error = bench.engine.stats(&id).await.expect_err("gone");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
}
