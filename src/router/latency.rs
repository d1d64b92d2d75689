use std::collections::{BTreeMap, VecDeque};

use crate::model::{Colour, ServiceName, Span};
use crate::ports::Latency;

use super::process::colour_of;

/// How far back times are kept, in seconds.
const KEPT: u64 = 30 * 60;

/// Below this many milliseconds each has a bucket of its own; above, every doubling has half as many, so that a
/// bucket's middle is at most 1/32 away from what fell into it.
const EXACT: u32 = 32;
const STEPS: u32 = EXACT / 2;
/// Everything slower counts as this slow; the router gives up on a silent server after an hour.
const SLOWEST: u32 = (1 << 22) - 1;

/// The times of finished requests, a histogram for each second, colour and service.
///
/// Only services that were opened are kept, and a second's histogram holds the buckets that were hit, at most 304 of
/// 8 bytes: a service takes a few hundred kilobytes, and less than 20 MB however its requests come.
#[derive(Debug, Default)]
pub struct Book {
    services: BTreeMap<ServiceName, Times>,
}

#[derive(Debug)]
struct Times {
    opened: u64,
    seconds: [VecDeque<Second>; 2],
}

#[derive(Debug)]
struct Second {
    at: u64,
    /// Bucket and count, buckets ascending.
    buckets: Vec<(u16, u32)>,
}

/// One line of the log: a request that a server answered.
#[derive(Debug, PartialEq)]
pub struct Told {
    service: ServiceName,
    colour: Colour,
    millis: u32,
}

impl Told {
    /// `web green1 200 12`, as the rendered `log-format` has it; `None` for everything else that is logged: requests
    /// no server took, those the client gave up before it had sent them, the router's own news.
    pub fn read(datagram: &[u8]) -> Option<Told> {
        let line = std::str::from_utf8(datagram).ok()?;
        let mut words = line.trim_end_matches(['\n', '\0']).split(' ');
        let told = Told {
            service: words.next()?.parse().ok()?,
            colour: colour_of(words.next()?).ok()?.0,
            millis: {
                // A status is there, or -1 where the client left before the answer.
                words.next()?.parse::<i16>().ok()?;
                words.next()?.parse().ok()?
            },
        };
        words.next().is_none().then_some(told)
    }
}

impl Book {
    /// From now on this service's times are kept.
    pub fn open(&mut self, service: &ServiceName, now: u64) {
        self.services.entry(service.clone()).or_insert_with(|| Times {
            opened: now,
            seconds: Default::default(),
        });
    }

    /// `now` in whole seconds, of any clock that does not go back.
    pub fn add(&mut self, told: &Told, now: u64) {
        let Some(times) = self.services.get_mut(&told.service) else {
            return;
        };
        let seconds = &mut times.seconds[told.colour as usize];
        while seconds.front().is_some_and(|second| second.at + KEPT < now) {
            seconds.pop_front();
        }
        if seconds.back().is_none_or(|second| second.at < now) {
            seconds.push_back(Second {
                at: now,
                buckets: Vec::new(),
            });
        }
        if let Some(second) = seconds.back_mut() {
            second.add(bucket(told.millis));
        }
    }

    /// Of the last `window`, and the second it began in; `None` for a service that was not opened.
    pub fn latency(&self, service: &ServiceName, window: Span, now: u64) -> Option<[(Colour, Latency); 2]> {
        let times = self.services.get(service)?;
        let window = window.std().as_secs().min(KEPT);
        let listened = Span::seconds((now - times.opened.min(now)).min(window));
        Some(Colour::BOTH.map(|colour| {
            let mut sum: BTreeMap<u16, u64> = BTreeMap::new();
            let seconds = &times.seconds[colour as usize];
            for second in seconds.iter().rev().take_while(|second| second.at + window >= now) {
                for (bucket, count) in &second.buckets {
                    *sum.entry(*bucket).or_default() += u64::from(*count);
                }
            }
            let seen = sum.values().sum();
            let quantile = |percent| quantile(&sum, seen, percent);
            let latency = Latency {
                seen,
                listened,
                p50: quantile(50),
                p95: quantile(95),
                p99: quantile(99),
            };
            (colour, latency)
        }))
    }
}

impl Second {
    fn add(&mut self, bucket: u16) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(1),
            Err(at) => self.buckets.insert(at, (bucket, 1)),
        }
    }
}

/// The smallest time that this share of the requests did not exceed.
fn quantile(sum: &BTreeMap<u16, u64>, seen: u64, percent: u64) -> Option<Span> {
    let rank = (seen * percent).div_ceil(100);
    let mut passed = 0;
    sum.iter()
        .find(|(_, count)| {
            passed += **count;
            passed >= rank
        })
        .map(|(bucket, _)| middle(*bucket))
}

fn bucket(millis: u32) -> u16 {
    let millis = millis.min(SLOWEST);
    let bucket = if millis < EXACT {
        millis
    } else {
        let doublings = millis.ilog2() - EXACT.ilog2();
        EXACT + doublings * STEPS + ((millis >> (doublings + 1)) - STEPS)
    };
    // 303 at most.
    bucket as u16
}

fn middle(bucket: u16) -> Span {
    let bucket = u32::from(bucket);
    if bucket < EXACT {
        return Span::millis(bucket.into());
    }
    let (doublings, step) = ((bucket - EXACT) / STEPS, (bucket - EXACT) % STEPS);
    let low = u64::from(STEPS + step) << (doublings + 1);
    Span::millis(low + (1 << doublings))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn web() -> ServiceName {
        "web".parse().expect("a name")
    }

    fn told(colour: Colour, millis: u32) -> Told {
        Told {
            service: web(),
            colour,
            millis,
        }
    }

    #[test]
    fn a_line_is_read_and_what_is_none_is_not() {
        assert_eq!(Told::read(b"web green2 200 12\n"), Some(told(Colour::Green, 12)));
        assert_eq!(Told::read(b"web blue1 -1 30000"), Some(told(Colour::Blue, 30_000)));
        for other in [
            &b""[..],
            b"web <NOSRV> 503 0",
            b"web:in <NOSRV> 400 0",
            b"web green1 200 -1",
            b"web green1 200 12 more",
            b"web green1 200",
            b"web green1 200 99999999999",
            b"Server web/green1 is UP.",
            b"web gre\xffn1 200 12",
        ] {
            assert_eq!(Told::read(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn a_window_holds_its_seconds_and_what_is_old_is_forgotten() {
        let mut book = Book::default();
        book.add(&told(Colour::Blue, 1), 0);
        assert_eq!(book.latency(&web(), Span::seconds(60), 0), None, "nobody opened it");
        book.open(&web(), 100);
        for second in 100..100 + 2 * KEPT {
            book.add(&told(Colour::Blue, if second % 100 == 0 { 900 } else { 10 }), second);
        }
        let now = 100 + 2 * KEPT - 1;
        let of = |window| book.latency(&web(), window, now).expect("open")[0].1;
        assert_eq!(of(Span::seconds(9)).seen, 10);
        assert_eq!(of(Span::seconds(9)).p99, Some(Span::millis(10)));
        assert_eq!(of(Span::seconds(86_400)).seen, KEPT + 1);
        assert_eq!(of(Span::seconds(86_400)).listened, Span::seconds(KEPT));
        assert!(book.services[&web()].seconds[0].len() as u64 <= KEPT + 1);
        let early = book.latency(&web(), Span::seconds(60), 130).expect("open")[1].1;
        assert_eq!((early.seen, early.p50, early.listened), (0, None, Span::seconds(30)));
    }

    #[test]
    fn quantiles_are_those_of_the_requests() {
        let mut book = Book::default();
        book.open(&web(), 0);
        for millis in 1..=100 {
            book.add(&told(Colour::Green, millis), 7);
        }
        let green = book.latency(&web(), Span::seconds(10), 7).expect("open")[1].1;
        let near = |span: Option<Span>, millis: f64| {
            let found = span.expect("seen").std().as_secs_f64() * 1e3;
            assert!((found - millis).abs() <= millis / 32.0, "{found} for {millis}");
        };
        assert_eq!(green.seen, 100);
        near(green.p50, 50.0);
        near(green.p95, 95.0);
        near(green.p99, 99.0);
    }

    proptest! {
        #[test]
        fn a_bucket_is_as_near_as_it_is_said_to_be(millis in 0..=SLOWEST) {
            let bucket = bucket(millis);
            prop_assert!(bucket < 304);
            let off = (middle(bucket).std().as_millis() as f64 - f64::from(millis)).abs();
            prop_assert!(off <= f64::from(millis) / 32.0, "{millis} fell to {bucket}");
        }

        #[test]
        fn no_datagram_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), now in any::<u32>()) {
            let mut book = Book::default();
            book.open(&web(), 0);
            if let Some(told) = Told::read(&bytes) {
                book.add(&told, now.into());
            }
            prop_assert!(book.latency(&web(), Span::seconds(60), now.into()).is_some());
        }
    }
}
