use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use qrinfo_core::wire::frame::{Command, max_payload};

/// Payloads of replies, one a file, named by the first height of its cycle.
///
/// They lie outside of the database: a payload is verified whenever it is used, so damage to one costs that reply
/// alone.
#[derive(Debug)]
pub(super) struct Replies {
    directory: PathBuf,
}

// === impl Replies ===

impl Replies {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Writes a payload so that after a crash either the old one is there or the new one.
    pub(super) fn put(&self, cycle_height: u32, payload: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let fresh = self.directory.join("fresh");
        let mut file = File::create(&fresh)?;
        file.write_all(payload)?;
        file.sync_all()?;
        fs::rename(&fresh, self.path(cycle_height))?;
        sync_directory(&self.directory)
    }

    /// The payload of a cycle; nothing if it is gone or is longer than any.
    pub(super) fn get(&self, cycle_height: u32) -> io::Result<Option<Bytes>> {
        let limit = max_payload(Command::QR_INFO);
        let mut payload = Vec::new();
        match File::open(self.path(cycle_height)) {
            Ok(file) => file.take(limit as u64 + 1).read_to_end(&mut payload)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok((payload.len() <= limit).then(|| payload.into()))
    }

    /// Makes room; a payload that stays is one that nothing leads to.
    pub(super) fn remove(&self, cycle_height: u32) {
        if let Err(error) = fs::remove_file(self.path(cycle_height)) {
            tracing::debug!(cycle_height, %error, "a stored payload stays");
        }
    }

    fn path(&self, cycle_height: u32) -> PathBuf {
        self.directory.join(format!("{cycle_height}.qrinfo"))
    }
}

/// Makes a new name in a directory last. Elsewhere than on Unix that is up to the system.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
