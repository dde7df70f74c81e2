use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use qrinfo_core::wire::frame::{Command, max_payload};

/// Payloads of replies in a directory, one file for each cycle.
///
/// They are not in the database: a payload is verified when it is used, so damage costs one reply and not the store.
#[derive(Debug)]
pub(crate) struct Payloads {
    directory: PathBuf,
}

// === impl Payloads ===

impl Payloads {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Writes a payload. After a crash either the old payload is there or the new one.
    pub(crate) fn put(&self, cycle_height: u32, payload: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let fresh = self.directory.join("fresh");
        let mut file = File::create(&fresh)?;
        file.write_all(payload)?;
        file.sync_all()?;
        fs::rename(&fresh, self.path(cycle_height))?;
        sync_directory(&self.directory)
    }

    /// The payload of a cycle, or `None` if its file is missing or longer than a reply can be.
    pub(crate) fn get(&self, cycle_height: u32) -> io::Result<Option<Bytes>> {
        let limit = max_payload(Command::QR_INFO);
        let mut payload = Vec::new();
        match File::open(self.path(cycle_height)) {
            Ok(file) => file.take(limit as u64 + 1).read_to_end(&mut payload)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok((payload.len() <= limit).then(|| payload.into()))
    }

    /// Deletes a payload that the database no longer names. It is never read again, so a failure is not an error.
    pub(crate) fn remove(&self, cycle_height: u32) {
        if let Err(error) = fs::remove_file(self.path(cycle_height)) {
            tracing::debug!(cycle_height, %error, "cannot delete the file of a reply");
        }
    }

    fn path(&self, cycle_height: u32) -> PathBuf {
        self.directory.join(format!("{cycle_height}.qrinfo"))
    }
}

/// Makes a new name in a directory durable. On systems other than Unix this is up to the system.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
