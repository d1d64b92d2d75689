use serde::{Deserialize, Serialize};

use crate::model::{Span, Timestamp};

/// A holder that was silent for longer may hang.
const SILENCE: chrono::TimeDelta = chrono::TimeDelta::seconds(30);
/// Characters of each word.
const LONGEST: usize = 120;

/// Who holds a lock, since when, and when he last gave a sign of life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    pub program: String,
    pub process: u32,
    pub host: String,
    pub user: String,
    /// What it does: `operation r-…`.
    pub what: String,
    pub since: Timestamp,
    pub beat: Timestamp,
    /// When it was let go; `None` while it is held, and for one that was not let go.
    pub ended: Option<Timestamp>,
}

impl Lease {
    /// Bytes of one on the disk, padded: a shorter one leaves nothing of a longer one behind.
    pub(super) const LARGEST: usize = 2048;

    /// This process's.
    pub(super) fn now(what: &str, now: Timestamp) -> Self {
        let user = ["SUDO_USER", "USER", "LOGNAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok());
        let uid = rustix::process::getuid().as_raw();
        Lease {
            program: concat!("arkwright ", env!("CARGO_PKG_VERSION")).to_owned(),
            process: std::process::id(),
            host: short(&rustix::system::uname().nodename().to_string_lossy()),
            user: short(&user.unwrap_or_else(|| format!("uid {uid}"))),
            what: short(what),
            since: now,
            beat: now,
            ended: None,
        }
    }

    /// What a file says; one of an older arkwright, or half a one, says nothing of its end.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let read: Option<Lease> = serde_json::from_slice(bytes).ok();
        let mut lease = read.unwrap_or_else(|| Lease {
            program: "another arkwright".into(),
            process: 0,
            host: String::new(),
            user: String::new(),
            what: String::from_utf8_lossy(bytes).into_owned(),
            since: Timestamp::UNIX_EPOCH,
            beat: Timestamp::UNIX_EPOCH,
            ended: Some(Timestamp::UNIX_EPOCH),
        });
        for word in [&mut lease.program, &mut lease.host, &mut lease.user, &mut lease.what] {
            *word = short(word);
        }
        lease
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        // A struct of words and times has a JSON.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.resize(Self::LARGEST.max(bytes.len()), b' ');
        bytes
    }

    pub(super) fn alive(&self, now: Timestamp) -> Self {
        Lease {
            beat: now,
            ..self.clone()
        }
    }

    pub(super) fn doing(&self, what: &str, now: Timestamp) -> Self {
        Lease {
            what: short(what),
            ..self.alive(now)
        }
    }

    pub(super) fn ended(&self, now: Timestamp) -> Self {
        Lease {
            beat: now,
            ended: Some(now),
            ..self.clone()
        }
    }

    /// One that ended without letting go.
    pub(super) fn lost(self) -> Option<Self> {
        self.ended.is_none().then_some(self)
    }

    /// `operation r-… (arkwright 0.1.0, process 12 on host, user maria)`
    pub fn who(&self) -> String {
        let what = match self.what.trim() {
            "" => "arkwright",
            what => what,
        };
        match self.process {
            0 => what.to_owned(),
            process => format!(
                "{what} ({}, process {process} on {}, user {})",
                self.program, self.host, self.user
            ),
        }
    }

    /// The same for those who wait: with since when, and how long ago the last sign of life was.
    pub(super) fn told(&self, now: Timestamp) -> String {
        if self.process == 0 {
            return self.who();
        }
        let ago = Span::from((now - self.beat).to_std().unwrap_or_default());
        let told = format!(
            "{}, since {}, last sign of life {} ago,",
            self.who(),
            self.since.format("%H:%M:%S UTC"),
            Span::seconds(ago.whole_seconds().unsigned_abs()).human()
        );
        match now - self.beat > SILENCE {
            true => format!(
                "{told} may hang (the lock is let go when process {} ends, and nobody breaks it), but",
                self.process
            ),
            false => told,
        }
    }
}

/// Nothing that commands a terminal, and not without end.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds)
    }

    #[test]
    fn who_waits_hears_of_silence_and_how_it_ends() {
        let lease = Lease::now("deploy web", at(0));
        let fresh = lease.alive(at(100)).told(at(103));
        assert!(fresh.contains("since 00:00:00 UTC, last sign of life 3"), "{fresh}");
        assert!(!fresh.contains("hang"), "{fresh}");
        let silent = lease.told(at(400));
        assert!(
            silent.contains("may hang") && silent.contains("nobody breaks it"),
            "{silent}"
        );
    }

    #[test]
    fn an_older_arkwrights_words_are_told_and_are_no_crash() {
        let old = Lease::parse(b"arkwright up (process 12)");
        assert_eq!(old.told(at(5)), "arkwright up (process 12)");
        assert_eq!(old.lost(), None);
        assert_eq!(Lease::parse(b"").lost(), None);
    }

    proptest! {
        #[test]
        fn every_lease_reads_back_whatever_the_words(what in ".{0,400}") {
            let lease = Lease::now(&what, at(7));
            prop_assert!(lease.bytes().len() == Lease::LARGEST);
            prop_assert_eq!(Lease::parse(&lease.bytes()), lease);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Lease::parse(&bytes).told(at(1));
        }
    }
}
