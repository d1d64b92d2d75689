use std::collections::BTreeMap;

/// Bad looks in a row, by what was looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strikes(BTreeMap<String, u32>);

impl Strikes {
    /// Counts one look; whether that makes `limit` bad ones in a row.
    pub fn struck(&mut self, what: &str, bad: bool, limit: u32) -> bool {
        if !bad {
            self.0.remove(what);
            return false;
        }
        let count = self.0.entry(what.to_owned()).or_default();
        *count += 1;
        *count >= limit
    }
}
