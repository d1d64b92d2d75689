use proptest::prelude::*;

use super::*;
use crate::model::{Digest, Generation, SegmentId};

fn file(path: &str, content: &[u8]) -> Entry {
    let meta = Meta {
        mode: 0o640,
        uid: 1,
        gid: 2,
        mtime: 3,
    };
    let content = Content {
        size: content.len() as u64,
        sha256: Digest::of(content),
        segment: SegmentId::new([9; 16]),
        offset: 512,
    };
    Entry::plain(path.parse().expect("a path"), meta, Node::File(content))
}

fn plain(path: &str, node: Node) -> Entry {
    Entry::plain(path.parse().expect("a path"), Meta::default(), node)
}

fn text_of(entries: &[Entry]) -> Vec<u8> {
    let opening = Opening {
        listing: FORMAT,
        project: "ark".parse().expect("a name"),
        set: "full".into(),
        taken: Default::default(),
    };
    let mut writer = ListingWriter::begin(Vec::new(), &opening).expect("begun");
    for entry in entries {
        writer.entry(entry).expect("written");
    }
    writer.end(Vec::new(), vec!["a note".into()]).expect("ended").0
}

fn snapshot() -> Header {
    let record = |id: u8| SegmentRecord {
        id: SegmentId::new([id; 16]),
        name: SegmentName {
            id: SegmentId::new([id; 16]),
            coding: Coding::Zstd,
        },
        sha256: Digest::of(&[id]),
        bytes: 10,
    };
    Header::Snapshot(Box::new(Snapshot {
        project: "ark".parse().expect("a name"),
        set: "full".into(),
        generation: Generation(2),
        taken: Default::default(),
        finished: Default::default(),
        previous: Some(Link {
            generation: Generation(1),
            sha256: Digest::of(b"1"),
        }),
        tool: "arkwright 0.1.0".into(),
        listing: Object {
            name: ManifestPart::Listing.name(Generation(2)),
            sha256: Digest::of(b"l"),
            bytes: 5,
        },
        segments: vec![record(1), record(2)],
        sums: record(3),
        images: Vec::new(),
        totals: Totals::default(),
        signer: "SHA256:x".into(),
    }))
}

#[test]
fn every_kind_of_entry_reads_back() {
    let mut rich = file("data/rich", b"x");
    rich.traits.xattrs = [
        (b"user.\xff%\"".to_vec(), vec![0, 255]),
        (b"system.posix_acl_access".to_vec(), vec![2]),
    ]
    .into();
    rich.traits.holes = vec![Hole { offset: 0, length: 1 }];
    let entries = [
        plain("data", Node::Dir),
        file("data/x.db", b"x"),
        plain("data/link", Node::Symlink(b"../\xff%".to_vec())),
        plain("data/hard", Node::Hardlink("data/x.db".parse().expect("a path"))),
        plain("data/fifo", Node::Fifo),
        plain(
            "data/dev",
            Node::Device {
                block: false,
                major: 1,
                minor: 3,
            },
        ),
        rich,
    ];
    let listing = Listing::read(&text_of(&entries)[..]).expect("read");
    assert_eq!(listing.entries, entries);
    assert_eq!(
        (listing.closing.entries, listing.closing.files, listing.closing.bytes),
        (7, 2, 2)
    );
    assert_eq!(
        listing.kinds().to_string(),
        "2 files, 1 folders, 1 links, 1 hard links, 1 named pipes, 1 devices, 1 with extended attributes, 1 with holes"
    );
    assert_eq!(Kinds::default().to_string(), "none");
}

#[test]
fn a_hard_link_names_a_file_before_it() {
    let link = |path: &str, to: &str| plain(path, Node::Hardlink(to.parse().expect("a path")));
    let read = |entries: &[Entry]| Listing::read(&text_of(entries)[..]).map(|_listing| ());
    assert!(read(&[file("a", b"x"), link("b", "a"), link("c", "a")]).is_ok());
    for bad in [
        &[link("b", "a"), file("a", b"x")][..],
        &[link("b", "b")],
        &[plain("a", Node::Dir), link("b", "a")],
        &[plain("a", Node::Symlink(b"/etc/passwd".to_vec())), link("b", "a")],
        &[plain("a", Node::Fifo), link("b", "a")],
        &[file("a", b"x"), link("b", "a"), link("c", "b")],
        &[file("a", b"x"), link("b", "gone")],
    ] {
        assert!(matches!(read(bad), Err(BadListing::Hardlink(_))), "{bad:?}");
    }
    let text = String::from_utf8(text_of(&[file("a", b"x"), link("b", "a")])).expect("text");
    for target in ["../a", "/etc/passwd", "a/../../b", "", "%61"] {
        let bad = text.replace("\"target\":\"a\"", &format!("\"target\":\"{target}\""));
        assert_ne!(bad, text);
        assert!(Listing::read(bad.as_bytes()).is_err(), "{target}");
    }
}

#[test]
fn fields_of_later_writers_are_passed_over() {
    let text = String::from_utf8(text_of(&[file("a", b"x")])).expect("text");
    let later = text.replace(
        "\"offset\":512",
        "\"offset\":512,\"birth\":{\"user.a\":\"YQ==\"},\"chunks\":[[0,1]]",
    );
    assert_ne!(text, later);
    assert_eq!(
        Listing::read(later.as_bytes()).expect("read").entries,
        [file("a", b"x")]
    );
}

#[test]
fn a_listing_that_contradicts_itself_is_refused() {
    let refused = |entries: &[Entry]| Listing::read(&text_of(entries)[..]).is_err();
    assert!(refused(&[file("a", b"x"), file("a", b"y")]));
    assert!(refused(&[
        plain("a", Node::Symlink(b"/etc".to_vec())),
        file("a/passwd", b"x")
    ]));
    assert!(refused(&[file("a/b", b"x"), file("a", b"y")]));
    let text = String::from_utf8(text_of(&[file("a", b"x"), file("b", b"y")])).expect("text");
    for bad in [
        text.replace("\"path\":\"a\"", "\"path\":\"../a\""),
        text.replace("\"path\":\"a\"", "\"path\":\"/a\""),
        text.replace("\"files\":2", "\"files\":3"),
        text.replace("\"mode\":416", "\"mode\":40960"),
        text.replace("\"listing\":1", "\"listing\":2"),
        text.replace("\"offset\":512", "\"offset\":-1"),
        text.replace("\"offset\":512", "\"offset\":512,\"holes\":[[0,2]]"),
        text.replace("\"offset\":512", "\"offset\":512,\"xattrs\":{\"user.a\":\"?\"}"),
        text.replace("\"size\":1", "\"size\":18446744073709551615"),
        text.replacen("\"segment\"", "\"sement\"", 1),
        text.lines().take(3).map(|l| format!("{l}\n")).collect(),
        text.trim_end().to_owned(),
        format!("{text}{{}}\n"),
        String::new(),
    ] {
        assert_ne!(bad, text);
        assert!(Listing::read(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_header_reads_back_and_wrong_ones_say_why() {
    let header = snapshot();
    let bytes = header.encode().expect("encoded");
    assert_eq!(Header::parse(&bytes, Generation(2)).expect("read"), header);
    let text = String::from_utf8(bytes.clone()).expect("text");
    let parse = |text: &str| Header::parse(text.as_bytes(), Generation(2));
    assert!(matches!(
        Header::parse(&bytes, Generation(3)),
        Err(BadHeader::Contradiction(_))
    ));
    assert!(matches!(
        parse(&text.replace("\"format\": 1", "\"format\": 2")),
        Err(BadHeader::Newer(2))
    ));
    assert!(matches!(
        parse(&text.replace("\"format\": 1", "\"format\": 1, \"needs\": [\"chunks\"]")),
        Err(BadHeader::Needs(_))
    ));
    assert!(parse(&text.replace("\"format\": 1", "\"format\": 1, \"parity\": {}")).is_ok());
    assert!(parse(&text.replace("man/0000000002.json.age", "man/0000000001.json.age")).is_err());
    assert!(parse(&text.replace("\"generation\": 1", "\"generation\": 2")).is_err());
    assert!(parse(&text.replace("seg/0101", "seg/0102")).is_err());
    assert!(parse("{}").is_err());
}

#[test]
fn sums_are_spelled_as_sha256sum_spells_them() {
    let mut out = Vec::new();
    sums_line(&file("plain name", b"x"), &mut out).expect("written");
    sums_line(&file("line%0Aend", b"x"), &mut out).expect("written");
    sums_line(&plain("dir", Node::Dir), &mut out).expect("written");
    let hex = Digest::of(b"x").hex();
    assert_eq!(
        String::from_utf8(out).expect("text"),
        format!("{hex}  plain name\n\\{hex}  line\\nend\n")
    );
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(0u8.., 0..400)) {
        prop_assert!(Listing::read(&bytes[..]).is_err());
        prop_assert!(Header::parse(&bytes, Generation(1)).is_err());
        prop_assert!(Identities::generate().open(&bytes[..]).is_err());
        prop_assert!(Signer::from_seed(&[1; 32], "").map(|s| s.trusted()).is_ok_and(|t| t.verify("n", b"x", &bytes).is_err()));
    }

    #[test]
    fn a_changed_listing_or_header_is_read_or_refused(at in 0usize..600, byte in 0u8..) {
        let mut text = text_of(&[
            file("a/b", b"x"),
            plain("c", Node::Symlink(b"d".to_vec())),
            plain("h", Node::Hardlink("a/b".parse().expect("a path"))),
        ]);
        let place = at % text.len();
        text[place] = byte;
        if let Ok(listing) = Listing::read(&text[..]) {
            prop_assert!(listing.entries.iter().all(|e| !e.path.parts().iter().any(|p| p == b"..")));
        }
        let mut bytes = snapshot().encode().expect("encoded");
        let place = at % bytes.len();
        bytes[place] = byte;
        if let Ok(header) = Header::parse(&bytes, Generation(2)) {
            prop_assert_eq!(header.generation(), Generation(2));
        }
    }
}

fn listing_writer() -> ListingWriter<Vec<u8>> {
    let opening = Opening {
        listing: FORMAT,
        project: "ark".parse().expect("a name"),
        set: "full".into(),
        taken: Default::default(),
    };
    ListingWriter::begin(Vec::new(), &opening).expect("begun")
}

#[test]
fn notes_without_end_still_make_a_listing_that_can_be_read() {
    let writer = listing_writer();
    // What JSON writes longest.
    let notes: Vec<String> = (0..100_000).map(|_| "\u{1}".repeat(5000)).collect();
    let (text, closing) = writer.end(Vec::new(), notes).expect("ended");
    let read = Listing::read(text.as_slice()).expect("a listing");
    assert_eq!(read.closing, closing);
    assert_eq!(
        closing.notes.last().map(String::as_str),
        Some("99500 more notes were left out")
    );
    assert!(closing.notes[0].ends_with('…'));
}

#[test]
fn a_line_that_no_reader_takes_is_not_written() {
    let writer = listing_writer();
    let source = SourceRecord {
        kind: SQLITE.into(),
        path: "ark.db".parse().expect("a path"),
        files: 1,
        bytes: 1,
        newest: None,
        rows: (0..100_000).map(|table| (format!("table {table}"), 1)).collect(),
    };
    assert!(writer.end(vec![source], Vec::new()).is_err());
}
