use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Gate;

use super::Verdict;

/// Breaches in a row, by gate: one bad look is no reason to take a release back where the gate says it takes more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strikes(BTreeMap<String, u32>);

impl Strikes {
    /// Whether with this look the gate was breached as often in a row as it takes to act. A look that says nothing
    /// neither counts nor makes earlier ones forgotten.
    pub fn count(&mut self, gate: &Gate, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Breached(_) => {
                let strikes = self.0.entry(gate.name.clone()).or_default();
                *strikes = strikes.saturating_add(1);
                *strikes >= gate.failures
            }
            Verdict::Passed | Verdict::Failed(_) => {
                self.0.remove(&gate.name);
                false
            }
            Verdict::Inconclusive(_) => false,
        }
    }

    pub fn of(&self, gate: &Gate) -> u32 {
        self.0.get(&gate.name).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::tests::router_gate as router;

    #[test]
    fn only_breaches_in_a_row_count_and_silence_is_no_acquittal() {
        let (breached, failed) = (Verdict::Breached("over".into()), Verdict::Failed("over".into()));
        let silent = Verdict::Inconclusive("few".into());
        let mut gate = router("errors");
        gate.failures = 3;
        let mut strikes = Strikes::default();
        let mut acts = |verdict: &Verdict| strikes.count(&gate, verdict);
        for verdict in [
            &breached,
            &breached,
            &Verdict::Passed,
            &breached,
            &breached,
            &failed,
            &breached,
        ] {
            assert!(!acts(verdict), "{verdict:?}");
        }
        assert!(!acts(&silent) && !acts(&breached) && !acts(&silent));
        assert!(acts(&breached), "the third in a row, silence apart");
        assert!(acts(&breached), "and every further one");
        assert!(!acts(&Verdict::Passed));
        assert_eq!(strikes.of(&gate), 0);
    }

    #[test]
    fn gates_are_counted_apart_and_the_count_is_kept() {
        let (mut one, mut other) = (router("one"), router("other"));
        (one.failures, other.failures) = (2, 2);
        let breached = Verdict::Breached("over".into());
        let mut strikes = Strikes::default();
        assert!(!strikes.count(&one, &breached) && !strikes.count(&other, &breached));
        let text = serde_json::to_string(&strikes).expect("written");
        let mut strikes: Strikes = serde_json::from_str(&text).expect("read");
        assert!(strikes.count(&one, &breached));
        assert_eq!((strikes.of(&one), strikes.of(&other)), (2, 1));
    }
}
