//! One Dash Core node on loopback, with the blocks of a recorded chain.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    PROGRAM_LIMIT,
    blocks::Blocks,
    patience::{Patience, Running},
    rpc::Rpc,
};

/// Time to read the blocks of a recorded chain: a few seconds on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Time to end after it was asked to. Then it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Options that the recorded chains need: their deployments, quorum sizes and time.
const CHAIN: [&str; 6] = [
    "-dip3params=2:2",
    "-llmqtestparams=4:4",
    "-llmqtestinstantsendparams=4:4",
    "-llmqtestplatformparams=4:4",
    "-mocktime=1417780000",
    // A node whose newest block is older announces none.
    "-maxtipage=1000000000",
];

/// Further ones from [`BURIED_SINCE`] on.
const CHAIN_BURIED: [&str; 2] = ["-testactivationheight=v20@900", "-testactivationheight=mn_rr@900"];

/// The version whose regtest has v20 and mn_rr active from other heights than the recorded chains.
const BURIED_SINCE: Version = Version(23, 1);

/// Options that keep a node to itself.
const ALONE: [&str; 8] = [
    "-regtest",
    "-server",
    "-listen",
    "-connect=0",
    "-dnsseed=0",
    "-discover=0",
    "-listenonion=0",
    // Newer versions tell the score of a peer only with this.
    "-deprecatedrpc=banscore",
];

/// Names of a peer's score in `getpeerinfo`, by the node's version.
const SCORES: [&str; 3] = ["banscore", "misbehavior_score", "misbehaving_score"];

/// Major and minor version of Dash Core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32);

/// A running node. Dropping it kills the node and removes its directory.
#[derive(Debug)]
pub(super) struct Node {
    // Before the directory: the program ends before its files go.
    program: Running,
    pub(super) rpc: Rpc,
    pub(super) address: SocketAddr,
    directory: TempDir,
}

// === impl Version ===

impl Version {
    /// Asks the program for its version.
    pub(super) fn of(dashd: &Path, patience: &Patience) -> Result<(Self, String)> {
        let output = patience.output(PROGRAM_LIMIT, "dashd -version", Command::new(dashd).arg("-version"))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let line = printed.lines().next().unwrap_or_default().to_owned();
        let version = Self::in_line(&line);
        Ok((version.with_context(|| format!("{} prints no version: \"{line}\"", dashd.display()))?, line))
    }

    fn in_line(line: &str) -> Option<Self> {
        let (_, numbers) = line.split_once("version v")?;
        let mut numbers = numbers.split(|c: char| !c.is_ascii_digit());
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    fn chain_options(self) -> impl Iterator<Item = &'static str> {
        CHAIN.into_iter().chain(CHAIN_BURIED.into_iter().filter(move |_| self >= BURIED_SINCE))
    }
}

// === impl Node ===

impl Node {
    /// Starts a node in a directory of its own; [`wait_for`](Self::wait_for) tells when it has read the blocks.
    ///
    /// # Errors
    ///
    /// The directory cannot be written, no port is free, or the program cannot be started.
    pub(super) fn start(
        dashd: &Path,
        dash_cli: Option<PathBuf>,
        version: Version,
        blocks: &Blocks,
        patience: &Patience,
    ) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("qrinfo-live-").tempdir().context("no temporary directory")?;
        let folder = directory.path().join("regtest/blocks");
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("blk00000.dat"), &blocks.file))?;
        let console = fs::File::create(directory.path().join("console"))?;
        let [address, rpc] = free_ports()?;
        let mut command = Command::new(dashd);
        command.args(ALONE).args(version.chain_options()).arg("-reindex");
        command.arg(format!("-datadir={}", directory.path().display()));
        command.arg(format!("-bind={address}")).arg(format!("-port={}", address.port()));
        command.arg(format!("-rpcbind={}", rpc.ip())).arg(format!("-rpcallowip={}", rpc.ip()));
        command.arg(format!("-rpcport={}", rpc.port()));
        command.stdin(Stdio::null()).stderr(console.try_clone()?).stdout(console);
        let program = Running::start("dashd", &mut command)?;
        let patience = patience.clone();
        let rpc = Rpc { directory: directory.path().to_owned(), port: rpc.port(), dash_cli, patience };
        Ok(Self { program, rpc, address, directory })
    }

    /// Waits until the node's chain has its last block.
    ///
    /// # Errors
    ///
    /// The node ended, with its last lines, or it took too long.
    pub(super) fn wait_for(&mut self, tip: u32, patience: &Patience) -> Result<()> {
        let mut seen = Ok(Value::Null);
        let waited = patience.wait(START_LIMIT, "the node's start", || {
            if let Some(status) = self.program.ended()? {
                bail!("the node ended with {status}");
            }
            seen = self.rpc.call("getblockcount", &[]);
            Ok(seen.as_ref().is_ok_and(|height| *height == tip).then_some(()))
        });
        waited.with_context(|| match seen {
            Ok(height) => format!("the node is at height {height}, the last block is {tip}\n{}", self.last_lines()),
            Err(error) => format!("{error:#}\n{}", self.last_lines()),
        })
    }

    fn last_lines(&self) -> String {
        let printed = fs::read(self.directory.path().join("console")).unwrap_or_default();
        let printed = String::from_utf8_lossy(&printed);
        let lines: Vec<_> = printed.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Returns the misbehaviour score of each connected peer, or nothing if this version does not tell it.
    pub(super) fn scores(&self) -> Result<Option<Vec<i64>>> {
        scores_in(&self.rpc.call("getpeerinfo", &[])?)
    }

    /// Asks the node to end, and waits until it has.
    pub(super) fn stop(mut self, patience: &Patience) -> Result<()> {
        self.rpc.call("stop", &[])?;
        patience.wait(STOP_LIMIT, "the node's stop", || self.program.ended())?;
        Ok(())
    }
}

fn scores_in(peers: &Value) -> Result<Option<Vec<i64>>> {
    let peers = peers.as_array().context("getpeerinfo returned no list")?;
    Ok(peers.iter().map(|peer| SCORES.iter().find_map(|name| peer.get(name)?.as_i64())).collect())
}

/// Two ports of loopback that were free a moment ago.
fn free_ports() -> Result<[SocketAddr; 2]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // Both are held at once: the system could give the same port twice.
    let (first, second) = (listen()?, listen()?);
    let ports = [first.local_addr()?, second.local_addr()?];
    ensure!(ports[0] != ports[1], "no two ports are free");
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_follow_the_version() {
        for (line, version, options) in [
            ("Dash Core version v23.1.2", Version(23, 1), 8),
            ("Dash Core RPC client version v23.0.0-rc.1-12-gabc", Version(23, 0), 6),
            ("Dash Core Daemon version v22.1.3", Version(22, 1), 6),
            ("Dash Core version v24.0.0", Version(24, 0), 8),
        ] {
            assert_eq!(Version::in_line(line), Some(version));
            assert_eq!(version.chain_options().count(), options);
        }
        assert_eq!(Version::in_line("GNU bash, version 5.2"), None);
    }

    #[test]
    fn a_score_has_the_name_of_its_version() {
        let peers = json!([{ "banscore": 0 }, { "misbehavior_score": 3 }]);
        assert_eq!(scores_in(&peers).unwrap(), Some(vec![0, 3]));
        assert_eq!(scores_in(&json!([{ "id": 1 }])).unwrap(), None);
        assert!(scores_in(&json!({})).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_ends_at_once_is_told_with_its_last_lines() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let dashd = directory.path().join("dashd");
        fs::write(&dashd, "#!/bin/sh\necho Error: no such option >&2\nexit 1\n").unwrap();
        fs::set_permissions(&dashd, fs::Permissions::from_mode(0o755)).unwrap();
        let blocks = Blocks { file: Vec::new(), tip: 0 };
        let patience = Patience::default();
        let mut node = Node::start(&dashd, None, Version(23, 0), &blocks, &patience).unwrap();
        let folder = node.directory.path().to_owned();
        let error = format!("{:#}", node.wait_for(0, &patience).unwrap_err());
        assert!(error.contains("Error: no such option") && error.contains("ended with exit status: 1"), "{error}");
        drop(node);
        assert!(!folder.exists());
    }
}
