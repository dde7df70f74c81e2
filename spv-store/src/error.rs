use std::{io, path::PathBuf};

use qrinfo_core::Network;

/// Errors of a store. The stored data is not changed by an operation that fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory or the file cannot be created or opened.
    #[error("cannot open {path}; check that the directory exists and that you may write to it")]
    Open {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another process has the file open.
    #[error("{0} is in use by another process; end that process or choose another directory")]
    InUse(PathBuf),
    /// A newer version of this library wrote the file.
    #[error("{path} has format {found}, and this version reads format {supported}; use a newer version")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: u64,
        /// The format that this version reads and writes.
        supported: u64,
    },
    /// An older version of this library wrote the file.
    #[error(
        "{path} has format {found} of an older version, and this version reads format {supported}; \
         remove the file, and it is filled again by the next sync"
    )]
    OlderFormat {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: u64,
        /// The format that this version reads and writes.
        supported: u64,
    },
    /// The file holds the chain of another network.
    #[error("{path} belongs to another network than {expected}; choose another directory")]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// The network that was asked for.
        expected: Network,
    },
    /// The file is not a store, or is damaged. It was not changed.
    #[error(
        "{path} is damaged or not a store, and was not changed; \
         remove it to start with an empty store, or restore it from a copy"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A change cannot be written, for example because the disk is full. No part of it was stored.
    #[error("cannot write to the store; check the free space on its disk; no part of the change was stored")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Stored data cannot be read.
    #[error("cannot read from the store; check its disk, or remove the store to fill it again")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Headers that do not join the stored ones.
    #[error(
        "headers from height {first} on do not join those stored, which are at heights {lowest} to {tip}; \
         the first height must be one of them or the next one"
    )]
    Gap {
        /// The height of the first header given.
        first: u32,
        /// The height of the oldest header stored.
        lowest: u32,
        /// The height of the newest header stored.
        tip: u32,
    },
    /// A header that does not name the block before it. Headers are stored in the order of their chain.
    #[error("the header at height {height} does not name the block at the height before; check the headers first")]
    Unlinked {
        /// The height of the header.
        height: u32,
    },
    /// More headers than there are heights.
    #[error("the headers from height {first} on reach above the greatest height, {}", u32::MAX)]
    TooHigh {
        /// The height of the first header given.
        first: u32,
    },
}

pub(crate) type Outcome<T> = Result<T, StoreError>;
