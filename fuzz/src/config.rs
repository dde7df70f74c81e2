use spv_config::ClientConfig;

/// A configuration file: it is read and validated without a panic, and the same text gives the same settings.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(config) = ClientConfig::from_toml(text) else { return };
    if config.validate().is_err() {
        return;
    }
    let again = ClientConfig::from_toml(text);
    assert!(again.is_ok_and(|again| again == config), "the same text gives another configuration");
}
