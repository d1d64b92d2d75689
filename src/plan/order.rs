use std::collections::{BTreeMap, BTreeSet};

use crate::model::ServiceName;

/// Dependencies before dependents, by name where nothing else says. A circle, which the Compose reader refuses, would
/// be taken apart at its first name rather than looped over.
pub(super) fn by_dependency(needs: &BTreeMap<ServiceName, BTreeSet<ServiceName>>) -> Vec<ServiceName> {
    let mut ordered: Vec<ServiceName> = Vec::with_capacity(needs.len());
    let mut left: BTreeSet<&ServiceName> = needs.keys().collect();
    while !left.is_empty() {
        let free = |name: &&&ServiceName| needs[**name].iter().all(|need| !left.contains(need));
        let Some(next) = left.iter().find(free).or_else(|| left.first()).copied() else {
            break;
        };
        left.remove(next);
        ordered.push(next.clone());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(pairs: &[(&str, &[&str])]) -> Vec<String> {
        let name = |text: &str| text.parse::<ServiceName>().expect("a name");
        let map = pairs
            .iter()
            .map(|(service, needs)| (name(service), needs.iter().map(|n| name(n)).collect()))
            .collect();
        by_dependency(&map).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dependencies_come_first_and_names_decide_the_rest() {
        assert_eq!(
            needs(&[("a", &["c"]), ("b", &[]), ("c", &["b", "gone"])]),
            ["b", "c", "a"]
        );
        assert_eq!(needs(&[("b", &[]), ("a", &[])]), ["a", "b"]);
    }

    #[test]
    fn a_circle_still_gives_every_name_once() {
        assert_eq!(needs(&[("a", &["b"]), ("b", &["a"]), ("c", &["b"])]), ["a", "b", "c"]);
    }
}
