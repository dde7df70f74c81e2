//! A disk in memory that outlives its database, counts, and fails where a test wants it to.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

/// A disk. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Image>>);

#[derive(Debug, Default)]
struct Image {
    /// The bytes, as they are read.
    bytes: Vec<u8>,
    /// The bytes at the last sync.
    synced: Vec<u8>,
    /// Writes since then.
    writes: Vec<(usize, Vec<u8>)>,
    /// The greatest length, if there is one.
    limit: Option<u64>,
    /// Changes that succeed before one fails.
    left: Option<(u64, Failure)>,
    has_failed: bool,
    /// Bytes written so far.
    written: u64,
}

/// The changes that fail: writes, changes of the length, and syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Once,
    Forever,
}

// === impl Disk ===

impl Disk {
    fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Image { synced: bytes.clone(), bytes, ..Image::default() })))
    }

    /// Another disk with the same bytes, without limits: as it is after the process was killed.
    pub(super) fn copy(&self) -> Self {
        Self::of(self.bytes())
    }

    /// The disk after the machine lost power. Of the writes since the last sync those are there that are chosen by their
    /// number.
    pub(super) fn after_power_loss(&self, is_there: impl Fn(usize) -> bool) -> Self {
        let image = self.image();
        let mut bytes = image.synced.clone();
        bytes.resize(image.bytes.len(), 0);
        for (start, data) in
            image.writes.iter().enumerate().filter(|(number, _)| is_there(*number)).map(|(_, write)| write)
        {
            // The file may have been cut since.
            if let Some(place) = bytes.get_mut(*start..start + data.len()) {
                place.copy_from_slice(data);
            }
        }
        drop(image);
        Self::of(bytes)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.image().bytes.clone()
    }

    /// Lets this many changes succeed.
    pub(super) fn fail_after(&self, changes: u64, failure: Failure) {
        self.image().left = Some((changes, failure));
    }

    pub(super) fn has_failed(&self) -> bool {
        self.image().has_failed
    }

    /// Lets the disk grow no further than this.
    pub(super) fn limit(&self, bytes: u64) {
        self.image().limit = Some(bytes);
    }

    pub(super) fn written(&self) -> u64 {
        self.image().written
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        self.0.lock().unwrap()
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.image().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        out.copy_from_slice(&self.image().bytes[start..start + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut image = self.image();
        image.count()?;
        if image.limit.is_some_and(|limit| len > limit) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        image.bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.image();
        image.count()?;
        image.synced = image.bytes.clone();
        image.writes.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut image = self.image();
        image.count()?;
        let start = offset as usize;
        image.bytes[start..start + data.len()].copy_from_slice(data);
        image.writes.push((start, data.to_vec()));
        image.written += data.len() as u64;
        Ok(())
    }
}

// === impl Image ===

impl Image {
    fn count(&mut self) -> io::Result<()> {
        match &mut self.left {
            None => return Ok(()),
            Some((0, Failure::Once)) => self.left = None,
            Some((0, Failure::Forever)) => {}
            Some((left, _)) => {
                *left -= 1;
                return Ok(());
            }
        }
        self.has_failed = true;
        Err(io::Error::other("the disk failed"))
    }
}
