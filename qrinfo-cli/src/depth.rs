//! The levels of verification by their names on the command line.

use clap::ValueEnum;
use qrinfo_verify::Level;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Depth {
    Structure,
    Roots,
    Full,
}

impl Depth {
    pub(crate) fn level(self) -> Level {
        match self {
            Self::Structure => Level::Structure,
            Self::Roots => Level::Roots,
            Self::Full => Level::Full,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::Roots => "roots",
            Self::Full => "full",
        }
    }
}
