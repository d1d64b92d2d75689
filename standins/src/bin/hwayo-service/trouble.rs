//! Switches of this program alone: users turned away, memory that grows, processors kept busy.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MEBIBYTE: usize = 1024 * 1024;

/// How it misbehaves beyond [`standins::switches::Switches`]; all off by default.
#[derive(Debug, Default)]
pub struct Trouble {
    /// `STANDIN_REFUSE`: so many of a hundred logins, submissions and reports come to nothing without an error 5xx:
    /// only a gate on business figures sees it.
    refuse: u64,
    /// `STANDIN_GROW`: mebibytes of memory taken every second and never given back.
    grow: usize,
    /// `STANDIN_SPIN`: threads that do nothing at full speed.
    spin: usize,
    asked: AtomicU64,
}

impl Trouble {
    pub fn from_env() -> Result<Self, String> {
        Self::from_lookup(|name| env::var(name).ok())
    }

    fn from_lookup(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str, unit: &str, most: usize| match get(name).filter(|text| !text.is_empty()) {
            None => Ok(0),
            Some(text) => {
                let digits = text.strip_suffix(unit).unwrap_or(&text);
                let number = digits.parse().ok().filter(|number| *number <= most);
                number.ok_or_else(|| format!("{name}: `{text}` is not a number up to {most}{unit}"))
            }
        };
        Ok(Self {
            refuse: number("STANDIN_REFUSE", "%", 100)? as u64,
            grow: number("STANDIN_GROW", "M", 1024)?,
            spin: number("STANDIN_SPIN", "", 64)?,
            asked: AtomicU64::new(0),
        })
    }

    /// Whether the business request now being answered is one of those to turn away; evenly spread.
    pub fn refuses_now(&self) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        (asked + 1) * self.refuse / 100 > asked * self.refuse / 100
    }

    /// Begins what goes on until the process ends.
    pub fn arm(&self) {
        let bytes = self.grow * MEBIBYTE;
        if bytes > 0 {
            tokio::spawn(async move {
                let mut kept = Vec::new();
                loop {
                    // Written to, so that it is memory and not a promise of it.
                    kept.push(vec![1u8; bytes]);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            });
        }
        for _ in 0..self.spin {
            std::thread::spawn(|| {
                loop {
                    std::hint::spin_loop();
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<Trouble, String> {
        Trouble::from_lookup(move |asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn a_share_is_refused_exactly() {
        let some = with("STANDIN_REFUSE", "20%").expect("a share");
        assert_eq!((0..1000).filter(|_| some.refuses_now()).count(), 200);
        let none = with("STANDIN_REFUSE", "").expect("nothing");
        assert!((0..1000).all(|_| !none.refuses_now()));
    }

    #[test]
    fn mistakes_name_the_variable() {
        assert_eq!(with("STANDIN_GROW", "8M").expect("a size").grow, 8);
        assert_eq!(with("STANDIN_SPIN", "2").expect("a count").spin, 2);
        for (name, wrong) in [
            ("STANDIN_REFUSE", "101%"),
            ("STANDIN_REFUSE", "-1"),
            ("STANDIN_GROW", "2G"),
            ("STANDIN_SPIN", "65"),
        ] {
            let error = with(name, wrong).expect_err(wrong);
            assert!(error.contains(name), "{error}");
        }
    }
}
