//! A disk in memory that outlives its database, and fails where a day wants it to.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A disk. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Image>>);

#[derive(Debug, Default)]
struct Image {
    /// The bytes, as they are read.
    bytes: Vec<u8>,
    /// The bytes at the last sync.
    synced: Vec<u8>,
    /// Changes since then.
    changes: Vec<Change>,
    /// Changes that succeed before one fails and all behind it.
    left: Option<u64>,
    /// The greatest length.
    limit: Option<u64>,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

// === impl Disk ===

impl Disk {
    /// The disk after the process was killed: all that was written is there.
    pub(crate) fn after_kill(&self) -> Self {
        let bytes = self.image().bytes.clone();
        Self::of(bytes)
    }

    /// The disk after the machine lost power: of the changes since the last sync any may be missing, or there in part.
    pub(crate) fn after_power_loss(&self, rng: &mut fastrand::Rng) -> Self {
        let image = self.image();
        let mut bytes = image.synced.clone();
        for change in &image.changes {
            match change {
                Change::SetLen(len) => bytes.resize(usize::try_from(*len).unwrap_or(0), 0),
                Change::Write(offset, data) => match rng.u8(0..3) {
                    0 => {}
                    1 => put(&mut bytes, *offset, &data[..rng.usize(0..=data.len())]),
                    _ => put(&mut bytes, *offset, data),
                },
            }
        }
        drop(image);
        Self::of(bytes)
    }

    /// Lets this many changes succeed.
    pub(crate) fn fail_after(&self, changes: u64) {
        self.image().left = Some(changes);
    }

    /// Lets the disk grow no further.
    pub(crate) fn fill(&self) {
        let mut image = self.image();
        image.limit = Some(image.bytes.len() as u64);
    }

    /// Makes room again.
    pub(crate) fn clear(&self) {
        self.image().limit = None;
    }

    /// Returns `true` if changes fail, or will.
    pub(crate) fn fails(&self) -> bool {
        self.image().left.is_some()
    }

    fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Image { synced: bytes.clone(), bytes, ..Image::default() })))
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.image().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let image = self.image();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = image.bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut image = self.image();
        image.count()?;
        if image.limit.is_some_and(|limit| len > limit) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        image.bytes.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        image.changes.push(Change::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.image();
        image.count()?;
        image.sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut image = self.image();
        image.count()?;
        put(&mut image.bytes, offset, data);
        image.changes.push(Change::Write(offset, data.to_vec()));
        Ok(())
    }
}

// === impl Image ===

impl Image {
    fn count(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => Err(io::Error::other("the disk is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn sync(&mut self) {
        for change in self.changes.drain(..) {
            match change {
                Change::SetLen(len) => self.synced.resize(usize::try_from(len).unwrap_or(0), 0),
                Change::Write(offset, data) => put(&mut self.synced, offset, &data),
            }
        }
    }
}

/// Writes what lies within the bytes.
fn put(bytes: &mut [u8], offset: u64, data: &[u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let length = data.len().min(bytes.len() - start);
    bytes[start..start + length].copy_from_slice(&data[..length]);
}
