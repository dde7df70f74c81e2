use std::{
    fs::File,
    io,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, DatabaseError, StorageBackend, backends::FileBackend};

/// A file that stays as it is until it is released: changes wait in memory, and are lost if it never is.
///
/// redb writes to a file when it opens it, before all of it is known to be sound.
#[derive(Debug, Clone)]
pub(crate) struct HeldFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: FileBackend,
    /// The changes that wait, in order. `None` after the release.
    waiting: Mutex<Option<Vec<Change>>>,
}

#[derive(Debug)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
    Sync,
}

type Locked = Result<bool, BackendError>;

// === impl HeldFile ===

impl HeldFile {
    pub(crate) fn new(file: File) -> Result<Self, DatabaseError> {
        let waiting = Mutex::new(Some(Vec::new()));
        Ok(Self(Arc::new(Inner { file: FileBackend::new(file)?, waiting })))
    }

    /// Makes the changes that wait, in the order in which they came, so that a crash between two of them is one that
    /// redb is prepared for. Later ones are made at once.
    pub(crate) fn release(&self) -> io::Result<()> {
        let mut waiting = self.waiting();
        waiting.iter().flatten().try_for_each(|change| match change {
            Change::Write { offset, data } => self.0.file.write(*offset, data),
            Change::SetLen(len) => self.0.file.set_len(*len),
            Change::Sync => self.0.file.sync_data(),
        })?;
        *waiting = None;
        Ok(())
    }

    /// Keeps a change back, or makes it if the file is released.
    fn change(
        &self,
        change: impl FnOnce() -> Change,
        make: impl FnOnce(&FileBackend) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Some(waiting) = self.waiting().as_mut() {
            waiting.push(change());
            return Ok(());
        }
        make(&self.0.file)
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Vec<Change>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for HeldFile {
    fn len(&self) -> io::Result<u64> {
        let last = self.waiting().iter().flatten().rev().find_map(|change| match change {
            Change::SetLen(len) => Some(*len),
            _ => None,
        });
        last.map_or_else(|| self.0.file.len(), Ok)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let waiting = self.waiting();
        let Some(waiting) = waiting.as_ref().filter(|waiting| !waiting.is_empty()) else {
            return self.0.file.read(offset, out);
        };
        // Bytes beyond the file's end are only in the changes that wait.
        let there = self.0.file.len()?.saturating_sub(offset).min(out.len() as u64);
        let (there, added) = out.split_at_mut(usize::try_from(there).unwrap_or(usize::MAX));
        self.0.file.read(offset, there)?;
        added.fill(0);
        waiting.iter().for_each(|change| change.show(offset, out));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|| Change::SetLen(len), |file| file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|| Change::Sync, FileBackend::sync_data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|| Change::Write { offset, data: data.to_vec() }, |file| file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked {
        self.0.file.query_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }
}

// === impl Change ===

impl Change {
    /// Makes this change to `view`, the bytes from `offset` on.
    fn show(&self, offset: u64, view: &mut [u8]) {
        let place = |at: u64| usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX).min(view.len());
        match self {
            Self::Write { offset: start, data } => {
                let (from, to) = (place(*start), place(start + data.len() as u64));
                let skipped = usize::try_from(offset.saturating_sub(*start)).unwrap_or(usize::MAX);
                if from < to {
                    view[from..to].copy_from_slice(&data[skipped..skipped + (to - from)]);
                }
            }
            Self::SetLen(len) => {
                let from = place(*len);
                view[from..].fill(0);
            }
            Self::Sync => {}
        }
    }
}
