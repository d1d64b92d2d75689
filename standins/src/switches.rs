//! Switches read from the environment that make a stand-in slow, failing, unhealthy or mortal.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How a stand-in misbehaves; all off by default.
#[derive(Debug, Default)]
pub struct Switches {
    /// `STANDIN_DELAY`: added to every request but health and metrics.
    pub delay: Duration,
    /// `STANDIN_FAIL`: the share (0 to 1, or `10%`) of requests answered 500, spread evenly.
    pub fail: f64,
    /// `STANDIN_UNHEALTHY=1`: health answers 503.
    pub unhealthy: bool,
    /// `STANDIN_CRASH_AFTER`: the process ends with code 1 this long after it began to listen.
    pub crash_after: Option<Duration>,
    /// `STANDIN_START_DELAY`: waited before anything else happens.
    pub start_delay: Duration,
    asked: AtomicU64,
}

impl Switches {
    /// Reads every switch; the error names the variable and what it should look like.
    pub fn from_env() -> Result<Self, String> {
        Self::from_lookup(|name| env::var(name).ok())
    }

    fn from_lookup(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let span = |name: &str| {
            set(name)
                .map(|text| span(&text).map_err(|why| format!("{name}: {why}")))
                .transpose()
        };
        Ok(Self {
            delay: span("STANDIN_DELAY")?.unwrap_or_default(),
            fail: set("STANDIN_FAIL")
                .map(|text| share(&text))
                .transpose()?
                .unwrap_or_default(),
            unhealthy: set("STANDIN_UNHEALTHY").is_some_and(|value| value != "0"),
            crash_after: span("STANDIN_CRASH_AFTER")?,
            start_delay: span("STANDIN_START_DELAY")?.unwrap_or_default(),
            asked: AtomicU64::new(0),
        })
    }

    /// Whether the request now being answered is one of those that must fail.
    pub fn fails_now(&self) -> bool {
        if self.fail <= 0.0 {
            return false;
        }
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        // Evenly spread, so that a share of 10 % is met exactly over any ten requests.
        ((asked + 1) as f64 * self.fail).floor() > (asked as f64 * self.fail).floor()
    }
}

/// `50ms`, `2s`, `5m`.
pub fn span(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let wrong = || format!("`{text}` is not a duration such as 50ms, 2s or 5m");
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

fn share(text: &str) -> Result<f64, String> {
    let wrong = || format!("STANDIN_FAIL: `{text}` is not a share such as 0.1 or 10%");
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map_err(|_| wrong())? / 100.0,
        None => text.parse::<f64>().map_err(|_| wrong())?,
    };
    if (0.0..=1.0).contains(&number) {
        Ok(number)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<Switches, String> {
        Switches::from_lookup(move |asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn nothing_set_does_no_harm() {
        let switches = Switches::from_lookup(|_| None).expect("no variable is no error");
        assert!(!switches.unhealthy && switches.crash_after.is_none() && switches.delay.is_zero());
        assert!((0..1000).all(|_| !switches.fails_now()));
    }

    #[test]
    fn a_share_is_met_exactly() {
        let switches = with("STANDIN_FAIL", "30%").expect("a share");
        assert_eq!((0..1000).filter(|_| switches.fails_now()).count(), 300);
        let all = with("STANDIN_FAIL", "1").expect("a share");
        assert!((0..10).all(|_| all.fails_now()));
    }

    #[test]
    fn durations_and_mistakes() {
        assert_eq!(
            with("STANDIN_DELAY", "50ms").expect("a duration").delay,
            Duration::from_millis(50)
        );
        assert_eq!(
            with("STANDIN_CRASH_AFTER", "2m").expect("a duration").crash_after,
            Some(Duration::from_secs(120))
        );
        for wrong in [
            "5",
            "ms",
            "-1s",
            "1h",
            "99999999999999999999s",
            "18446744073709551615m",
            "中",
        ] {
            let error = with("STANDIN_DELAY", wrong).expect_err(wrong);
            assert!(error.contains("STANDIN_DELAY"), "{error}");
        }
        assert!(with("STANDIN_FAIL", "101%").is_err());
        assert!(with("STANDIN_FAIL", "NaN").is_err());
        assert!(with("STANDIN_UNHEALTHY", "1").expect("a flag").unhealthy);
        assert!(!with("STANDIN_UNHEALTHY", "0").expect("a flag").unhealthy);
    }
}
