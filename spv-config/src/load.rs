use std::{
    env,
    error::Error,
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    providers::{Format, Serialized, Toml},
    value::{Dict, Value},
};

use crate::{ClientConfig, keys};

/// The longest file that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// The longest text of somebody else's that a message repeats, in characters.
const LONGEST_QUOTE: usize = 200;

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
    /// The file is longer than any configuration.
    #[error("{} has more than 1 MiB, so it is no configuration", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
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
    /// Settings that can be taken alone and not together.
    #[error("the settings cannot be taken together")]
    Combination(#[source] Box<figment::Error>),
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

// === impl ClientConfig ===

/// Loading. Defaults give way to the file, and the file to the environment.
impl ClientConfig {
    /// Loads a file and the environment of this process.
    ///
    /// Values are not judged yet: call [`validate`](Self::validate) when everything is set.
    ///
    /// ```no_run
    /// use spv_config::ClientConfig;
    ///
    /// let config = ClientConfig::load("client.toml")?.with_max_peers(4);
    /// config.validate()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be read or is not TOML, or with every setting that cannot be taken.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::from_sources(Some(path.as_ref()), env::vars_os())
    }

    /// Loads the environment of this process alone.
    ///
    /// # Errors
    /// [`LoadError::Settings`] with every setting that cannot be taken.
    pub fn from_env() -> Result<Self, LoadError> {
        Self::from_sources(None, env::vars_os())
    }

    /// Loads a TOML text alone.
    ///
    /// ```
    /// use spv_config::ClientConfig;
    ///
    /// let config = ClientConfig::from_toml("network = 'testnet'\nsync_timeout = '2m'")?;
    /// assert_eq!(config.sync_timeout.as_secs(), 120);
    ///
    /// let error = ClientConfig::from_toml("max_peer = 4").unwrap_err();
    /// assert_eq!(error.to_string(), "the text: max_peer is no setting; did you mean max_peers?");
    /// # Ok::<(), spv_config::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError`] if the text is not TOML, or with every setting that cannot be taken.
    pub fn from_toml(text: &str) -> Result<Self, LoadError> {
        assemble([Layer::of_toml(&Place::Text, text)?])
    }

    /// Loads a file, if there is to be one, and an environment, be it that of the process, a part of it or another one.
    /// Variables whose names do not begin with `QRINFO_` are not ours and passed over, and so are empty ones.
    ///
    /// ```
    /// use spv_config::ClientConfig;
    ///
    /// let config = ClientConfig::from_sources(None, [("QRINFO_PEERS", "192.0.2.1:9999, 192.0.2.2:9999")])?;
    /// assert_eq!(config.peers.len(), 2);
    /// # Ok::<(), spv_config::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be read or is not TOML, or with every setting that cannot be taken.
    pub fn from_sources<K: Into<OsString>, V: Into<OsString>>(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, LoadError> {
        let file = path.map(|path| Layer::of_toml(&Place::File(path.to_owned()), &read(path)?)).transpose()?;
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into()));
        assemble(file.into_iter().chain([Layer::of_environment(environment)]))
    }
}

/// A source: its settings by their keys, and what cannot be taken from it.
#[derive(Default)]
struct Layer {
    settings: Dict,
    bad: Vec<BadSetting>,
}

// === impl Layer ===

impl Layer {
    fn of_toml(place: &Place, text: &str) -> Result<Self, LoadError> {
        let table: Dict = Toml::from_str(text)
            .map_err(|source| LoadError::Syntax { place: place.clone(), source: Box::new(source) })?;
        let mut layer = Self::default();
        for (name, value) in table {
            layer.take(place, name, value, str::to_owned, |figment| figment.extract());
        }
        Ok(layer)
    }

    fn of_environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let place = &Place::Environment;
        let mut layer = Self::default();
        for (name, value) in variables.filter(|(_, value)| !value.is_empty()) {
            let Some(name) = name.to_str().filter(|name| name.starts_with(keys::PREFIX)) else { continue };
            match value.to_str() {
                Some(value) => {
                    layer.take(place, name.to_owned(), value.into(), keys::variable, |figment| figment.extract_lossy());
                }
                None => layer.refuse(place, name.to_owned(), BadSettingReason::NotUnicode),
            }
        }
        layer
    }

    /// Takes a setting whose key is called `name` here, if it makes a configuration when it is the only one.
    fn take(
        &mut self,
        place: &Place,
        name: String,
        value: Value,
        name_of: impl Fn(&str) -> String,
        read: impl Fn(Figment) -> Result<ClientConfig, figment::Error>,
    ) {
        let Some(key) = keys::all().find(|key| name_of(key) == name) else {
            let names = keys::all().filter(|key| !keys::is_off(key)).map(name_of);
            let nearest = keys::nearest(&name, names);
            return self.refuse(place, name, BadSettingReason::Unknown { nearest });
        };
        if keys::is_off(key) {
            return self.refuse(place, name, BadSettingReason::NeedsFeature);
        }
        let alone = Dict::from([(key.to_owned(), value.clone())]);
        match read(Figment::from(Serialized::defaults(alone))) {
            Ok(_) => {
                self.settings.insert(key.to_owned(), value);
            }
            Err(error) => self.refuse(place, name, BadSettingReason::Value(quote(&error.kind.to_string()))),
        }
    }

    fn refuse(&mut self, place: &Place, name: String, reason: BadSettingReason) {
        self.bad.push(BadSetting { place: place.clone(), name: quote(&name), reason });
    }
}

/// The configuration that the layers make, later ones over earlier ones.
fn assemble(layers: impl IntoIterator<Item = Layer>) -> Result<ClientConfig, LoadError> {
    let mut figment = Figment::new();
    let mut bad = Vec::new();
    for layer in layers {
        figment = figment.merge(Serialized::defaults(layer.settings));
        bad.extend(layer.bad);
    }
    if bad.is_empty() {
        figment.extract_lossy().map_err(|error| LoadError::Combination(Box::new(error)))
    } else {
        Err(LoadError::Settings(bad))
    }
}

fn read(path: &Path) -> Result<String, LoadError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST_FILE + 1).read_to_string(&mut text))
        .map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(LoadError::TooLong { path: path.to_owned() });
    }
    Ok(text)
}

/// What somebody else wrote, fit to be repeated in a line.
fn quote(text: &str) -> String {
    text.chars().take(LONGEST_QUOTE).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

// === impl Place ===

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
