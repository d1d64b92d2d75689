use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use arkwright::model::Digest;
use arkwright::plan::{ContainerSpec, SpecMount, VolumeSpec, labels};
use arkwright::ports::{ByteStream, Engine, EngineError, InnerProgram, ProgramFailed};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::bench::{Bench, until};
use crate::cut::Cut;

fn shell(line: &str, input: Option<ByteStream>) -> InnerProgram {
    InnerProgram {
        words: ["sh", "-c", line].map(str::to_owned).to_vec(),
        input,
        silence: Duration::from_secs(60),
    }
}

async fn all(stream: ByteStream) -> std::io::Result<Vec<u8>> {
    let read = stream.try_fold(Vec::new(), |mut all, chunk| async move {
        all.extend_from_slice(&chunk);
        Ok(all)
    });
    tokio::time::timeout(Duration::from_secs(120), read)
        .await
        .expect("it ends")
}

fn failed(error: &std::io::Error) -> &ProgramFailed {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.unwrap_or_else(|| panic!("{error:?}"))
}

async fn gone(bench: &Bench, id: &arkwright::model::ContainerId, seconds: &str) {
    until("the program is gone", || async {
        let line = format!(
            "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep {}[{}]' || true",
            &seconds[..2],
            &seconds[2..]
        );
        bench.sh(id, &line).await.trim() == "0"
    })
    .await;
}

pub async fn output_of_any_size_comes_out_whole(bench: &Bench) {
    let id = bench.run(&bench.sleeper("large")).await;
    let line = "head -c 40000000 /dev/urandom >/tmp/x; sha256sum </tmp/x >&2; cat /tmp/x; sha256sum </tmp/x >/tmp/sum";
    let stream = bench.engine.stream_exec(&id, shell(line, None)).await.expect("started");
    let bytes = all(stream).await.expect("read");
    assert_eq!(bytes.len(), 40_000_000);
    let sum = bench.sh(&id, "cat /tmp/sum").await;
    assert_eq!(sum.split(' ').next(), Some(Digest::of(&bytes).hex().as_str()));
}

pub async fn input_goes_in_and_its_end_is_seen(bench: &Bench) {
    let id = bench.run(&bench.sleeper("input")).await;
    let chunks: Vec<std::io::Result<Bytes>> = (0..300u32).map(|n| Ok(Bytes::from(vec![n as u8; 40_001]))).collect();
    let whole: Vec<u8> = chunks.iter().flatten().flatten().copied().collect();
    let input: ByteStream = Box::pin(stream::iter(chunks));
    let line = "sleep 1; sha256sum; echo done";
    let stream = bench
        .engine
        .stream_exec(&id, shell(line, Some(input)))
        .await
        .expect("started");
    let said = String::from_utf8(all(stream).await.expect("read")).expect("text");
    assert_eq!(said, format!("{}  -\ndone\n", Digest::of(&whole).hex()));
    // Both ways at once, and a program that has enough before the end.
    let input: ByteStream = Box::pin(stream::iter(
        (0..400).map(|_| Ok(Bytes::from(vec![7u8; 50_000]))).collect::<Vec<_>>(),
    ));
    let stream = bench.engine.stream_exec(&id, shell("cat", Some(input))).await;
    assert_eq!(all(stream.expect("started")).await.expect("read").len(), 20_000_000);
    let input: ByteStream = Box::pin(stream::iter(
        (0..400).map(|_| Ok(Bytes::from(vec![7u8; 50_000]))).collect::<Vec<_>>(),
    ));
    let stream = bench
        .engine
        .stream_exec(&id, shell("head -c 3", Some(input)))
        .await
        .expect("started");
    assert_eq!(all(stream).await.expect("read"), [7, 7, 7]);
}

pub async fn a_program_that_fails_after_its_output_is_an_error(bench: &Bench) {
    let id = bench.run(&bench.sleeper("fails")).await;
    let line = "head -c 200000 /dev/zero; echo first >&2; echo 'no room left' >&2; exit 3";
    let mut stream = bench.engine.stream_exec(&id, shell(line, None)).await.expect("started");
    let (mut bytes, mut error) = (0, None);
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => bytes += chunk.len(),
            Err(found) => error = Some(found),
        }
    }
    assert_eq!(bytes, 200_000);
    let error = error.expect("an error at the end");
    assert_eq!(failed(&error).exit_code, 3);
    assert_eq!(error.to_string(), "`sh` exited with 3: first; no room left");
    let stream = bench
        .engine
        .stream_exec(&id, shell("kill -9 $$", None))
        .await
        .expect("started");
    assert_eq!(failed(&all(stream).await.expect_err("killed")).exit_code, 137);
    let missing = InnerProgram {
        words: vec!["/no/such/program".into()],
        ..shell("", None)
    };
    match bench.engine.stream_exec(&id, missing).await {
        Err(EngineError::Refused { .. }) => {}
        Err(other) => panic!("{other:?}"),
        Ok(stream) => assert!(matches!(
            failed(&all(stream).await.expect_err("missing")).exit_code,
            126 | 127
        )),
    }
}

pub async fn output_nobody_reads_ends_the_program(bench: &Bench) {
    let id = bench.run(&bench.sleeper("dropped")).await;
    let stream = bench
        .engine
        .stream_exec(&id, shell("echo begun; sleep 347", None))
        .await
        .expect("started");
    until("it runs", || async {
        bench
            .sh(
                &id,
                "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep 34[7]' || true",
            )
            .await
            .trim()
            != "0"
    })
    .await;
    drop(stream);
    gone(bench, &id, "347").await;
}

pub async fn input_that_breaks_ends_the_program_before_it_sees_an_end(bench: &Bench) {
    let id = bench.run(&bench.sleeper("broken")).await;
    let input: ByteStream = Box::pin(stream::iter([
        Ok(Bytes::from_static(b"half")),
        Err(std::io::Error::other("a bad disk")),
    ]));
    let line = "cat >/tmp/taken; touch /tmp/whole; sleep 348";
    let stream = bench
        .engine
        .stream_exec(&id, shell(line, Some(input)))
        .await
        .expect("started");
    let error = all(stream).await.expect_err("broken");
    assert_eq!(error.to_string(), "a bad disk");
    gone(bench, &id, "348").await;
    assert_eq!(bench.sh(&id, "ls /tmp/whole 2>/dev/null || echo none").await, "none\n");
}

pub async fn a_silent_program_is_ended(bench: &Bench) {
    let id = bench.run(&bench.sleeper("silent")).await;
    let program = InnerProgram {
        silence: Duration::from_secs(2),
        ..shell("echo begun; sleep 349", None)
    };
    let stream = bench.engine.stream_exec(&id, program).await.expect("started");
    let error = all(stream).await.expect_err("silent");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<EngineError>());
    assert!(
        matches!(inner, Some(EngineError::Timeout { seconds: 2, .. })),
        "{error:?}"
    );
    gone(bench, &id, "349").await;
}

pub async fn a_stream_that_ends_before_its_program_is_not_whole(bench: &Bench) {
    let cut = Cut::before(bench);
    let through = cut.bench(bench).await;
    let id = bench.run(&bench.sleeper("early")).await;
    let stream = through.engine.stream_exec(&id, shell("echo begun; sleep 346", None));
    let mut stream = stream.await.expect("started");
    let begun = stream.next().await.expect("output").expect("read");
    assert_eq!(begun, &b"begun\n"[..]);
    cut.hang_up();
    let error = all(stream).await.expect_err("cut short");
    let told = "the engine ended the stream before the program ended";
    assert!(error.to_string().starts_with(told), "{error}");
    gone(bench, &id, "346").await;
}

pub async fn a_program_in_what_does_not_run_is_refused(bench: &Bench) {
    let id = bench.run(&bench.sleeper("stopped")).await;
    bench.engine.stop_container(&id, None).await.expect("stopped");
    let Err(error) = bench.engine.stream_exec(&id, shell("true", None)).await else {
        panic!("it ran")
    };
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    bench.engine.remove_container(&id).await.expect("removed");
    let Err(error) = bench.engine.stream_exec(&id, shell("true", None)).await else {
        panic!("it ran")
    };
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
}

pub async fn a_folder_and_a_volume_come_out_as_an_archive(bench: &Bench) {
    let volume = bench.name("data");
    let spec = VolumeSpec {
        name: volume.clone(),
        labels: [(labels::PROJECT.to_owned(), bench.project.to_string())].into(),
        ..VolumeSpec::default()
    };
    bench.engine.create_volume(&spec).await.expect("a volume");
    let mount = |target: &str| SpecMount::Volume {
        source: Some(volume.clone()),
        target: target.into(),
        read_only: false,
        nocopy: true,
    };
    let writer = ContainerSpec {
        mounts: vec![mount("/data")],
        ..bench.sleeper("writer")
    };
    let id = bench.run(&writer).await;
    bench
        .sh(
            &id,
            "mkdir -p /data/a/b && echo one >/data/a/one && head -c 3000000 /dev/zero >/data/a/b/big && ln -s one /data/a/link",
        )
        .await;
    // Never started, and the volume is in it.
    let reader = ContainerSpec {
        mounts: vec![mount("/elsewhere/volume")],
        ..bench.sleeper("reader")
    };
    let reader = bench.engine.create_container(&reader).await.expect("created");
    for (id, path, top) in [(&id, "/data", "data"), (&reader, "/elsewhere/volume", "volume")] {
        let bytes = all(bench.engine.read_path(id, path).await.expect("an archive"))
            .await
            .expect("read");
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut found = BTreeMap::new();
        for member in archive.entries().expect("an archive") {
            let mut member = member.expect("a member");
            let name = member.path().expect("a path").display().to_string();
            let mut content = Vec::new();
            member.read_to_end(&mut content).expect("read");
            let name = name.trim_matches('/');
            let name = name.strip_prefix(top).unwrap_or(name).trim_start_matches('/');
            found.insert(name.to_owned(), content.len());
        }
        assert_eq!(
            found,
            [
                ("", 0),
                ("a", 0),
                ("a/b", 0),
                ("a/b/big", 3_000_000),
                ("a/link", 0),
                ("a/one", 4)
            ]
            .map(|(name, size)| (name.to_owned(), size))
            .into(),
            "{path}"
        );
    }
    let Err(error) = bench.engine.read_path(&id, "/data/none").await else {
        panic!("nothing was read")
    };
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
}
