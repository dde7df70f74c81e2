use std::{io, path::PathBuf};

use qrinfo_core::Network;

/// Why the store cannot be used. The file is left as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory or the file cannot be created or opened.
    #[error("cannot open {path}; check that the directory exists and can be written to")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the file open.
    #[error("{0} is in use by another process; end that process or choose another directory")]
    InUse(PathBuf),
    /// The file was written by a newer version of this library.
    #[error("{path} has format {found}, this version reads up to {supported}; use a newer version")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format that the file says it has.
        found: u64,
        /// The newest format known here.
        supported: u64,
    },
    /// The file holds another network's chain.
    #[error("{path} belongs to another network than {expected}; choose another directory")]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// The network asked for.
        expected: Network,
    },
    /// The file is not a store, or is damaged. It was left unchanged.
    #[error(
        "{path} is damaged or no store, and was left unchanged; remove it to start anew, or restore it from a copy"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A change could not be written, for instance because the disk is full. Nothing of it was stored.
    #[error("cannot write to the store; nothing of this change was stored")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Stored data could not be read back.
    #[error("cannot read from the store")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Headers that do not follow those stored.
    #[error("headers from height {first} on leave a gap: the newest stored is {tip:?}")]
    Gap {
        /// The height of the first header given.
        first: u32,
        /// The height of the newest header stored.
        tip: Option<u32>,
    },
}
