//! Mutated projects through the loader: whatever comes of them is loaded or refused, soon and in little memory.
//!
//! `scripts/fuzz compose [N]` runs many; the tests here run some thousands with fixed seeds. An execution is told by its
//! seed and number alone, so a failure is repeated with `FUZZ_SEED=S FUZZ_AT=NUMBER`.

#[path = "../common/mod.rs"]
mod common;
mod grammar;
mod mutate;
mod seeds;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arkwright::stack::{Files, LoadRequest, Unread, load, redact_tree, render_json, render_yaml};
use seeds::Case;

/// Longest one execution may take.
const SLOWEST: Duration = Duration::from_secs(1);
/// Most memory the process may ever have held, in KiB.
const MOST_MEMORY: u64 = 512 << 10;
/// One in so many loaded projects is written as YAML and read again.
const READ_AGAIN: u64 = 8;

struct Memory<'a>(&'a BTreeMap<String, String>);

impl Files for Memory<'_> {
    fn read(&self, path: &Path, limit: usize) -> Result<String, Unread> {
        let name = path.strip_prefix("/p/app").ok().and_then(Path::to_str);
        let text = name.and_then(|name| self.0.get(name)).ok_or(Unread::Missing)?;
        match text.len() > limit {
            true => Err(Unread::TooLarge(limit)),
            false => Ok(text.clone()),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        let name = path.strip_prefix("/p/app").ok().and_then(Path::to_str);
        name.is_some_and(|name| self.0.contains_key(name))
    }
}

fn request(case: &Case) -> LoadRequest {
    let mut env = case.env.clone();
    env.insert("HOME".to_owned(), "/home/u".to_owned());
    LoadRequest {
        files: case.asked.iter().map(PathBuf::from).collect(),
        env,
        profiles: case.profiles.clone(),
        current_dir: "/p/app".into(),
        ..LoadRequest::default()
    }
}

/// Whether it loaded. Panics where the loader is wrong.
fn execute(case: &Case, number: u64) -> bool {
    let loaded = match load(&request(case), &Memory(&case.files)) {
        Ok(loaded) => loaded,
        Err(error) => {
            let shown = error.to_string();
            assert!(
                !shown.is_empty() && shown.len() < 16 << 10,
                "an error of {} bytes",
                shown.len()
            );
            return false;
        }
    };
    let hidden = redact_tree(&loaded.tree, &loaded.secrets);
    assert!(render_json(&hidden).starts_with('{'));
    if number.is_multiple_of(READ_AGAIN) {
        let mut again = Case {
            files: BTreeMap::from([("compose.yaml".to_owned(), render_yaml(&loaded.tree))]),
            asked: vec!["compose.yaml".to_owned()],
            ..case.clone()
        };
        again.env.remove("COMPOSE_PROJECT_NAME");
        match load(&request(&again), &Memory(&again.files)) {
            Ok(second) => assert_eq!(second.tree, loaded.tree, "written and read again"),
            Err(error) => panic!(
                "what `config` writes is refused: {error}\n{}",
                again.files["compose.yaml"]
            ),
        }
    }
    true
}

fn mutated(seed: u64, number: u64, cases: &[Case]) -> Case {
    let mut rng = fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mutate::case(&mut rng, cases)
}

#[derive(Default)]
struct Tally {
    executions: u64,
    loaded: u64,
    slowest: Duration,
    slowest_at: u64,
    failures: Vec<String>,
}

/// Runs executions `numbers`; a failure is noted with what repeats it.
fn run(seed: u64, numbers: std::ops::Range<u64>, every: impl Fn(&Tally)) -> Tally {
    let cases = seeds::all(common::cases().as_deref());
    let mut tally = Tally::default();
    for number in numbers {
        let case = mutated(seed, number, &cases);
        AT.store(number + 1, Ordering::Relaxed);
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| execute(&case, number)));
        let took = begun.elapsed();
        tally.executions += 1;
        if took > tally.slowest {
            (tally.slowest, tally.slowest_at) = (took, number);
        }
        match result {
            Ok(loaded) => tally.loaded += u64::from(loaded),
            Err(cause) => {
                let said = cause.downcast_ref::<String>().map(String::as_str);
                let said = said
                    .or_else(|| cause.downcast_ref::<&str>().copied())
                    .unwrap_or("panicked");
                tally
                    .failures
                    .push(format!("FUZZ_SEED={seed} FUZZ_AT={number}: {said}"));
            }
        }
        if took > SLOWEST {
            tally
                .failures
                .push(format!("FUZZ_SEED={seed} FUZZ_AT={number}: took {took:?}"));
        }
        if number.is_multiple_of(64) && peak_memory() > MOST_MEMORY {
            tally.failures.push(format!(
                "FUZZ_SEED={seed}: {} KiB held by FUZZ_AT={number}",
                peak_memory()
            ));
        }
        if tally.failures.len() >= 10 {
            break;
        }
        if tally.executions.is_multiple_of(100_000) {
            every(&tally);
        }
    }
    tally
}

/// The execution under way, counted from 1, for whoever looks whether it ever ends.
static AT: AtomicU64 = AtomicU64::new(0);

/// KiB, from the kernel; 0 where it does not tell.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.replace('_', "").parse().ok()
}

#[test]
fn some_thousand_mutations_are_loaded_or_refused() {
    for seed in [1, 2] {
        let tally = run(seed, 0..3_000, |_| ());
        assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
        assert!(
            tally.loaded > tally.executions / 20,
            "only {} loaded: mutation breaks all",
            tally.loaded
        );
    }
}

#[test]
#[ignore = "runs as long as it is told: scripts/fuzz compose N"]
fn many() {
    let seed = number("FUZZ_SEED").unwrap_or(0);
    if let Some(at) = number("FUZZ_AT") {
        let case = mutated(seed, at, &seeds::all(common::cases().as_deref()));
        for (name, text) in &case.files {
            println!("--- {name}\n{text}");
        }
        println!(
            "--- asked {:?} env {:?} profiles {:?}",
            case.asked, case.env, case.profiles
        );
        let begun = Instant::now();
        println!("loaded: {} after {:?}", execute(&case, at), begun.elapsed());
        return;
    }
    let total = number("FUZZ_EXECUTIONS").unwrap_or(1_000_000);
    watch(seed);
    let begun = Instant::now();
    let report = |tally: &Tally| {
        println!(
            "{} executions, {} loaded, {:.0} a second, longest {:?} (number {}), peak {} MiB, seed {seed}, {} failures",
            tally.executions,
            tally.loaded,
            tally.executions as f64 / begun.elapsed().as_secs_f64(),
            tally.slowest,
            tally.slowest_at,
            peak_memory() / 1024,
            tally.failures.len(),
        );
    };
    let tally = run(seed, 0..total, report);
    report(&tally);
    assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
}

/// Ends the process when one execution does not end.
fn watch(seed: u64) {
    std::thread::spawn(move || {
        let mut last = 0;
        loop {
            std::thread::sleep(Duration::from_secs(20));
            let now = AT.load(Ordering::Relaxed);
            if now == last {
                eprintln!("FUZZ_SEED={seed} FUZZ_AT={}: does not end", now.saturating_sub(1));
                std::process::exit(3);
            }
            last = now;
        }
    });
}
