use super::{Coding, EntryPath};

/// How much of a file's beginning tells whether the rest compresses.
pub const PROBE_BYTES: usize = 64 << 10;

/// Names that end so are compressed already.
const PACKED: [&str; 34] = [
    "jpg", "jpeg", "png", "webp", "gif", "heic", "heif", "avif", "jxl", "mp4", "m4v", "mov", "mkv", "webm", "avi",
    "mp3", "m4a", "aac", "ogg", "opus", "flac", "zip", "gz", "tgz", "bz2", "xz", "zst", "lz4", "br", "7z", "rar",
    "docx", "xlsx", "age",
];

/// A file this short goes where it can be compressed with its neighbours, whatever it is alone.
const SHORT_BYTES: usize = 4 << 10;

/// Says which files are worth compressing; keeps what trying that takes.
#[derive(Default)]
pub struct Probe {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    packed: Vec<u8>,
}

impl Probe {
    /// Where a file goes: a name that tells, else whether its beginning shrinks by at least a twentieth.
    pub fn coding_for(&mut self, path: &EntryPath, beginning: &[u8]) -> Coding {
        let name = path.as_str().rsplit('/').next().unwrap_or_default();
        let extension = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
        if extension.is_some_and(|end| PACKED.contains(&end.as_str())) {
            return Coding::Stored;
        }
        let probe = &beginning[..beginning.len().min(PROBE_BYTES)];
        if probe.len() <= SHORT_BYTES {
            return Coding::Zstd;
        }
        match self.shrunk(probe) {
            Ok(packed) if packed * 20 > probe.len() * 19 => Coding::Stored,
            _ => Coding::Zstd,
        }
    }

    fn shrunk(&mut self, probe: &[u8]) -> std::io::Result<usize> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(zstd::bulk::Compressor::new(1)?),
        };
        self.packed.resize(zstd::zstd_safe::compress_bound(PROBE_BYTES), 0);
        compressor.compress_to_buffer(probe, &mut self.packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_and_noise_are_stored_and_text_is_compressed() {
        let mut probe = Probe::default();
        let path = |text: &str| text.parse::<EntryPath>().expect("a path");
        let noise: Vec<u8> = (0..3000u32)
            .flat_map(|n| crate::model::Digest::of(&n.to_be_bytes()).as_bytes().to_vec())
            .collect();
        assert_eq!(probe.coding_for(&path("uploads/IMG.JPG"), b"aaaa"), Coding::Stored);
        assert_eq!(probe.coding_for(&path("uploads/noise"), &noise), Coding::Stored);
        assert_eq!(
            probe.coding_for(&path("config/app.yaml"), "key: value\n".repeat(400).as_bytes()),
            Coding::Zstd
        );
        assert_eq!(probe.coding_for(&path("empty"), b""), Coding::Zstd);
    }
}
