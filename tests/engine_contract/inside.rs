use std::time::{Duration, Instant};

use arkwright::plan::ContainerSpec;
use arkwright::ports::{Engine, EngineError};
use arkwright::stack::Ulimit;
use futures_util::TryStreamExt;

use crate::bench::{Bench, until};

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

pub async fn a_command_runs_inside_and_its_streams_are_apart(bench: &Bench) {
    let id = bench.run(&bench.sleeper("exec")).await;
    let command = words(["sh", "-c", "printf out; printf err >&2; exit 3"]);
    let output = bench
        .engine
        .exec(&id, &command, Duration::from_secs(20))
        .await
        .expect("run");
    assert_eq!(
        (output.exit_code, &output.stdout[..], &output.stderr[..]),
        (3, &b"out"[..], &b"err"[..])
    );
    // No shell in between: a word is a word.
    let output = bench
        .engine
        .exec(&id, &words(["echo", "$HOME; a  b"]), Duration::from_secs(20))
        .await
        .expect("run");
    assert_eq!(output.stdout, b"$HOME; a  b\n");

    bench.engine.stop_container(&id, None).await.expect("stopped");
    let error = bench
        .engine
        .exec(&id, &words(["true"]), Duration::from_secs(20))
        .await
        .expect_err("not running");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    bench.engine.remove_container(&id).await.expect("removed");
    let error = bench
        .engine
        .exec(&id, &words(["true"]), Duration::from_secs(20))
        .await
        .expect_err("gone");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
}

pub async fn a_commands_output_is_bounded(bench: &Bench) {
    let id = bench.run(&bench.sleeper("much")).await;
    let command = words(["sh", "-c", "head -c 3000000 /dev/zero; echo end >&2"]);
    let output = bench
        .engine
        .exec(&id, &command, Duration::from_secs(60))
        .await
        .expect("run");
    assert_eq!((output.exit_code, output.stdout.len()), (0, 1 << 20));
    assert_eq!(output.stderr, b"end\n");
}

pub async fn a_command_that_takes_too_long_is_killed(bench: &Bench) {
    let id = bench.run(&bench.sleeper("slow")).await;
    let began = Instant::now();
    let error = bench
        .engine
        .exec(&id, &words(["sleep", "345"]), Duration::from_secs(2))
        .await
        .expect_err("too long");
    assert!(matches!(error, EngineError::Timeout { seconds: 2, .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
    until("the command is gone", || async {
        let line = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep 34[5]' || true";
        bench.sh(&id, line).await.trim() == "0"
    })
    .await;
}

pub async fn logs_give_the_newest_lines_of_both_streams(bench: &Bench) {
    let id = bench
        .run(&bench.spec(
            "logs",
            &["sh", "-c", "for i in 1 2 3 4 5; do echo out$i; done; echo err >&2"],
        ))
        .await;
    bench.engine.wait_exit(&id).await.expect("an exit");
    until("the last line is logged", || async {
        bench.engine.logs(&id, 100).await.expect("logs").lines().count() == 6
    })
    .await;
    let all = bench.engine.logs(&id, 100).await.expect("logs");
    assert!(all.contains("out1\n") && all.contains("err"), "{all:?}");
    let two = bench.engine.logs(&id, 2).await.expect("logs");
    assert_eq!(two.lines().count(), 2, "{two:?}");

    let wide = bench
        .run(&bench.spec("wide", &["sh", "-c", "yes 0123456789abcdef | head -n 40000"]))
        .await;
    bench.engine.wait_exit(&wide).await.expect("an exit");
    let newest = bench.engine.logs(&wide, 100_000).await.expect("logs");
    assert!(newest.len() > 100_000 && newest.len() <= 256 << 10, "{}", newest.len());
}

pub async fn a_line_written_in_pieces_is_logged_whole(bench: &Bench) {
    let pieces = "for i in 1 2 3; do printf a$i; sleep 0.1; printf b; sleep 0.1; echo c; done";
    let id = bench.run(&bench.spec("pieces", &["sh", "-c", pieces])).await;
    bench.engine.wait_exit(&id).await.expect("an exit");
    until("the last line is logged", || async {
        bench.engine.logs(&id, 100).await.expect("logs").contains("a3bc")
    })
    .await;
    for (tail, expected) in [(20, "a1bc\na2bc\na3bc\n"), (2, "a2bc\na3bc\n"), (1, "a3bc\n")] {
        let said = bench.engine.logs(&id, tail).await.expect("logs");
        assert_eq!(said, expected, "the newest {tail}");
    }
}

pub async fn logs_are_followed_to_the_end(bench: &Bench) {
    let id = bench
        .run(&bench.spec(
            "follow",
            &["sh", "-c", "echo one; sleep 1; echo two; sleep 1; echo three"],
        ))
        .await;
    let stream = bench.engine.follow_logs(&id, 100, true).await.expect("a stream");
    let read = async {
        let chunks: Vec<bytes::Bytes> = stream.try_collect().await.expect("read to the end");
        String::from_utf8(chunks.concat()).expect("text")
    };
    let text = tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .expect("it ends with the container");
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["one", "two", "three"]);
}

pub async fn what_a_specification_says_is_so_inside(bench: &Bench) {
    let spec = ContainerSpec {
        environment: [("GREETING".to_owned(), "a=b $x".to_owned())].into(),
        hostname: Some("ark".into()),
        user: Some("1000:1001".into()),
        working_dir: Some("/usr".into()),
        read_only: true,
        cap_drop: vec!["ALL".into()],
        security_opt: vec!["no-new-privileges:true".into()],
        sysctls: [("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned())].into(),
        ulimits: [("nofile".to_owned(), Ulimit { soft: 999, hard: 1000 })].into(),
        shm_size: Some(32 << 20),
        ..bench.sleeper("spec")
    };
    let id = bench.run(&spec).await;
    let line = "echo \"$GREETING|$(hostname)|$(id -u):$(id -g)|$(pwd)|$(grep 'open files' /proc/1/limits | tr -s ' ')\"; touch /x 2>/dev/null || echo read-only; \
                grep CapEff /proc/self/status; cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let text = bench.sh(&id, line).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..2],
        ["a=b $x|ark|1000:1001|/usr|Max open files 999 1000 files ", "read-only"]
    );
    assert!(lines[2].ends_with("0000000000000000"), "{text}");
    assert_eq!(lines[3], "0");
}

pub async fn what_a_command_that_takes_too_long_started_is_killed_with_it(bench: &Bench) {
    let id = bench.run(&bench.sleeper("tree")).await;
    let command = words(["sh", "-c", "sleep 346 & (sleep 346; true); true"]);
    let error = bench
        .engine
        .exec(&id, &command, Duration::from_secs(2))
        .await
        .expect_err("too long");
    assert!(matches!(error, EngineError::Timeout { seconds: 2, .. }), "{error:?}");
    until("its children are gone", || async {
        let line = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep 34[6]' || true";
        bench.sh(&id, line).await.trim() == "0"
    })
    .await;
    assert!(bench.look(&id).await.running(), "the container itself goes on");
}
