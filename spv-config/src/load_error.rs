use std::{error::Error, fmt, io, path::PathBuf};

use crate::keys;

/// Why a configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The text is longer than any configuration.
    #[error("{place} has more than 64 KiB, so it is no configuration")]
    TooLong {
        /// The text.
        place: Place,
    },
    /// The text is not TOML.
    #[error("{place} is not TOML")]
    Syntax {
        /// The text.
        place: Place,
        /// Where and why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Settings that cannot be taken, at least one.
    #[error("{}", lines(.0))]
    Settings(Vec<BadSetting>),
}

/// A setting that is unknown, or whose value is not of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {name} {reason}")]
pub struct BadSetting {
    /// Where it was found.
    pub place: Place,
    /// Its name there: a key or an environment variable.
    pub name: String,
    /// What is wrong with it.
    pub reason: BadSettingReason,
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// A text that was handed over.
    Text,
    /// The environment.
    Environment,
}

/// Why a setting cannot be taken. Its text reads on from the setting's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSettingReason {
    /// There is no setting of that name.
    #[error("is no setting{}", did_you_mean(nearest))]
    Unknown {
        /// The name that was probably meant.
        nearest: Option<String>,
    },
    /// The setting is that of a feature this program is built without.
    #[error(
        "needs the feature parallel-qrinfo, which this program is built without: build it with the feature, or take the \
         setting out"
    )]
    NeedsFeature,
    /// The value is not of the setting's kind.
    #[error("cannot be used: {0}")]
    Value(String),
    /// The value is not Unicode.
    #[error("is not Unicode")]
    NotUnicode,
}

// === impl Place ===

impl Place {
    /// What a key is called here.
    pub(crate) fn name_of(&self, key: &str) -> String {
        match self {
            Self::File(_) | Self::Text => key.to_owned(),
            Self::Environment => keys::variable(key),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Text => f.write_str("the text"),
            Self::Environment => f.write_str("the environment"),
        }
    }
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

fn lines(settings: &[BadSetting]) -> String {
    settings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
