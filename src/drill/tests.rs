//! A drill alone: every step failed, every step repeated, and what it is called then.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::backup::{EntryPath, Link, Object};
use crate::config::{self, Config};
use crate::journal::{Event, Next, Outcome, Plan, Record, Request, Saga};
use crate::model::{Digest, Generation, OperationId, ServiceName, Span, Timestamp};
use crate::plan::{ContainerSpec, SpecMount};
use crate::stack::{Attachment, Condition, Dependency, Mount, Resources, Restart, Service, Stack, Volume};

use super::*;

pub(crate) fn service(name: &str, image: &str) -> Service {
    Service {
        name: name.parse().expect("a name"),
        image: Some(image.into()),
        build: None,
        container_name: None,
        command: None,
        entrypoint: None,
        environment: BTreeMap::new(),
        hostname: None,
        domainname: None,
        user: None,
        working_dir: None,
        restart: Restart::Always,
        restart_unenforced: Vec::new(),
        ports: Vec::new(),
        expose: Vec::new(),
        mounts: Vec::new(),
        networks: [("default".to_owned(), Attachment::default())].into(),
        network_mode: None,
        depends_on: BTreeMap::new(),
        healthcheck: None,
        logging: None,
        resources: Resources::default(),
        replicas: 1,
        labels: [("traefik.enable".to_owned(), "true".to_owned())].into(),
        stop_signal: None,
        stop_grace: None,
        init: None,
        privileged: false,
        read_only: false,
        tty: false,
        stdin_open: false,
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        security_opt: Vec::new(),
        extra_hosts: Vec::new(),
        dns: Vec::new(),
        dns_search: Vec::new(),
        dns_opt: Vec::new(),
        sysctls: BTreeMap::new(),
        ulimits: BTreeMap::new(),
        devices: Vec::new(),
        group_add: Vec::new(),
        shm_size: None,
        pid: None,
        ipc: None,
        userns_mode: None,
        secrets: Vec::new(),
        configs: Vec::new(),
        profiles: Vec::new(),
        platform: None,
        pull_policy: None,
    }
}

pub(crate) fn stack(project: &str, folder: &Path, services: Vec<Service>) -> Stack {
    Stack {
        name: project.parse().expect("a name"),
        folder: folder.to_path_buf(),
        files: vec![folder.join("compose.yaml")],
        read_files: Vec::new(),
        services: services.into_iter().map(|s| (s.name.clone(), s)).collect(),
        disabled: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: [(
            "redis-data".to_owned(),
            Volume {
                name: format!("{project}_redis-data"),
                external: false,
                driver: None,
                driver_opts: BTreeMap::new(),
                labels: BTreeMap::new(),
            },
        )]
        .into(),
        secrets: BTreeMap::new(),
        configs: BTreeMap::new(),
    }
}

pub(crate) fn bind(source: &str, target: &str) -> Mount {
    Mount::Bind {
        source: source.into(),
        target: target.into(),
        read_only: false,
        create_host_path: true,
        propagation: None,
        selinux: None,
    }
}

pub(crate) fn config(file: &Path, text: &str, stack: &Stack) -> Config {
    config::load(file, text, &stack.services.keys().cloned().collect()).expect("a configuration")
}

const YAML: &str = r#"
backups:
  recipients: [age1x]
  objectives: { rto: 1h, rpo: 24h }
  stores: { local: { path: ./backups } }
  sets:
    full: { sources: [{ sqlite: ./data/ark.db, newest: "select max(created_at) from files" }, { path: ./uploads }] }
drills:
  weekly:
    of: full
    boot: [backend, redis]
    checks:
      - { sqlite: ./data/ark.db, integrity: true }
      - { http: "backend:8081/api/health" }
      - { sqlite: ./data/ark.db, rows: all }
      - { sqlite: ./data/ark.db, files_exist: "select path from files", under: ./uploads }
"#;

fn ark() -> Stack {
    let mut backend = service("backend", "ark/backend:1");
    backend.mounts = vec![bind("/srv/ark/data", "/data"), bind("/srv/ark/uploads", "/uploads")];
    backend.environment = [
        ("REDIS_PASSWORD".to_owned(), Some("very-secret-1".to_owned())),
        ("TZ".to_owned(), Some("Asia/Taipei".to_owned())),
    ]
    .into();
    backend.depends_on = [(
        "redis".parse().expect("a name"),
        Dependency {
            condition: Condition::Healthy,
            required: true,
            restart: false,
        },
    )]
    .into();
    backend.extra_hosts = vec!["host.docker.internal:host-gateway".into()];
    let mut redis = service("redis", "ark/redis:7");
    redis.command = Some(vec![
        "redis-server".into(),
        "--requirepass".into(),
        "very-secret-1".into(),
    ]);
    redis.mounts = vec![Mount::Volume {
        source: Some("redis-data".into()),
        target: "/data".into(),
        read_only: false,
        nocopy: false,
    }];
    stack("ark", Path::new("/srv/ark"), vec![backend, redis])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_795_262_400 + seconds, 0).expect("a time")
}

fn operation() -> OperationId {
    OperationId::new(at(0), [1, 2])
}

fn planned() -> (DrillSubject, Plan<DrillStep>) {
    let stack = ark();
    let config = config(Path::new("/srv/ark/arkwright.yaml"), YAML, &stack);
    let mut next = 0u8;
    plan(&operation(), "weekly", &config, &stack, at(0), &mut |bytes| {
        for byte in bytes {
            next = next.wrapping_add(13);
            *byte = next;
        }
    })
    .expect("a plan")
}

/// What each step finds when all is well.
fn good(step: &DrillStep, subject: &DrillSubject) -> DrillOutput {
    let object = Object {
        name: "man/0000000001.json.age".into(),
        sha256: Digest::of(b"x"),
        bytes: 1,
    };
    match step {
        DrillStep::Choose => DrillOutput::Chosen(Box::new(Chosen {
            store: "disk /srv/ark/backups".into(),
            set: subject.set.clone(),
            generation: Generation(1),
            taken: at(-600),
            header: Link {
                generation: Generation(1),
                sha256: Digest::of(b"x"),
            },
            objects: vec![object],
            bytes: 1000,
            files: 1,
            kept_images: BTreeMap::new(),
            signer: "SHA256:x".into(),
            tool: "arkwright 0".into(),
            images: Vec::new(),
        })),
        DrillStep::Room => DrillOutput::Room(Room::default()),
        DrillStep::Restore => DrillOutput::Restored(Box::default()),
        DrillStep::Check(place) => {
            DrillOutput::Checked(CheckResult::passed(subject.checks[*place].name(), "good", "good"))
        }
        DrillStep::Newest => DrillOutput::Newest {
            newest: vec![NewestFound {
                database: subject.newest[0].database.clone(),
                newest: Some(at(-900)),
                why: None,
            }],
        },
        DrillStep::Images => DrillOutput::Images { images: Vec::new() },
        DrillStep::Seal => DrillOutput::Checked(CheckResult::passed("sealed", "no way out", "0 of 3")),
        DrillStep::Boot(service) => DrillOutput::Booted(Booted {
            result: CheckResult::passed(format!("boot {service}"), "ready", "healthy"),
            deviations: vec!["no production secrets".into()],
        }),
        DrillStep::Evidence => DrillOutput::Nothing,
        DrillStep::Teardown => DrillOutput::Cleared { objects: 4 },
    }
}

enum Twist {
    None,
    Fail(DrillStep),
    Find(DrillStep, DrillOutput),
    Repeat(DrillStep),
    Abort(DrillStep),
}

/// Runs a drill without a world; each step takes ten seconds.
fn run(twist: &Twist) -> (Saga<DrillStep>, Next<DrillStep>, Evidence) {
    let (subject, plan) = planned();
    let mut records = vec![Record {
        seq: 0,
        at: at(0),
        event: Event::Planned {
            subject: subject.clone(),
            plan,
            by: "a test".into(),
        },
    }];
    let mut now = 0;
    let mut evidence = None;
    let mut repeated = false;
    loop {
        let saga = Saga::replay(&records).expect("replays");
        let step = match saga.next(at(now)) {
            Next::Do(step) => step,
            Next::WaitUntil(..) => {
                now += 60;
                continue;
            }
            end => return (saga, end, evidence.expect("evidence is written whatever happens")),
        };
        if step == DrillStep::Evidence {
            evidence = Some(Evidence::of(&saga, ground()));
        }
        let mut push = |event, now| {
            let seq = records.len() as u64;
            records.push(Record {
                seq,
                at: at(now),
                event,
            });
        };
        push(Event::Began { step: step.clone() }, now);
        now += 10;
        match twist {
            Twist::Repeat(which) if *which == step && !repeated => repeated = true,
            Twist::Abort(which) if *which == step => push(
                Event::Requested {
                    request: Request::Abort,
                    by: "someone".into(),
                },
                now,
            ),
            Twist::Fail(which) if *which == step => push(
                Event::Failed {
                    step,
                    error: "told to".into(),
                },
                now,
            ),
            Twist::Find(which, output) if *which == step => push(
                Event::Finished {
                    step,
                    output: output.clone(),
                },
                now,
            ),
            _ => {
                let output = good(&step, &subject);
                push(Event::Finished { step, output }, now);
            }
        }
    }
}

fn ground() -> Ground {
    Ground {
        tools: Tools {
            arkwright: "arkwright 0".into(),
            engine: "docker 20.10".into(),
            architecture: "amd64".into(),
            key: "SHA256:y".into(),
        },
        previous: None,
    }
}

#[test]
fn files_are_checked_before_anything_runs_that_could_change_them() {
    let (_, plan) = planned();
    let backend: ServiceName = "backend".parse().expect("a name");
    let redis: ServiceName = "redis".parse().expect("a name");
    use DrillStep::*;
    let order = [
        Choose,
        Room,
        Restore,
        Check(0),
        Check(2),
        Check(3),
        Newest,
        Images,
        Seal,
        Boot(redis),
        Boot(backend),
        Check(1),
    ];
    assert_eq!(plan.forward, order);
    assert_eq!(plan.finally, [Evidence, Teardown]);
}

#[test]
fn a_drill_in_which_all_is_well_passes_with_its_times() {
    let (saga, end, evidence) = run(&Twist::None);
    assert_eq!(end, Next::Done(Outcome::Succeeded));
    assert_eq!(evidence.outcome, Word::Passed, "{:?}", evidence.because);
    assert_eq!(evidence.checks.len(), 7);
    assert_eq!(evidence.rto.measured, Some(Span::seconds(120)));
    assert_eq!(evidence.rpo.measured, Some(Span::seconds(900)));
    let restore = evidence
        .stages
        .iter()
        .find(|t| t.stage == Stage::Restore)
        .expect("timed");
    assert_eq!(restore.took, Span::seconds(10));
    let again = Evidence::of(&saga, ground());
    assert_eq!(again.checks, evidence.checks);
    let read: Evidence = serde_json::from_slice(&evidence.encode().expect("text")).expect("reads back");
    assert_eq!(read, evidence);
    let text = markdown(&evidence);
    for part in [
        "passed",
        "RTO | 2m 0s",
        "RPO | 15m 0s",
        "rows of data/ark.db",
        "| restore | 10.0 s |",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn no_step_may_fail_in_a_drill_that_passes() {
    let (_, plan) = planned();
    for step in &plan.forward {
        let (_, end, evidence) = run(&Twist::Fail(step.clone()));
        assert!(matches!(end, Next::Done(Outcome::Unwound { .. })), "{step}: {end:?}");
        let word = if step.is_about_the_host() {
            Word::Inconclusive
        } else {
            Word::Failed
        };
        assert_eq!(evidence.outcome, word, "{step}");
        assert_eq!(evidence.checks.len(), 7, "{step}: what was not reached is still listed");
        assert!(evidence.checks.iter().any(|check| check.verdict == Verdict::NotRun) || *step == DrillStep::Newest);
        assert_ne!(evidence.rto.verdict, Measure::Met, "{step}");
        assert!(
            evidence.because[0].contains("told to"),
            "{step}: {:?}",
            evidence.because
        );
    }
    // The closing steps are tried again until they succeed, and then someone has to look.
    for step in &plan.finally {
        let (_, end, evidence) = run(&Twist::Fail(step.clone()));
        assert!(matches!(end, Next::Stuck { .. }), "{step}: {end:?}");
        assert_eq!(evidence.outcome, Word::Passed);
    }
}

#[test]
fn a_step_that_is_repeated_changes_nothing() {
    let (_, plan) = planned();
    for step in plan.forward.iter().chain(&plan.finally) {
        let (_, end, evidence) = run(&Twist::Repeat(step.clone()));
        assert_eq!(end, Next::Done(Outcome::Succeeded), "{step}");
        assert_eq!(evidence.outcome, Word::Passed, "{step}");
    }
}

#[test]
fn an_abort_is_no_pass_wherever_it_comes() {
    let (_, plan) = planned();
    for step in &plan.forward {
        let (saga, end, evidence) = run(&Twist::Abort(step.clone()));
        assert!(matches!(end, Next::Done(Outcome::Aborted { .. })), "{step}");
        assert_eq!(evidence.outcome, Word::Aborted, "{step}");
        assert!(
            saga.finished().any(|(done, _, _)| *done == DrillStep::Teardown),
            "{step}"
        );
    }
}

#[test]
fn one_check_decides_the_word() {
    let failed = DrillOutput::Checked(CheckResult::failed("rows", "files 3", "files 2", "other rows"));
    let (_, end, evidence) = run(&Twist::Find(DrillStep::Check(2), failed));
    assert_eq!(
        end,
        Next::Done(Outcome::Succeeded),
        "a failing check is a finding, not a failed step"
    );
    assert_eq!(evidence.outcome, Word::Failed);
    assert_eq!(evidence.because, ["rows: FAILED: files 2 (other rows)"]);
    let unasked = DrillOutput::Checked(CheckResult::not_run("GET x", "200", "no probe"));
    let (_, _, evidence) = run(&Twist::Find(DrillStep::Check(1), unasked));
    assert_eq!(evidence.outcome, Word::Inconclusive);
}

#[test]
fn objectives_are_part_of_the_verdict() {
    let (subject, _) = planned();
    let newest = |newest| DrillOutput::Newest {
        newest: vec![NewestFound {
            database: subject.newest[0].database.clone(),
            newest,
            why: None,
        }],
    };
    let (_, _, evidence) = run(&Twist::Find(DrillStep::Newest, newest(Some(at(-86_401)))));
    assert_eq!(
        (evidence.outcome, evidence.rpo.verdict),
        (Word::Failed, Measure::Missed)
    );
    let (_, _, evidence) = run(&Twist::Find(DrillStep::Newest, newest(None)));
    assert_eq!(
        (evidence.outcome, evidence.rpo.verdict),
        (Word::Inconclusive, Measure::NotRun)
    );
    let (_, _, evidence) = run(&Twist::Find(DrillStep::Newest, newest(Some(at(3600)))));
    assert_eq!(
        (evidence.outcome, evidence.rpo.verdict),
        (Word::Inconclusive, Measure::NotRun)
    );
    let free = Measured::rpo(None, at(0), &[]);
    assert_eq!(free.verdict, Measure::NoObjective);
}

fn site<'a>(subject: &'a DrillSubject, shelter: &'a Shelter) -> Site<'a> {
    Site {
        operation: &subject.operation,
        project: &subject.project,
        deadline: subject.deadline,
        folder: &subject.folder,
        root: "/state/scratch/drill-x".into(),
        shelter,
    }
}

fn source_of<'a>(spec: &'a ContainerSpec, at: &str) -> Option<&'a PathBuf> {
    spec.mounts.iter().find_map(|mount| match mount {
        SpecMount::Bind { source, target, .. } if target == at => Some(source),
        _ => None,
    })
}

#[test]
fn a_guest_reaches_nothing_of_production() {
    let (subject, _) = planned();
    let written = serde_json::to_string(&subject).expect("text");
    assert!(
        !written.contains("very-secret-1"),
        "no production secret in the journal"
    );
    let shelter = Shelter::Network("ark-drill-000102-net".into());
    let site = site(&subject, &shelter);
    let backend = subject
        .guests
        .iter()
        .find(|g| g.service.as_str() == "backend")
        .expect("planned");
    let there = |_: &EntryPath| Found::Folder;
    let placed = place(backend, &site, "sha256:pinned", &there).expect("placed");
    let spec = &placed.spec;
    assert_eq!(spec.name, "ark-drill-000102-backend");
    assert_eq!(spec.image, "sha256:pinned");
    assert_eq!(
        source_of(spec, "/data"),
        Some(&"/state/scratch/drill-x/tree/data".into())
    );
    assert!(spec.ports.is_empty() && spec.extra_hosts.is_empty());
    assert_eq!(spec.restart, Restart::No);
    assert_eq!(
        (spec.dns.clone(), spec.cap_drop.clone()),
        (vec!["192.0.2.254".into()], vec!["NET_RAW".into()])
    );
    assert!(
        spec.labels.keys().all(|key| key.starts_with("arkwright.drill")),
        "{:?}",
        spec.labels
    );
    assert_eq!(spec.networks[0].aliases, ["ark-backend-1", "backend"]);
    let redis = subject
        .guests
        .iter()
        .find(|g| g.service.as_str() == "redis")
        .expect("planned");
    let password = &spec.environment["REDIS_PASSWORD"];
    assert_eq!(
        redis.spec.command.as_ref().expect("words")[2],
        *password,
        "both sides get the same stand-in"
    );
    let placed = place(redis, &site, "sha256:pinned", &there).expect("placed");
    assert_eq!(placed.volumes, ["ark-drill-000102-redis-data"]);
    let fresh = "`/data` is a fresh volume: its data is not in the snapshot".to_owned();
    assert!(placed.deviations.contains(&fresh), "{:?}", placed.deviations);
}

#[test]
fn binds_resolve_to_data_then_to_the_stacks_files_and_links_are_refused() {
    let (subject, _) = planned();
    let shelter = Shelter::Namespace("ark-drill-000102-arkwright".into());
    let site = site(&subject, &shelter);
    let mut guest = subject
        .guests
        .iter()
        .find(|g| g.service.as_str() == "backend")
        .expect("planned")
        .clone();
    let only = |wanted: &'static str, found: Found| {
        move |path: &EntryPath| if path.as_str() == wanted { found } else { Found::Missing }
    };
    let placed = place(&guest, &site, "i", &only("@stack/data", Found::File)).expect("placed");
    assert_eq!(
        source_of(&placed.spec, "/data"),
        Some(&"/state/scratch/drill-x/tree/@stack/data".into())
    );
    assert_eq!(placed.prepared.len(), 1, "an empty folder for the other");
    assert!(
        placed
            .deviations
            .iter()
            .any(|d| d.contains("/uploads is an empty folder")),
        "{:?}",
        placed.deviations
    );
    assert_eq!(
        source_of(&placed.spec, "/etc/hosts"),
        Some(&"/state/scratch/drill-x/hosts".into())
    );
    assert_eq!(
        placed.spec.network_mode.as_deref(),
        Some("container:ark-drill-000102-arkwright")
    );
    let link = place(&guest, &site, "i", &only("data", Found::Link));
    assert_eq!(link, Err(Barred::Link("/srv/ark/data".into())));
    for outside in ["/var/run/docker.sock", "/srv/ark", "/", "/srv/other/data"] {
        guest.spec.mounts = vec![super::guest::bind(outside.into(), "/x", false)];
        assert!(place(&guest, &site, "i", &|_| Found::Missing).is_err(), "{outside}");
    }
    guest.spec.mounts = vec![super::guest::bind("/srv/other/data".into(), "/x", false)];
    let restored = place(&guest, &site, "i", &only("@host/srv/other/data", Found::Folder)).expect("placed");
    let tree = "/state/scratch/drill-x/tree/@host/srv/other/data";
    assert_eq!(source_of(&restored.spec, "/x"), Some(&tree.into()));
}

#[test]
fn a_seal_that_was_not_tried_is_not_a_seal() {
    let attempt = |reached| Attempt {
        way: WayOut::Tcp(([10, 0, 0, 1], 80).into()),
        reached,
    };
    let report = |control, reached| SealReport {
        control,
        attempts: vec![attempt(reached)],
    };
    let verdict = |report, listened| sealed(&report, listened).verdict;
    assert_eq!(verdict(Ok(report(true, Reached::Silent)), 1), Verdict::Passed);
    assert_eq!(verdict(Ok(report(true, Reached::Refused)), 1), Verdict::Failed);
    assert_eq!(verdict(Ok(report(true, Reached::Answered)), 1), Verdict::Failed);
    assert_eq!(verdict(Ok(report(false, Reached::Silent)), 1), Verdict::NotRun);
    assert_eq!(verdict(Ok(report(true, Reached::Silent)), 0), Verdict::NotRun);
    assert_eq!(verdict(Err("exec failed".into()), 1), Verdict::NotRun);
}

#[test]
fn readings_become_verdicts() {
    let (subject, _) = planned();
    let [check_integrity, check_http, check_rows, check_files] = &subject.checks[..] else {
        panic!("four checks");
    };
    let word = |result: CheckResult| result.verdict;
    assert_eq!(
        word(integrity(check_integrity, &Ok(Integrity::default()))),
        Verdict::Passed
    );
    assert_eq!(word(integrity(check_integrity, &Err(Unread::Missing))), Verdict::Failed);
    assert_eq!(
        word(integrity(check_integrity, &Err(Unread::Hindered("x".into())))),
        Verdict::NotRun
    );
    let dangling = Integrity {
        problems: Vec::new(),
        dangling: 2,
    };
    assert_eq!(word(integrity(check_integrity, &Ok(dangling))), Verdict::Failed);

    let recorded: BTreeMap<String, u64> = [("files".to_owned(), 3), ("users".to_owned(), 1)].into();
    let found = |files, users| Ok([("files".to_owned(), files), ("users".to_owned(), users)].into());
    assert_eq!(
        word(rows(check_rows, Some(&recorded), &found(Some(3), Some(1)))),
        Verdict::Passed
    );
    let lost = rows(check_rows, Some(&recorded), &found(Some(2), None));
    assert_eq!(
        (lost.verdict, lost.actual.as_str()),
        (Verdict::Failed, "files 2, users gone")
    );
    assert_eq!(word(rows(check_rows, None, &found(Some(3), Some(1)))), Verdict::NotRun);

    let files = |rows, missing| {
        Ok(Files {
            rows,
            missing,
            examples: vec!["2026/a.jpg".into()],
        })
    };
    assert_eq!(word(files_exist(check_files, &files(3, 0))), Verdict::Passed);
    let lost = files_exist(check_files, &files(3, 1));
    assert!(lost.verdict == Verdict::Failed && lost.actual.contains("2026/a.jpg"));
    assert_eq!(word(files_exist(check_files, &files(0, 0))), Verdict::NotRun);

    let answer = |status| {
        Ok(Answer::Status {
            status,
            body: b"ok".to_vec(),
            ms: 3,
        })
    };
    assert_eq!(word(answered(check_http, &answer(200))), Verdict::Passed);
    assert_eq!(word(answered(check_http, &answer(503))), Verdict::Failed);
    assert_eq!(
        word(answered(check_http, &Ok(Answer::None { why: "refused".into() }))),
        Verdict::Failed
    );
    assert_eq!(word(answered(check_http, &Err("no probe".into()))), Verdict::NotRun);
}

#[test]
fn a_chain_of_records_shows_what_is_missing_or_changed() {
    let record = |second: i64, previous: Option<&(Digest, Evidence)>| {
        let (_, _, mut evidence) = run(&Twist::None);
        evidence.operation = OperationId::new(at(second), [0; 2]);
        evidence.previous = previous.map(|(sha256, evidence)| PreviousEvidence {
            operation: evidence.operation.clone(),
            sha256: *sha256,
        });
        (Digest::of(&evidence.encode().expect("text")), evidence)
    };
    let first = record(0, None);
    let second = record(1, Some(&first));
    let third = record(2, Some(&second));
    assert_eq!(walk(&[first.clone(), second.clone(), third.clone()]), []);
    let broken = walk(&[first.clone(), third.clone()]);
    assert!(broken[0].why.contains("missing"), "{broken:?}");
    let mut changed = second.clone();
    changed.0 = Digest::of(b"other");
    let broken = walk(&[first.clone(), changed, third]);
    assert!(broken[0].object.contains(second.1.operation.as_str()), "{broken:?}");
}

#[test]
fn what_cannot_be_planned_is_said() {
    let stack = ark();
    let mut fill = |bytes: &mut [u8]| bytes.fill(1);
    let mut plan_of = |yaml: &str, name: &str| {
        let config = config(Path::new("/srv/ark/arkwright.yaml"), yaml, &stack);
        plan(&operation(), name, &config, &stack, at(0), &mut fill)
    };
    assert!(matches!(plan_of(YAML, "daily"), Err(PlanError::Unknown { .. })));
    let unbooted = YAML.replace("boot: [backend, redis]", "boot: [redis]");
    assert!(matches!(plan_of(&unbooted, "weekly"), Err(PlanError::NotBooted { .. })));
    let inside = YAML.replace("./data/ark.db", "./@stack/ark.db");
    assert!(matches!(plan_of(&inside, "weekly"), Err(PlanError::Path { .. })));
}
