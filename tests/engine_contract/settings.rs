use std::collections::BTreeMap;

use arkwright::plan::{ContainerSpec, NetworkAttachment, SpecMount};
use arkwright::ports::{Engine, EngineError};
use arkwright::stack::{Logging, Resources};

use crate::bench::{Bench, until};

pub async fn unicode_and_odd_characters_arrive_in_environment_and_labels(bench: &Bench) {
    let odd = "方舟 ñ \"quoted\" 'single' $HOME ${x} a=b\nsecond line\ttab";
    let mut spec = bench.sleeper("odd");
    spec.environment.insert("ODD".into(), odd.into());
    spec.environment.insert("EMPTY".into(), String::new());
    spec.labels.insert("ark.odd".into(), odd.into());
    spec.labels.insert("ark.空".into(), "🛶".into());
    let id = bench.run(&spec).await;
    assert_eq!(
        bench
            .sh(&id, "printf '%s' \"$ODD\"; printf '%s' \"${EMPTY-unset}\"")
            .await,
        odd
    );
    let seen = bench.look(&id).await;
    assert_eq!((seen.label("ark.odd"), seen.label("ark.空")), (Some(odd), Some("🛶")));
}

pub async fn an_environment_of_a_hundred_kilobytes_arrives_whole(bench: &Bench) {
    let mut spec = bench.sleeper("large");
    for n in 0..10 {
        spec.environment
            .insert(format!("LARGE_{n}"), format!("{n}{}", "x".repeat(10 << 10)));
    }
    let id = bench.run(&spec).await;
    let total = bench.sh(&id, "env | grep '^LARGE_' | tr -d '\\n' | wc -c").await;
    assert_eq!(total.trim(), (10 * ("LARGE_0=0".len() + (10 << 10))).to_string());
}

pub async fn a_scratch_folder_is_as_large_as_it_says_on_a_root_that_cannot_be_written(bench: &Bench) {
    let spec = ContainerSpec {
        read_only: true,
        shm_size: Some(32 << 20),
        mounts: vec![SpecMount::Tmpfs {
            target: "/scratch".into(),
            size: Some(1 << 20),
            mode: Some(0o1777),
        }],
        user: Some("1000".into()),
        ..bench.sleeper("scratch")
    };
    let id = bench.run(&spec).await;
    let line = "head -c 500000 /dev/zero >/scratch/fits && echo fits; \
                head -c 5000000 /dev/zero >/scratch/not 2>/dev/null || echo full; \
                touch /etc/x 2>/dev/null || echo refused; df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d' ' -f2";
    assert_eq!(
        bench.sh(&id, line).await.lines().collect::<Vec<_>>(),
        ["fits", "full", "refused", "32768"]
    );
}

pub async fn groups_and_devices_are_there(bench: &Bench) {
    let spec = ContainerSpec {
        user: Some("1000:1001".into()),
        group_add: vec!["4321".into(), "daemon".into()],
        devices: vec!["/dev/zero:/dev/ark:r".into()],
        ..bench.sleeper("groups")
    };
    let id = bench.run(&spec).await;
    let groups = bench.sh(&id, "id -G").await;
    let mut groups: Vec<&str> = groups.split_whitespace().collect();
    groups.sort_unstable();
    assert_eq!(groups, ["1", "1001", "4321"]);
    assert_eq!(
        bench.sh(&id, "head -c 4 /dev/ark | od -An -tx1").await.trim(),
        "00 00 00 00"
    );
}

pub async fn names_are_looked_up_as_asked(bench: &Bench) {
    let spec = ContainerSpec {
        dns: vec!["192.0.2.53".into()],
        dns_search: vec!["ark.test".into()],
        dns_opt: vec!["ndots:3".into()],
        extra_hosts: vec!["ararat:192.0.2.77".into(), "six:2001:db8::7".into()],
        hostname: Some("ark".into()),
        ..bench.sleeper("names")
    };
    let id = bench.run(&spec).await;
    let resolv = bench.sh(&id, "cat /etc/resolv.conf").await;
    for part in ["nameserver 192.0.2.53", "search ark.test", "ndots:3"] {
        assert!(resolv.contains(part), "{part}: {resolv}");
    }
    let hosts = bench
        .sh(&id, "getent hosts ararat; getent hosts six; hostname; getent hosts ark")
        .await;
    assert!(hosts.contains("192.0.2.77") && hosts.contains("2001:db8::7"), "{hosts}");
    assert_eq!(
        hosts
            .lines()
            .filter(|line| line.split_whitespace().any(|word| word == "ark"))
            .count(),
        2,
        "{hosts}"
    );
}

pub async fn memory_processes_and_processors_are_limited(bench: &Bench) {
    let spec = ContainerSpec {
        resources: Resources {
            memory: Some(64 << 20),
            pids: Some(50),
            cpus: Some(0.5),
            ..Resources::default()
        },
        ..bench.sleeper("limits")
    };
    let id = bench.run(&spec).await;
    // Version 1 of the control groups beside version 2.
    let line = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; \
                cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; \
                cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max";
    let text = bench.sh(&id, line).await;
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [(64 << 20).to_string().as_str(), "50", "50000"]
    );
}

/// A Podman host without catatonit cannot; it has to be told so, not started without.
pub async fn init_is_process_one_or_a_clear_refusal(bench: &Bench) {
    let spec = ContainerSpec {
        init: Some(true),
        ..bench.sleeper("init")
    };
    let started = match bench.engine.create_container(&spec).await {
        Ok(id) => bench.engine.start_container(&id).await.map(|()| id),
        Err(error) => Err(error),
    };
    match started {
        Ok(id) => {
            let first = bench.sh(&id, "tr '\\0' ' ' </proc/1/cmdline").await;
            assert!(!first.starts_with("sleep"), "{first}");
        }
        Err(error) => {
            assert!(bench.podman(), "Docker brings its own: {error}");
            assert!(matches!(error, EngineError::Unsupported { .. }), "{error:?}");
            assert!(error.to_string().contains("install it or remove `init`"), "{error}");
        }
    }
}

pub async fn the_log_driver_local_works_or_is_a_clear_refusal(bench: &Bench) {
    let spec = ContainerSpec {
        logging: Some(Logging {
            driver: Some("local".into()),
            options: BTreeMap::new(),
        }),
        ..bench.spec("logged", &["echo", "a line"])
    };
    match bench.engine.create_container(&spec).await {
        Ok(id) => {
            assert!(!bench.podman());
            bench.engine.start_container(&id).await.expect("started");
            bench.engine.wait_exit(&id).await.expect("an exit");
            until("the line", || async {
                bench.engine.logs(&id, 5).await.expect("logs").contains("a line")
            })
            .await;
        }
        Err(error) => {
            assert!(
                bench.podman() && matches!(error, EngineError::Unsupported { .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("change `logging.driver`"), "{error}");
        }
    }
}

pub async fn logs_are_kept_within_the_size_asked_for(bench: &Bench) {
    let options = [("max-size", "20k"), ("max-file", "1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let spec = ContainerSpec {
        logging: Some(Logging {
            driver: Some("json-file".into()),
            options: options.into(),
        }),
        ..bench.spec(
            "rotated",
            &[
                "sh",
                "-c",
                "yes 0123456789012345678901234567890123456789 | head -n 5000; echo the end",
            ],
        )
    };
    let id = bench.run(&spec).await;
    bench.engine.wait_exit(&id).await.expect("an exit");
    until("the end", || async {
        bench.engine.logs(&id, 1).await.expect("logs").contains("the end")
    })
    .await;
    let kept = bench.engine.logs(&id, 10_000).await.expect("logs");
    assert!(
        kept.lines().count() < 2500,
        "{} of 5,000 lines are kept",
        kept.lines().count()
    );
}

pub async fn a_container_without_a_network_or_with_anothers_is_so(bench: &Bench) {
    let alone = ContainerSpec {
        network_mode: Some("none".into()),
        ..bench.sleeper("alone")
    };
    let id = bench.run(&alone).await;
    assert_eq!(
        bench
            .sh(
                &id,
                "ls /sys/class/net | grep -v -E '^(ifb|bonding|sit|tunl|ip6)' | tr '\\n' ' '"
            )
            .await
            .trim(),
        "lo"
    );

    let network = bench.network("shared").await;
    let host = ContainerSpec {
        networks: vec![NetworkAttachment {
            network: network.clone(),
            aliases: vec!["host".into()],
            ..NetworkAttachment::default()
        }],
        ..bench.sleeper("host")
    };
    let first = bench.run(&host).await;
    let guest = ContainerSpec {
        network_mode: Some(format!("container:{}", host.name)),
        ..bench.sleeper("guest")
    };
    let second = bench.run(&guest).await;
    let line = "cat /proc/net/fib_trie | grep -B1 'host LOCAL' | grep -v host | sort -u";
    assert_eq!(bench.sh(&first, line).await, bench.sh(&second, line).await);
    let ip = bench.look(&first).await.networks[&network].ip.expect("an address");
    assert!(bench.sh(&second, line).await.contains(&ip.to_string()));
}

pub async fn entrypoint_and_command_are_words_not_shell(bench: &Bench) {
    let spec = ContainerSpec {
        entrypoint: Some(vec!["printf".into(), "<%s>\\n".into()]),
        ..bench.spec("words", &["a b", "$HOME", "", "c;d"])
    };
    let id = bench.run(&spec).await;
    assert_eq!(bench.engine.wait_exit(&id).await.expect("an exit"), 0);
    until("the words", || async {
        bench.engine.logs(&id, 5).await.expect("logs").trim_end() == "<a b>\n<$HOME>\n<>\n<c;d>"
    })
    .await;
}

pub async fn a_terminal_is_one_and_its_log_is_read(bench: &Bench) {
    let spec = ContainerSpec {
        tty: true,
        stdin_open: true,
        ..bench.spec("terminal", &["sh", "-c", "test -t 1 && echo a terminal; exit 0"])
    };
    let id = bench.run(&spec).await;
    assert_eq!(bench.engine.wait_exit(&id).await.expect("an exit"), 0);
    until("the log", || async {
        bench.engine.logs(&id, 5).await.expect("logs").contains("a terminal")
    })
    .await;
}

pub async fn capabilities_are_added_to_none(bench: &Bench) {
    let spec = ContainerSpec {
        cap_drop: vec!["ALL".into()],
        cap_add: vec!["NET_BIND_SERVICE".into(), "CAP_CHOWN".into()],
        security_opt: vec!["no-new-privileges:true".into()],
        ..bench.sleeper("capable")
    };
    let id = bench.run(&spec).await;
    let line = "grep -E '^(CapEff|NoNewPrivs)' /proc/1/status | tr -d '\\t'";
    // Bits 10 and 0.
    assert_eq!(bench.sh(&id, line).await, "CapEff:0000000000000401\nNoNewPrivs:1\n");
}
