//! The command `qrinfo` of this workspace, as the user gets it.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{PROGRAM_LIMIT, patience::Patience};

/// Time for one sync of a recorded chain: seconds on an idle machine.
const SYNC_LIMIT: Duration = Duration::from_secs(180);

/// The command, built.
#[derive(Debug)]
pub(super) struct Client {
    command: PathBuf,
    patience: Patience,
}

/// One way to sync.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) level: &'static str,
    pub(super) sequential: bool,
}

/// Result of one sync, as `qrinfo sync --json` prints it.
#[derive(Debug)]
pub(super) struct Synced(pub(super) Value);

// === impl Way ===

impl Way {
    /// Every level, sequential and parallel.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let levels = ["structure", "roots", "full"].into_iter();
        levels.flat_map(|level| [true, false].map(|sequential| Self { level, sequential }))
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.level, if self.sequential { "sequential" } else { "parallel" })
    }
}

// === impl Client ===

impl Client {
    /// Builds the command in the release profile, however long that takes.
    pub(super) fn build(patience: Patience) -> Result<Self> {
        let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--release", "--locked", "--package", "qrinfo-cli", "--bin", "qrinfo"])
            .arg("--message-format=json-render-diagnostics")
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        ensure!(output.status.success(), "qrinfo cannot be built");
        let command = executable(&output.stdout, "qrinfo").context("cargo named no executable for qrinfo")?;
        Ok(Self { command, patience })
    }

    /// Syncs from these peers.
    ///
    /// # Errors
    ///
    /// The sync is not complete, or it gave up a peer: all of them are honest.
    pub(super) fn sync(&self, way: Way, peers: &[String]) -> Result<Synced> {
        let mut command = Command::new(&self.command);
        command.args(["sync", "--network", "regtest", "--json", "--verify", way.level]);
        command.args(way.sequential.then_some("--sequential")).arg("--peer").args(peers);
        let output = self.patience.output(SYNC_LIMIT, "qrinfo sync", &mut command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "qrinfo sync ended with {}\n{said}", output.status);
        let synced = Synced(serde_json::from_slice(&output.stdout).context("qrinfo sync printed no JSON")?);
        synced.check().with_context(|| said.into_owned())?;
        Ok(synced)
    }

    /// Decodes the payload of a `qrinfo` message.
    pub(super) fn decode(&self, payload: &[u8]) -> Result<Value> {
        let mut file = tempfile::NamedTempFile::new().context("no temporary file")?;
        file.write_all(payload).context("cannot write a temporary file")?;
        let mut command = Command::new(&self.command);
        command.args([Path::new("decode"), Path::new("--as"), Path::new("qrinfo"), file.path()]);
        let output = self.patience.output(PROGRAM_LIMIT, "qrinfo decode", &mut command)?;
        if !output.status.success() {
            bail!("a reply is not decoded: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("qrinfo decode printed no JSON")
    }
}

/// Finds the command in the messages of `cargo build`.
pub(super) fn executable(messages: &[u8], target: &str) -> Option<PathBuf> {
    let messages = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let mut built = messages.filter(|message| message["target"]["name"] == target);
    built.find_map(|message| Some(message["executable"].as_str()?.into()))
}

// === impl Synced ===

impl Synced {
    /// Checks that nothing is missing and no peer was given up.
    fn check(&self) -> Result<()> {
        ensure!(self.0["complete"] == true, "the sync is not complete: {}", self.0["outcome"]);
        for list in ["missing", "unverified"] {
            ensure!(self.0[list].as_array().is_some_and(Vec::is_empty), "{list}: {}", self.0[list]);
        }
        ensure!(self.0["peersLost"] == 0, "{} honest nodes were given up", self.0["peersLost"]);
        ensure!(!self.cycles().is_empty(), "no cycle was synced");
        Ok(())
    }

    pub(super) fn cycles(&self) -> &[Value] {
        self.0["cycles"].as_array().map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn synced() -> Value {
        json!({ "complete": true, "missing": [], "unverified": [], "peersLost": 0, "cycles": [{ "cycle": 240 }] })
    }

    #[test]
    fn a_sync_is_good_only_if_nothing_is_missing_and_nobody_was_given_up() {
        Synced(synced()).check().unwrap();
        for (name, value) in [
            ("complete", json!(false)),
            ("missing", json!([{ "why": "refused" }])),
            ("unverified", json!([{ "why": "false" }])),
            ("unverified", Value::Null),
            ("peersLost", json!(1)),
            ("peersLost", Value::Null),
            ("cycles", json!([])),
        ] {
            let mut bad = synced();
            bad[name] = value;
            assert!(Synced(bad.clone()).check().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_level_is_synced_both_ways() {
        let ways: Vec<_> = Way::all().map(|way| way.to_string()).collect();
        assert_eq!(ways.len(), 6);
        assert!(ways.contains(&"full, parallel".to_owned()));
    }

    #[test]
    fn the_command_is_found_where_cargo_put_it() {
        let messages = b"{\"target\":{\"name\":\"qrinfo\"},\"executable\":null}\nno json\n\
            {\"target\":{\"name\":\"qrinfo\"},\"executable\":\"/t/release/qrinfo\"}\n";
        assert_eq!(executable(messages, "qrinfo"), Some("/t/release/qrinfo".into()));
        assert_eq!(executable(b"", "qrinfo"), None);
    }
}
