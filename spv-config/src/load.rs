use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::Path,
};

use figment::{
    error::Kind,
    providers::{Format, Toml},
    value::{Dict, Value},
};

use crate::{BadSetting, BadSettingReason, ClientConfig, LoadError, Place, keys};

/// The longest text that is read, in bytes: some thousand peers.
const LONGEST: u64 = 64 << 10;

/// The longest text of somebody else's that a message repeats, in characters.
const LONGEST_QUOTE: usize = 200;

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
        let mut loader = Loader::default();
        loader.add_toml(&Place::Text, text.as_bytes())?;
        loader.finish()
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
        let mut loader = Loader::default();
        if let Some(path) = path {
            let text = read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
            loader.add_toml(&Place::File(path.to_owned()), &text)?;
        }
        loader.add_environment(environment);
        loader.finish()
    }
}

/// What was taken so far, source by source; later ones replace what earlier ones set.
#[derive(Default)]
struct Loader {
    settings: Dict,
    /// What the settings say.
    config: ClientConfig,
    bad: Vec<BadSetting>,
}

// === impl Loader ===

impl Loader {
    fn add_toml(&mut self, place: &Place, text: &[u8]) -> Result<(), LoadError> {
        if text.len() as u64 > LONGEST {
            return Err(LoadError::TooLong { place: place.clone() });
        }
        let is_no_toml = |source| LoadError::Syntax { place: place.clone(), source };
        let text = str::from_utf8(text).map_err(|error| is_no_toml(error.into()))?;
        let table: Dict = Toml::from_str(text).map_err(|error| is_no_toml(error.into()))?;
        for (name, value) in table {
            self.take(place, &name, vec![value]);
        }
        Ok(())
    }

    fn add_environment<K: Into<OsString>, V: Into<OsString>>(&mut self, variables: impl IntoIterator<Item = (K, V)>) {
        for (name, value) in variables {
            let (name, value) = (name.into(), value.into());
            let Some(name) = name.to_str().filter(|name| name.starts_with(keys::PREFIX)) else { continue };
            match value.to_str() {
                Some("") => {}
                Some(value) => self.take(&Place::Environment, name, meanings(value)),
                None => self.refuse(&Place::Environment, name, BadSettingReason::NotUnicode),
            }
        }
    }

    /// Takes a setting with the first of these values that makes a configuration, together with what was taken.
    fn take(&mut self, place: &Place, name: &str, values: Vec<Value>) {
        let Some(key) = keys::all().find(|key| place.name_of(key) == name) else {
            let names = keys::all().filter(|key| !keys::is_off(key)).map(|key| place.name_of(key));
            return self.refuse(place, name, BadSettingReason::Unknown { nearest: keys::nearest(name, names) });
        };
        if keys::is_off(key) {
            return self.refuse(place, name, BadSettingReason::NeedsFeature);
        }
        let mut why = None;
        for value in values {
            let mut settings = self.settings.clone();
            settings.insert(key.to_owned(), value);
            match Value::from(settings.clone()).deserialize() {
                Ok(config) => {
                    (self.settings, self.config) = (settings, config);
                    return;
                }
                Err(error) => why = why.or(Some(describe(error.kind))),
            }
        }
        self.refuse(place, name, BadSettingReason::Value(quote(&why.unwrap_or_default())));
    }

    fn refuse(&mut self, place: &Place, name: &str, reason: BadSettingReason) {
        self.bad.push(BadSetting { place: place.clone(), name: quote(name), reason });
    }

    fn finish(self) -> Result<ClientConfig, LoadError> {
        if self.bad.is_empty() { Ok(self.config) } else { Err(LoadError::Settings(self.bad)) }
    }
}

/// One byte more than is allowed at most, so that what is too long shows.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What somebody else wrote, fit to be repeated in a line.
fn quote(text: &str) -> String {
    text.chars().take(LONGEST_QUOTE).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// What a variable may stand for: everything is a text there, numbers and yes or no as well.
fn meanings(text: &str) -> Vec<Value> {
    let number = text.parse::<u64>().map(Value::from).or_else(|_| text.parse::<f64>().map(Value::from));
    let truth = text.parse::<bool>().map(Value::from);
    [Some(text.into()), number.ok(), truth.ok()].into_iter().flatten().collect()
}

/// What serde says, with its names of Rust's types in other words.
fn describe(kind: Kind) -> String {
    let (Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected)) = kind else {
        return kind.to_string();
    };
    let expected = match expected.as_str() {
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 on",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text",
        other => other,
    };
    format!("found {found}, expected {expected}")
}
