use std::{error::Error, fmt, io, path::PathBuf};

use crate::keys;

/// Failure to load a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The text is longer than 64 KiB.
    #[error("{place} is longer than 64 KiB: shorten it, or check that it is a configuration")]
    TooLong {
        /// Origin of the text.
        place: Place,
    },
    /// The text is not TOML.
    #[error("{place} is not valid TOML")]
    Syntax {
        /// Origin of the text.
        place: Place,
        /// Position and cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Settings that are unknown or malformed, at least one.
    #[error("{}", lines(.0))]
    Settings(Vec<BadSetting>),
}

/// A setting that is unknown or malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{}: {name} {reason}", at(line))]
#[non_exhaustive]
pub struct BadSetting {
    /// Origin of the setting.
    pub place: Place,
    /// Line in a text, from 1 on.
    pub line: Option<usize>,
    /// Key or environment variable.
    pub name: String,
    /// Cause and remedy.
    pub reason: BadSettingReason,
}

/// Origin of a setting.
#[derive(Debug, Clone, PartialEq, Eq, derive_more::Display)]
pub enum Place {
    /// A file.
    #[display("{}", _0.display())]
    File(PathBuf),
    /// A text given by the caller.
    #[display("the text")]
    Text,
    /// The environment.
    #[display("the environment")]
    Environment,
}

/// Cause of a [`BadSetting`]. Its text follows the name of the setting and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSettingReason {
    /// No setting has this name.
    #[error("is not a setting; {}", advice(nearest))]
    Unknown {
        /// Most similar name, if any is similar.
        nearest: Option<String>,
    },
    /// The setting needs a feature that is off.
    #[error("needs the feature parallel-qrinfo: build this program with the feature, or remove the setting")]
    NeedsFeature,
    /// The value has the wrong type or form.
    #[error("is invalid: {0}")]
    Value(String),
    /// The value is not Unicode.
    #[error("is not valid Unicode: set it to a UTF-8 text")]
    NotUnicode,
}

// === impl Place ===

impl Place {
    /// Returns the name of a key in this place.
    pub(crate) fn name_of(&self, key: &str) -> String {
        match self {
            Self::File(_) | Self::Text => key.to_owned(),
            Self::Environment => keys::variable(key),
        }
    }
}

fn at(line: &Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}

fn advice(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!("did you mean {name}?"),
        None => "remove it".to_owned(),
    }
}

pub(crate) fn lines(errors: &[impl fmt::Display]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
