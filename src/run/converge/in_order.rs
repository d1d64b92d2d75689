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

/// Performs every change as soon as those it comes after are done, the one with the longest way behind it first, and
/// no more than `at_once` that an engine has work with: what only waits does not count. After the first failure, which is given back,
/// nothing is begun any more, `over` is cancelled, what only waits is left off, and the rest comes to its end.
pub(super) async fn in_order<'a, E, F>(
    changes: &'a [Change],
    at_once: usize,
    progress: &dyn Progress,
    over: &CancellationToken,
    act: impl Fn(&'a Change) -> F,
) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    let mut done = vec![false; changes.len()];
    let ways = ways(changes);
    let mut left: Vec<usize> = (0..changes.len()).collect();
    left.sort_by_key(|at| Reverse(ways[*at]));
    let mut under_way: BTreeMap<usize, Instant> = BTreeMap::new();
    let mut working = FuturesUnordered::new();
    let (mut count, mut failure) = (0, None);
    loop {
        let mut busy = under_way.keys().filter(|at| !only_waits(&changes[**at])).count();
        left.retain(|&at| {
            let (change, waits) = (&changes[at], only_waits(&changes[at]));
            let ready = failure.is_none() && change.after.iter().all(|before| done[*before]);
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
                failure = failure.or(Some(error));
            }
            End::LeftOff => {}
        }
    }
    // A change comes after earlier ones only, so without a failure none is left.
    failure.map_or(Ok(()), Err)
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
    async fn run(changes: &[Change], seconds: impl Fn(&str) -> Option<u64>) -> (Result<(), String>, Vec<String>) {
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
        assert_eq!(result, Ok(()));
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
        assert_eq!((result, events[0].as_str()), (Ok(()), "begin first"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_is_not_given_more_than_it_should_have_and_waits_do_not_count() {
        let mut changes: Vec<Change> = (0..10).map(|n| wait(&format!("w{n}"), &[])).collect();
        changes.extend((0..20).map(|n| change(&format!("n{n}"), &[])));
        let (result, events) = run(&changes, |_| Some(1)).await;
        assert_eq!(result, Ok(()));
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
        assert_eq!(result, Err("bad failed".to_owned()));
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
        in_order(&changes, AT_ONCE, &told, &CancellationToken::new(), slow)
            .await
            .expect("done");
        assert_eq!(
            told.0.into_inner().expect("unbroken"),
            [
                "… 5 s: remove network net",
                "… 10 s: remove network net",
                "1/1 remove network net: a test (12.0 s)"
            ]
        );
    }
}
