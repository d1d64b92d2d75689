use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use crate::model::{OperationId, ServiceName};

use super::ProjectFolder;

/// A list longer than this is not used.
const MOST: u64 = 64 << 20;

/// Operations that are known to be over, with the services they were about: their journals need not be read to find that
/// out, and there are more of them every day.
///
/// It only spares reading. What is missing in it, or damaged, is read from the journal, and noted again.
#[derive(Debug, Default)]
pub struct Over {
    known: BTreeMap<(OperationId, String), Vec<ServiceName>>,
}

impl Over {
    /// What the operation was about; `None` where nobody has noted that it is over.
    pub fn services(&self, id: &OperationId, kind: &str) -> Option<&[ServiceName]> {
        let key = (id.clone(), kind.to_owned());
        self.known.get(&key).map(Vec::as_slice)
    }

    pub fn all_services(&self) -> BTreeSet<&ServiceName> {
        self.known.values().flatten().collect()
    }

    /// Lines of `id.kind service… .`; one that is cut short or no such line is passed over.
    fn parse(text: &str) -> Self {
        let known = text.lines().filter_map(|line| {
            let mut words = line.strip_suffix(" .")?.split(' ');
            let (id, kind) = words.next()?.split_once('.')?;
            let services = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
            Some(((id.parse().ok()?, kind.to_owned()), services))
        });
        Over { known: known.collect() }
    }
}

impl ProjectFolder {
    /// Empty where there is none that can be read.
    pub fn over(&self) -> Over {
        let mut text = Vec::new();
        let read = File::open(self.over_list()).and_then(|file| file.take(MOST + 1).read_to_end(&mut text));
        match read {
            Ok(read) if read as u64 <= MOST => Over::parse(&String::from_utf8_lossy(&text)),
            Ok(_) => Over::default(),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::debug!("the list of what is over cannot be read: {error}");
                }
                Over::default()
            }
        }
    }

    /// Notes the end of an operation that was seen in its journal.
    pub fn note_over(&self, id: &OperationId, kind: &str, services: &[&str]) {
        let services: String = services.iter().map(|service| format!(" {service}")).collect();
        // With an end before it, and a mark at its own: a full disk may leave any part of a line.
        let line = format!("\n{id}.{kind}{services} .\n");
        let open = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.over_list());
        if let Err(error) = open.and_then(|mut file| file.write_all(line.as_bytes())) {
            tracing::debug!("that {id} is over is not noted: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn id(text: &str) -> OperationId {
        text.parse().expect("an id")
    }

    #[test]
    fn what_is_noted_is_known_and_what_is_damaged_is_not() {
        let state = tempfile::tempdir().expect("a folder");
        let folder = ProjectFolder::open(state.path(), &"ark".parse().expect("a name")).expect("opened");
        let (one, two) = (id("20261120T120000Z-000001"), id("20261120T120000Z-000002"));
        assert_eq!(folder.over().services(&one, "release"), None);
        folder.note_over(&one, "release", &["web", "api"]);
        let half = OpenOptions::new().append(true).open(folder.over_list());
        half.and_then(|mut file| file.write_all(b"20261120T120000Z-0000"))
            .expect("written");
        folder.note_over(&two, "backup", &[]);
        let over = folder.over();
        let services = over.services(&one, "release").expect("noted");
        assert_eq!(
            services.iter().map(ServiceName::as_str).collect::<Vec<_>>(),
            ["web", "api"]
        );
        assert_eq!(over.services(&two, "backup"), Some(&[][..]));
        assert_eq!(over.services(&two, "drill"), None, "of another kind");
        assert_eq!(over.all_services().len(), 2);
        let whole = fs::read(folder.over_list()).expect("there");
        for length in 0..whole.len() {
            fs::write(folder.over_list(), &whole[..length]).expect("cut short");
            folder.note_over(&two, "backup", &[]);
            let known = folder.over();
            let services = known.services(&one, "release");
            assert!(
                services.is_none_or(|services| services.len() == 2),
                "cut at {length}: {services:?}"
            );
            assert!(known.services(&two, "backup").is_some());
        }
        let odd = Over::parse("nothing .\n20261120T120000Z-000001.release ../etc .\n\u{0}\n\n");
        assert_eq!(odd.known.len(), 0);
    }
}
