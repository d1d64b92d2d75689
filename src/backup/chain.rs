use std::collections::BTreeMap;

use crate::model::{Digest, Generation};

use super::{Header, Link, ManifestPart, Removed};

/// A place where the chain of headers does not hold, and the object to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Break {
    pub object: String,
    pub why: String,
}

/// A header, as itself or as a tombstone tells it.
#[derive(Clone, Copy, PartialEq)]
struct Known {
    sha256: Digest,
    previous: Option<Link>,
}

/// Walks the chain over every header whose signature holds, each with the hash of its bytes.
///
/// Each header names the one before it; the first names none. A header that a tombstone lists is allowed to be gone;
/// one that is still there has to be the one that is listed.
/// `unreadable` are generations whose header is there but damaged: they are reported elsewhere, not as missing.
/// `newest` is the last one this host published: a store that ends before it has lost something.
pub fn walk(headers: &[(Digest, Header)], unreadable: &[Generation], newest: Option<Link>) -> Vec<Break> {
    let name = |generation| ManifestPart::Header.name(generation);
    let mut breaks = Vec::new();
    let present = headers.iter().map(|(sha256, header)| {
        let known = Known {
            sha256: *sha256,
            previous: header.previous(),
        };
        (header.generation(), known)
    });
    let mut known: BTreeMap<Generation, Known> = present.collect();
    for (_, header) in headers {
        let Header::Tombstone(tombstone) = header else { continue };
        for removed in &tombstone.removed {
            let told = Known {
                sha256: removed.sha256,
                previous: removed.previous,
            };
            if *known.entry(removed.generation).or_insert(told) != told {
                breaks.push(Break {
                    object: name(removed.generation),
                    why: format!("it is not the one that {} says was removed", name(tombstone.generation)),
                });
            }
        }
    }
    let mut before: Option<Generation> = None;
    for (generation, here) in &known {
        match (here.previous, before) {
            (None, None) => {}
            (None, Some(older)) => breaks.push(Break {
                object: name(*generation),
                why: format!("it begins a new chain although generation {} is before it", older.0),
            }),
            (Some(link), _) if unreadable.contains(&link.generation) => {}
            (Some(link), _) => match known.get(&link.generation) {
                None => breaks.push(Break {
                    object: name(link.generation),
                    why: format!("it is missing; {} follows it", name(*generation)),
                }),
                Some(older) if older.sha256 != link.sha256 => breaks.push(Break {
                    object: name(link.generation),
                    why: format!("it is not the one that {} followed", name(*generation)),
                }),
                Some(_) if before != Some(link.generation) => breaks.push(Break {
                    object: name(*generation),
                    why: format!("it leaves out generation {}", before.map_or(0, |g| g.0)),
                }),
                Some(_) => {}
            },
        }
        before = Some(*generation);
    }
    if let Some(newest) = newest
        && !unreadable.contains(&newest.generation)
    {
        match known.get(&newest.generation) {
            Some(found) if found.sha256 == newest.sha256 => {}
            Some(_) => breaks.push(Break {
                object: name(newest.generation),
                why: "it is not the one this host published".into(),
            }),
            None => breaks.push(Break {
                object: name(newest.generation),
                why: "it is missing, and this host published it".into(),
            }),
        }
    }
    breaks.dedup();
    breaks
}

/// What the tombstones among these headers list: as far as reading goes, those snapshots are gone, also where a prune that
/// was interrupted left something of them.
pub fn buried(headers: &[(Digest, Header)]) -> BTreeMap<Generation, Removed> {
    let tombstones = headers.iter().filter_map(|(_, header)| match header {
        Header::Tombstone(tombstone) => Some(tombstone),
        Header::Snapshot(_) => None,
    });
    let listed = tombstones.flat_map(|tombstone| &tombstone.removed);
    listed.map(|removed| (removed.generation, removed.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Tombstone;
    use super::*;

    fn header(generation: u64, previous: Option<u64>, removed: &[(u64, Option<u64>)]) -> (Digest, Header) {
        let header = Header::Tombstone(Tombstone {
            project: "ark".parse().expect("a name"),
            generation: Generation(generation),
            written: Default::default(),
            previous: previous.map(link),
            tool: String::new(),
            removed: removed
                .iter()
                .map(|(generation, previous)| Removed {
                    generation: Generation(*generation),
                    sha256: link(*generation).sha256,
                    previous: previous.map(link),
                })
                .collect(),
            signer: String::new(),
        });
        (link(generation).sha256, header)
    }

    fn link(generation: u64) -> Link {
        Link {
            generation: Generation(generation),
            sha256: Digest::of(&generation.to_be_bytes()),
        }
    }

    fn objects(headers: &[(Digest, Header)], newest: Option<u64>) -> Vec<String> {
        let breaks = walk(headers, &[], newest.map(link));
        breaks.into_iter().map(|b| b.object).collect()
    }

    #[test]
    fn a_whole_chain_holds_with_reserved_generations_between() {
        let chain = [header(1, None, &[]), header(2, Some(1), &[]), header(5, Some(2), &[])];
        assert_eq!(objects(&chain, Some(5)), Vec::<String>::new());
    }

    #[test]
    fn what_is_gone_or_replaced_is_named() {
        let whole = [header(1, None, &[]), header(2, Some(1), &[]), header(3, Some(2), &[])];
        assert_eq!(
            objects(&[whole[0].clone(), whole[2].clone()], None),
            ["man/0000000002.json"]
        );
        assert_eq!(objects(&whole[1..], None), ["man/0000000001.json"]);
        assert_eq!(objects(&whole[..2], Some(3)), ["man/0000000003.json"]);
        let mut replaced = whole.clone();
        replaced[1].0 = Digest::of(b"another");
        assert_eq!(objects(&replaced, None), ["man/0000000002.json"]);
        let forked = [header(1, None, &[]), header(2, Some(1), &[]), header(3, Some(1), &[])];
        assert_eq!(objects(&forked, None), ["man/0000000003.json"]);
        let begun_again = [header(1, None, &[]), header(2, None, &[])];
        assert_eq!(objects(&begun_again, None), ["man/0000000002.json"]);
    }

    #[test]
    fn what_a_tombstone_lists_may_be_gone() {
        let pruned = [
            header(1, None, &[]),
            header(3, Some(2), &[]),
            header(4, Some(3), &[(2, Some(1))]),
        ];
        assert_eq!(objects(&pruned, None), Vec::<String>::new());
        let from_the_start = [header(2, Some(1), &[]), header(3, Some(2), &[(1, None)])];
        assert_eq!(objects(&from_the_start, None), Vec::<String>::new());
    }
    #[test]
    fn a_tombstone_hides_nothing_that_it_does_not_list_as_it_was() {
        let whole = [
            header(1, None, &[]),
            header(2, Some(1), &[]),
            header(3, Some(2), &[]),
            header(4, Some(3), &[(2, Some(1))]),
        ];
        assert_eq!(
            objects(&whole, Some(4)),
            Vec::<String>::new(),
            "what is left over is no break"
        );
        assert_eq!(
            objects(&[whole[0].clone(), whole[3].clone()], None),
            ["man/0000000003.json"]
        );
        // Listed with another place in the chain than it had.
        let moved = [whole[0].clone(), whole[2].clone(), header(4, Some(3), &[(2, None)])];
        assert_eq!(objects(&moved, None), ["man/0000000002.json"]);
        // Listed with another hash: the header after it followed another.
        let mut other = whole[3].clone();
        if let Header::Tombstone(tombstone) = &mut other.1 {
            tombstone.removed[0].sha256 = Digest::of(b"another");
        }
        let forged = [whole[0].clone(), whole[2].clone(), other.clone()];
        assert_eq!(objects(&forged, None), ["man/0000000002.json"]);
        let mut beside = whole.to_vec();
        beside[3] = other;
        assert_eq!(
            objects(&beside, None),
            ["man/0000000002.json"],
            "it is there, and another"
        );
        // One that never was cannot be slipped in.
        let invented = [whole[0].clone(), whole[1].clone(), header(5, Some(2), &[(3, Some(2))])];
        assert_eq!(objects(&invented, None), ["man/0000000005.json"]);
        // The newest that this host knows of does not go by another's hash.
        let newest = Link {
            generation: Generation(2),
            sha256: Digest::of(b"what this host published"),
        };
        let breaks = walk(
            &[whole[0].clone(), whole[2].clone(), whole[3].clone()],
            &[],
            Some(newest),
        );
        assert_eq!(breaks.len(), 1, "{breaks:?}");
        assert_eq!(buried(&whole).into_keys().collect::<Vec<_>>(), [Generation(2)]);
    }
}
