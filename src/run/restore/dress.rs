use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use crate::backup::{Entry, Meta, Node, Traits, escape};

use super::RestoreError;
use super::target::failed;

const SET_ID: u32 = 0o6000;
const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// Gives what was restored its owner, attributes, mode and time, and counts what could not be given.
pub(super) struct Dresser {
    /// Only root gives files away.
    owns: bool,
    uid: u32,
    /// Extended attributes that could not be set, and the first of them with the reason.
    xattrs: u64,
    example: Option<String>,
    /// Files whose set-id bits were taken off.
    set_id: u64,
}

impl Dresser {
    pub(super) fn new() -> Self {
        let uid = rustix::process::geteuid();
        Dresser {
            owns: uid.is_root(),
            uid: uid.as_raw(),
            xattrs: 0,
            example: None,
            set_id: 0,
        }
    }

    pub(super) fn owns(&self) -> bool {
        self.owns
    }

    /// A file or a folder. ACLs that a new one got from the folder it lies in are taken off, unless it is to have them.
    pub(super) fn dress(&mut self, file: impl AsFd, path: &Path, entry: &Entry, new: bool) -> Result<(), RestoreError> {
        let file = file.as_fd();
        let wrong = |e: Errno| failed(path, e);
        if self.owns {
            let (uid, gid) = owner(&entry.meta);
            rustix::fs::fchown(file, uid, gid).map_err(wrong)?;
        }
        if new {
            let acls = if entry.node == Node::Dir { &ACLS[..] } else { &ACLS[..1] };
            strip(acls, &entry.traits, |name| rustix::fs::fremovexattr(file, name)).map_err(wrong)?;
        }
        // After the owner, since changing that takes capabilities off, and before the mode, which an ACL changes.
        self.give(path, &entry.traits, |name, value| {
            rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
        })?;
        rustix::fs::fchmod(file, self.mode(&entry.meta)).map_err(wrong)?;
        rustix::fs::futimens(file, &times(&entry.meta)).map_err(wrong)
    }

    /// A link, a named pipe or a device, by its name in a folder: what it leads to is left alone.
    pub(super) fn dress_at(
        &mut self,
        folder: &OwnedFd,
        name: &std::ffi::OsStr,
        path: &Path,
        entry: &Entry,
        is_link: bool,
    ) -> Result<(), RestoreError> {
        let wrong = |e: Errno| failed(path, e);
        if self.owns {
            let (uid, gid) = owner(&entry.meta);
            rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(wrong)?;
        }
        if !is_link || !entry.traits.xattrs.is_empty() {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let held = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(wrong)?;
            // The way to what is held itself, be it a link.
            let itself = format!("/proc/self/fd/{}", held.as_raw_fd());
            if !is_link {
                strip(&ACLS[..1], &entry.traits, |name| rustix::fs::removexattr(&itself, name)).map_err(wrong)?;
            }
            self.give(path, &entry.traits, |name, value| {
                rustix::fs::setxattr(&itself, name, value, XattrFlags::empty())
            })?;
            if !is_link {
                rustix::fs::chmod(&itself, self.mode(&entry.meta)).map_err(wrong)?;
            }
        }
        rustix::fs::utimensat(folder, name, &times(&entry.meta), AtFlags::SYMLINK_NOFOLLOW).map_err(wrong)
    }

    /// What the file system, or who this is, cannot do is counted; a disk that breaks is an error.
    fn give(
        &mut self,
        path: &Path,
        traits: &Traits,
        set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>,
    ) -> Result<(), RestoreError> {
        for (name, value) in &traits.xattrs {
            match set(name, value) {
                Ok(()) => {}
                Err(error @ (Errno::IO | Errno::ROFS | Errno::BADF)) => return Err(failed(path, error)),
                Err(error) => {
                    self.xattrs += 1;
                    self.example
                        .get_or_insert_with(|| format!("{} of {}: {error}", escape(name), path.display()));
                }
            }
        }
        Ok(())
    }

    /// Set-id bits would lend another's rights where the owner is not given.
    fn mode(&mut self, meta: &Meta) -> Mode {
        let lends = !self.owns && meta.uid != self.uid && meta.mode & SET_ID != 0;
        self.set_id += u64::from(lends);
        Mode::from_raw_mode(if lends { meta.mode & !SET_ID } else { meta.mode })
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.owns {
            notes.push("owners were not set: only root may give files away".into());
        }
        if self.set_id > 0 {
            notes.push(format!(
                "{} with set-id bits got none, since their owner was not set",
                self.set_id
            ));
        }
        if let Some(example) = &self.example {
            notes.push(format!(
                "{} extended attributes could not be set, such as {example}",
                self.xattrs
            ));
        }
        notes
    }

    pub(super) fn xattrs_lost(&self) -> u64 {
        self.xattrs
    }
}

/// Takes off the ACLs that something got from the folder it lies in, unless it is to have them.
fn strip(acls: &[&[u8]], traits: &Traits, remove: impl Fn(&[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
    for acl in acls.iter().filter(|acl| !traits.xattrs.contains_key(**acl)) {
        match remove(acl) {
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn owner(meta: &Meta) -> (Option<rustix::fs::Uid>, Option<rustix::fs::Gid>) {
    // All ones would mean "leave it".
    let uid = (meta.uid != u32::MAX).then(|| rustix::fs::Uid::from_raw(meta.uid));
    let gid = (meta.gid != u32::MAX).then(|| rustix::fs::Gid::from_raw(meta.gid));
    (uid, gid)
}

fn times(meta: &Meta) -> Timestamps {
    let time = Timespec {
        tv_sec: meta.mtime.div_euclid(1_000_000_000),
        tv_nsec: meta.mtime.rem_euclid(1_000_000_000),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
