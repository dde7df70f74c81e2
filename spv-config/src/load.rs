use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::Path,
};

use toml::{Spanned, Table, Value};

use crate::{BadSetting, BadSettingReason, ClientConfig, LoadError, Place, keys};

/// Longest configuration text in bytes: room for some thousand peers.
const MAX_TEXT: u64 = 64 << 10;

/// Longest foreign text that an error repeats, in characters.
const MAX_QUOTE: usize = 200;

/// Loading. The environment replaces the file, and the file replaces the defaults.
impl ClientConfig {
    /// Loads a file and the environment of this process.
    ///
    /// The values are not checked: call [`validate`](Self::validate) once everything is set.
    ///
    /// ```no_run
    /// use spv_config::ClientConfig;
    ///
    /// let mut config = ClientConfig::load("client.toml")?;
    /// config.max_peers = 4;
    /// config.validate()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be read or is not TOML, or with every setting that is unknown or malformed.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::from_sources(Some(path.as_ref()), env::vars_os())
    }

    /// Loads a TOML text.
    ///
    /// ```
    /// use spv_config::ClientConfig;
    ///
    /// let config = ClientConfig::from_toml("network = 'testnet'\nsync_timeout = '2m'")?;
    /// assert_eq!(config.sync_timeout.as_secs(), 120);
    ///
    /// let error = ClientConfig::from_toml("max_peer = 4").unwrap_err();
    /// assert_eq!(error.to_string(), "the text, line 1: max_peer is not a setting; did you mean max_peers?");
    /// # Ok::<(), spv_config::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError`] if the text is not TOML, or with every setting that is unknown or malformed.
    pub fn from_toml(text: &str) -> Result<Self, LoadError> {
        let mut loader = Loader::default();
        loader.add_toml(&Place::Text, text.as_bytes())?;
        loader.finish()
    }

    /// Loads an optional file and the given environment variables. Ignores empty variables, and those whose names do
    /// not begin with `QRINFO_`.
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
    /// [`LoadError`] if the file cannot be read or is not TOML, or with every setting that is unknown or malformed.
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

/// Settings read so far; a later source replaces an earlier one.
#[derive(Default)]
struct Loader {
    settings: Table,
    /// Configuration of these settings.
    config: ClientConfig,
    bad: Vec<BadSetting>,
}

// === impl Loader ===

impl Loader {
    fn add_toml(&mut self, place: &Place, text: &[u8]) -> Result<(), LoadError> {
        if text.len() as u64 > MAX_TEXT {
            return Err(LoadError::TooLong { place: place.clone() });
        }
        let syntax = |source| LoadError::Syntax { place: place.clone(), source };
        let text = str::from_utf8(text).map_err(|error| syntax(error.into()))?;
        let table: BTreeMap<Spanned<String>, Value> = toml::from_str(text).map_err(|error| syntax(error.into()))?;
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let line_ends: Vec<_> = text.match_indices('\n').map(|(end, _)| end).collect();
        for (key, value) in entries {
            let line = 1 + line_ends.partition_point(|end| *end < key.span().start);
            match value {
                Value::Table(table) if key.get_ref() == keys::DEVNET => table.into_iter().for_each(|(inner, value)| {
                    self.add(place, Some(line), &format!("{}.{inner}", keys::DEVNET), vec![value]);
                }),
                value => self.add(place, Some(line), key.get_ref(), vec![value]),
            }
        }
        Ok(())
    }

    fn add_environment<K: Into<OsString>, V: Into<OsString>>(&mut self, variables: impl IntoIterator<Item = (K, V)>) {
        for (name, value) in variables {
            let (name, value) = (name.into(), value.into());
            let Some(name) = name.to_str().filter(|name| name.starts_with(keys::PREFIX)) else { continue };
            if !value.is_empty() {
                self.add(&Place::Environment, None, name, value.to_str().map(meanings).unwrap_or_default());
            }
        }
    }

    fn add(&mut self, place: &Place, line: Option<usize>, name: &str, values: Vec<Value>) {
        if let Err(reason) = self.set(place, name, values) {
            self.bad.push(BadSetting { place: place.clone(), line, name: quote(name), reason });
        }
    }

    /// Sets a key to the first of `values` that has the right type. There is none for a text that is not Unicode.
    fn set(&mut self, place: &Place, name: &str, values: Vec<Value>) -> Result<(), BadSettingReason> {
        let key = find_key(place, name)?;
        let mut reason = None;
        for value in values {
            let mut settings = self.settings.clone();
            insert(&mut settings, key, value);
            match settings.clone().try_into() {
                Ok(config) => {
                    (self.settings, self.config) = (settings, config);
                    return Ok(());
                }
                Err(error) => reason = reason.or(Some(BadSettingReason::Value(quote(&describe(error.message()))))),
            }
        }
        Err(reason.unwrap_or(BadSettingReason::NotUnicode))
    }

    fn finish(self) -> Result<ClientConfig, LoadError> {
        if self.bad.is_empty() { Ok(self.config) } else { Err(LoadError::Settings(self.bad)) }
    }
}

/// Sets a key, which may be one of the devnet's table. The table's own key stands for its name.
fn insert(settings: &mut Table, key: &str, value: Value) {
    let inner = if key == keys::DEVNET { Some("name") } else { key.strip_prefix("devnet.") };
    let table = match inner {
        Some(_) => settings.entry(keys::DEVNET).or_insert_with(|| Table::new().into()).as_table_mut(),
        None => Some(settings),
    };
    table.map(|table| table.insert(inner.unwrap_or(key).to_owned(), value));
}

fn find_key(place: &Place, name: &str) -> Result<&'static str, BadSettingReason> {
    match keys::all().find(|key| place.name_of(key) == name) {
        Some(key) if keys::is_off(key) => Err(BadSettingReason::NeedsFeature),
        Some(key) => Ok(key),
        None => {
            let names = keys::all().filter(|key| !keys::is_off(key)).map(|key| place.name_of(key));
            Err(BadSettingReason::Unknown { nearest: keys::nearest(name, names) })
        }
    }
}

/// Reads one byte more than is allowed, so that a longer file shows.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_TEXT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes a foreign text fit for one line of an error.
fn quote(text: &str) -> String {
    text.chars().take(MAX_QUOTE).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Returns the possible values of a variable. It is always a text, which may stand for a number or a boolean.
fn meanings(text: &str) -> Vec<Value> {
    let number = text.parse().map(Value::Integer).or_else(|_| text.parse().map(Value::Float));
    [Some(text.into()), number.ok(), text.parse().map(Value::Boolean).ok()].into_iter().flatten().collect()
}

/// Rewrites a message of serde without the names of Rust's types.
fn describe(message: &str) -> String {
    let mismatch = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "));
    let Some((found, expected)) = mismatch.and_then(|mismatch| mismatch.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    let expected = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text",
        other => other,
    };
    format!("expected {expected}, found {found}")
}
