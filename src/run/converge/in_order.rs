use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::plan::{Action, Change};
use crate::run::Progress;

/// Silence after which what is under way is named, and again after each such while.
const SILENCE: Duration = Duration::from_secs(5);

enum End<E> {
    Done,
    Failed(E),
    /// It only waited, and something else had failed.
    LeftOff,
}

/// How many changes were made, and what failed.
#[derive(Debug, PartialEq)]
pub(super) struct Ended<E> {
    pub done: usize,
    pub failures: Vec<E>,
}

/// Performs every change as soon as those it comes after are done, the one with the longest way behind it first, and
/// no more than `at_once` that an engine has work with: what only waits does not count. Once `over` is cancelled, which
/// the first failure does too, what only waits is left off, and of the rest only what has begun comes to its end: a
/// container that was taken away for a new one is started.
pub(super) async fn in_order<'a, E, F>(
    changes: &'a [Change],
    at_once: usize,
    progress: &dyn Progress,
    over: &CancellationToken,
    act: impl Fn(&'a Change) -> F,
) -> Ended<E>
where
    F: Future<Output = Result<(), E>>,
{
    let mut done = vec![false; changes.len()];
    let ways = ways(changes);
    let mut left: Vec<usize> = (0..changes.len()).collect();
    left.sort_by_key(|at| Reverse(ways[*at]));
    let mut under_way: BTreeMap<usize, Instant> = BTreeMap::new();
    let mut working = FuturesUnordered::new();
    let (mut count, mut failures) = (0, Vec::new());
    loop {
        let mut busy = under_way.keys().filter(|at| !only_waits(&changes[**at])).count();
        left.retain(|&at| {
            let (change, waits) = (&changes[at], only_waits(&changes[at]));
            let wanted = !over.is_cancelled() || finishes(changes, at, &done);
            let ready = wanted && change.after.iter().all(|before| done[*before]);
            if !ready || busy >= at_once && !waits {
                return true;
            }
            busy += usize::from(!waits);
            under_way.insert(at, Instant::now());
            let acting = act(change);
            working.push(async move {
                let end = tokio::select! {
                    result = acting => result.map_or_else(End::Failed, |()| End::Done),
                    () = over.cancelled(), if waits => End::LeftOff,
                };
                (at, end)
            });
            false
        });
        let (at, end) = tokio::select! {
            ended = working.next() => match ended {
                Some(ended) => ended,
                None => break,
            },
            () = tokio::time::sleep(SILENCE) => {
                progress.say(&still(changes, &under_way));
                continue;
            }
        };
        let took = under_way.remove(&at).map(|began| began.elapsed()).unwrap_or_default();
        match end {
            End::Done => {
                done[at] = true;
                count += 1;
                progress.say(&format!("{count}/{} {}{}", changes.len(), changes[at], seconds(took)));
            }
            End::Failed(error) => {
                over.cancel();
                failures.push(error);
            }
            End::LeftOff => {}
        }
    }
    Ended { done: count, failures }
}

/// How many changes have to be done one after the other from each one on.
fn ways(changes: &[Change]) -> Vec<usize> {
    let mut ways = vec![1; changes.len()];
    for (at, change) in changes.iter().enumerate().rev() {
        for before in &change.after {
            ways[*before] = ways[*before].max(ways[at] + 1);
        }
    }
    ways
}

/// Whether it starts what was running until this very plan took it away.
fn finishes(changes: &[Change], at: usize, done: &[bool]) -> bool {
    let change = &changes[at];
    let replaced = |before: &usize| {
        let before_it = &changes[*before].action;
        matches!(before_it, Action::RecreateContainer { .. })
            && done[*before]
            && before_it.container() == change.action.container()
    };
    let starts = matches!(change.action, Action::StartContainer { .. } | Action::HandOver { .. });
    starts && change.after.iter().any(replaced)
}

/// Whether leaving it off in the middle changes nothing.
fn only_waits(change: &Change) -> bool {
    matches!(change.action, Action::WaitFor { .. } | Action::PullImage { .. })
}

fn still(changes: &[Change], under_way: &BTreeMap<usize, Instant>) -> String {
    let longest = under_way.values().map(Instant::elapsed).max().unwrap_or_default();
    let names: Vec<String> = under_way
        .keys()
        .map(|at| format!("{} {}", changes[*at].action.kind(), changes[*at].action.subject()))
        .collect();
    let (shown, more) = names.split_at(names.len().min(4));
    let more = match more.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("… {} s: {}{more}", longest.as_secs(), shown.join(", "))
}

fn seconds(took: Duration) -> String {
    match took.as_secs_f64() {
        seconds if seconds < 1.0 => String::new(),
        seconds => format!(" ({seconds:.1} s)"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use crate::model::ContainerId;
    use crate::plan::ContainerSpec;
    use crate::stack::Condition;

    use super::*;

    const AT_ONCE: usize = 8;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Progress for Told {
        fn say(&self, text: &str) {
            self.0.lock().expect("unbroken").push(text.to_owned());
        }
    }

    fn all(done: usize) -> Ended<String> {
        Ended {
            done,
            failures: Vec::new(),
        }
    }

    fn change(name: &str, after: &[usize]) -> Change {
        Change {
            action: Action::RemoveNetwork { name: name.into() },
            reason: "a test".into(),
            after: after.to_vec(),
        }
    }

    fn wait(service: &str, after: &[usize]) -> Change {
        Change {
            action: Action::WaitFor {
                service: service.parse().expect("a name"),
                condition: Condition::Healthy,
                containers: Vec::new(),
            },
            reason: "a test".into(),
            after: after.to_vec(),
        }
    }

    /// Begins and ends in the order they happened; `seconds` says how long each takes, `None` that it fails at once.
    async fn run(changes: &[Change], seconds: impl Fn(&str) -> Option<u64>) -> (Ended<String>, Vec<String>) {
        let told = Told::default();
        let events = Mutex::new(Vec::new());
        let note = |what: &str, subject: &str| events.lock().expect("unbroken").push(format!("{what} {subject}"));
        let result = in_order(changes, AT_ONCE, &told, &CancellationToken::new(), |change| {
            let (subject, note, seconds) = (change.action.subject(), &note, &seconds);
            async move {
                note("begin", &subject);
                match seconds(&subject) {
                    None => Err(format!("{subject} failed")),
                    Some(seconds) => {
                        tokio::time::sleep(Duration::from_secs(seconds)).await;
                        note("end", &subject);
                        Ok(())
                    }
                }
            }
        })
        .await;
        (result, events.into_inner().expect("unbroken"))
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_nothing_begins_at_once_and_the_rest_when_it_may() {
        let changes = [
            change("a", &[]),
            change("b", &[]),
            change("c", &[0]),
            change("d", &[0, 1]),
        ];
        let began = Instant::now();
        let (result, events) = run(&changes, |name| Some(if name == "b" { 5 } else { 2 })).await;
        assert_eq!(result, all(changes.len()));
        assert_eq!(began.elapsed().as_secs(), 7);
        assert_eq!(
            events,
            [
                "begin a", "begin b", "end a", "begin c", "end c", "end b", "begin d", "end d"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_wait_for_longest_goes_first() {
        let mut changes: Vec<Change> = (0..AT_ONCE).map(|n| change(&format!("n{n}"), &[])).collect();
        changes.push(change("first", &[]));
        changes.push(change("second", &[AT_ONCE]));
        let (result, events) = run(&changes, |_| Some(1)).await;
        assert_eq!((result, events[0].as_str()), (all(changes.len()), "begin first"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_is_not_given_more_than_it_should_have_and_waits_do_not_count() {
        let mut changes: Vec<Change> = (0..10).map(|n| wait(&format!("w{n}"), &[])).collect();
        changes.extend((0..20).map(|n| change(&format!("n{n}"), &[])));
        let (result, events) = run(&changes, |_| Some(1)).await;
        assert_eq!(result, all(changes.len()));
        let (mut now, mut most) = (0, 0);
        for event in events.iter().filter(|event| event.contains(" n")) {
            now += if event.starts_with("begin") { 1 } else { -1 };
            most = most.max(now);
        }
        assert_eq!(most, AT_ONCE as i32);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_nothing_begins_waits_are_left_off_and_changes_end() {
        let changes = [
            wait("slow", &[]),
            change("long", &[]),
            change("bad", &[]),
            change("next", &[1]),
        ];
        let began = Instant::now();
        let (result, events) = run(&changes, |name| match name {
            "bad" => None,
            "long" => Some(3),
            _ => Some(600),
        })
        .await;
        let wanted = Ended {
            done: 1,
            failures: vec!["bad failed".to_owned()],
        };
        assert_eq!(result, wanted);
        assert_eq!(began.elapsed().as_secs(), 3);
        assert_eq!(
            events,
            ["begin long", "begin slow to be healthy", "begin bad", "end long"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_silence_is_broken_by_what_is_under_way() {
        let told = Told::default();
        let changes = [change("net", &[])];
        let slow = |_: &Change| async {
            tokio::time::sleep(Duration::from_secs(12)).await;
            Ok::<(), String>(())
        };
        let ended = in_order(&changes, AT_ONCE, &told, &CancellationToken::new(), slow).await;
        assert_eq!(ended, all(1));
        assert_eq!(
            told.0.into_inner().expect("unbroken"),
            [
                "… 5 s: remove network net",
                "… 10 s: remove network net",
                "1/1 remove network net: a test (12.0 s)"
            ]
        );
    }

    fn container(name: &str, after: &[usize], recreates: bool) -> Change {
        let spec = ContainerSpec {
            name: name.into(),
            ..ContainerSpec::default()
        };
        let action = match recreates {
            true => Action::RecreateContainer {
                service: name.into(),
                id: ContainerId::new(name),
                grace: None,
                spec: Box::new(spec),
            },
            false => Action::StartContainer {
                service: name.into(),
                name: name.into(),
            },
        };
        Change {
            action,
            reason: "a test".into(),
            after: after.to_vec(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_away_is_started_although_another_one_failed() {
        let changes = [
            container("a", &[], true),
            container("b", &[], true),
            container("a", &[0], false),
            container("b", &[1], false),
            change("next", &[2]),
        ];
        let told = Told::default();
        let over = CancellationToken::new();
        let ended = in_order(&changes, AT_ONCE, &told, &over, |change| {
            let fails = change.action.container() == Some("b") && !change.action.kind().starts_with("recreate");
            async move {
                let pause = if fails { 0 } else { 2 };
                tokio::time::sleep(Duration::from_secs(pause)).await;
                if fails { Err("b failed") } else { Ok(()) }
            }
        })
        .await;
        assert_eq!((ended.done, ended.failures), (3, vec!["b failed"]));
    }
}
