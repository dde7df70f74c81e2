//! The follower beside nodes whose chain grows and is reorganized: its lists are those of the node at every block.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    client::executable,
    node::Node,
    patience::{Patience, Running},
    rpc::Rpc,
};

/// Time from a block to the follower's lists at it.
const LIMIT: Duration = Duration::from_secs(60);

/// Depths of the reorganizations.
const DEPTHS: [u32; 3] = [1, 2, 8];

/// Blocks from one reorganization to the next.
const EVERY: usize = 20;

/// An address of regtest, for the miner's reward.
const MINER: &str = "yVg3NBUHNEhgDceqwVUjsZHreC5PBHnUo9";

/// Types of quorums on regtest, by their names in `quorum list`.
const TYPES: [(&str, &str); 5] = [
    ("llmq_test", "100"),
    ("llmq_test_v17", "102"),
    ("llmq_test_dip0024", "103"),
    ("llmq_test_instantsend", "104"),
    ("llmq_test_platform", "106"),
];

/// A follower in a process of its own, and the lists that it tells of each block.
struct Following {
    _program: Running,
    lines: Receiver<Value>,
    patience: Patience,
}

/// The numbers of things that were compared.
#[derive(Debug, Default)]
struct Counts {
    blocks: u32,
    masternodes: usize,
    quorums: BTreeSet<String>,
    reorganizations: u32,
}

/// Follows nodes that have the same blocks while they get `blocks` one by one, and other blocks that are replaced.
pub(super) fn check(nodes: &[Node], blocks: &[Vec<u8>], patience: &Patience) -> Result<()> {
    let first = &nodes.first().context("no node was started")?.rpc;
    let following = Following::start(nodes, patience.clone())?;
    let mut counts = Counts::default();
    following.compare(first, &mut counts).context("the first lists")?;
    let mut depths = DEPTHS.into_iter().cycle();
    for (number, block) in (1..).zip(blocks) {
        let block: String = block.iter().map(|byte| format!("{byte:02x}")).collect();
        submit(nodes, &block)?;
        // The block after a reorganization is as high as the branch, and does not win.
        if number % EVERY != 1 || number == 1 {
            following.compare(first, &mut counts).with_context(|| format!("block {number} of {}", blocks.len()))?;
        }
        if number % EVERY == 0
            && let Some(depth) = depths.next()
        {
            following.reorganize(nodes, depth, &mut counts).with_context(|| format!("a reorganization of {depth}"))?;
            counts.reorganizations += 1;
        }
    }
    eprintln!(
        "live: followed: at each of {} blocks the masternodes (protx list) and the active quorums (quorum list) were the \
         node's; {} masternodes, {} quorums, {} reorganizations there and back",
        counts.blocks,
        counts.masternodes,
        counts.quorums.len(),
        counts.reorganizations
    );
    Ok(())
}

/// Gives a block to every node.
fn submit(nodes: &[Node], block: &str) -> Result<()> {
    nodes.iter().try_for_each(|node| {
        // On a branch that is not the longest, the node answers "inconclusive".
        let answer = node.rpc.text("submitblock", &[block]).unwrap_or_default();
        ensure!(matches!(answer.as_str(), "" | "inconclusive"), "the node refused a block: {answer}");
        Ok(())
    })
}

// === impl Following ===

impl Following {
    fn start(nodes: &[Node], patience: Patience) -> Result<Self> {
        let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--release", "--locked", "--package", "qrinfo", "--features", "follow"])
            .args(["--example", "follow_lists", "--message-format=json-render-diagnostics"])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        ensure!(output.status.success(), "the follower cannot be built");
        let program: PathBuf =
            executable(&output.stdout, "follow_lists").context("cargo named no executable for the follower")?;
        let mut command = Command::new(program);
        command.arg("regtest").args(nodes.iter().map(|node| node.address.to_string())).stdout(Stdio::piped());
        let mut program = Running::start("the follower", &mut command)?;
        let output = program.0.stdout.take().context("no output of the follower")?;
        let (told, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            // After the check nobody listens.
            let _ = lines.filter_map(|line| serde_json::from_str(&line).ok()).try_for_each(|line| told.send(line));
        });
        Ok(Self { _program: program, lines, patience })
    }

    /// Waits for the follower's lists at the node's newest block, and compares them.
    fn compare(&self, rpc: &Rpc, counts: &mut Counts) -> Result<()> {
        let tip = rpc.text("getbestblockhash", &[])?;
        let what = format!("the follower's lists at block {tip}");
        let ours = self.patience.wait(LIMIT, &what, || Ok(self.lines.try_iter().find(|line| line["hash"] == *tip)))?;
        let masternodes = masternodes_of(&rpc.call("protx", &["list", "registered", "true"])?)?;
        ensure!(our_masternodes(&ours)? == masternodes, "the masternodes differ: {ours}\nthe node's: {masternodes:?}");
        let quorums = quorums_of(&rpc.call("quorum", &["list"])?)?;
        ensure!(our_quorums(&ours)? == quorums, "the quorums differ: {ours}\nthe node's: {quorums:?}");
        counts.blocks += 1;
        counts.masternodes = masternodes.len();
        counts.quorums.extend(quorums.into_values().flatten());
        Ok(())
    }

    /// Replaces the newest blocks of all nodes by a longer branch, and brings the old ones back. The next but one of their
    /// successors is then on the longest chain.
    fn reorganize(&self, nodes: &[Node], depth: u32, counts: &mut Counts) -> Result<()> {
        let (miner, others) = nodes.split_first().context("no node was started")?;
        let tip = miner.rpc.call("getblockcount", &[])?.as_u64().context("no height")?;
        let replaced = miner.rpc.text("getblockhash", &[&(tip + 1 - u64::from(depth)).to_string()])?;
        nodes.iter().try_for_each(|node| node.rpc.call("invalidateblock", &[&replaced]).map(drop))?;
        let mut branch = None;
        for number in 0..=depth {
            let mined = miner.rpc.call("generatetoaddress", &["1", MINER])?;
            let mined = mined[0].as_str().context("no block was mined")?.to_owned();
            let block = miner.rpc.text("getblock", &[&mined, "0"])?;
            submit(others, &block)?;
            branch.get_or_insert(mined);
            // Before, the follower has a longer chain.
            if number == depth {
                self.compare(&miner.rpc, counts)?;
            }
        }
        let branch = branch.context("no block was mined")?;
        for node in nodes {
            node.rpc.call("invalidateblock", &[&branch])?;
            node.rpc.call("reconsiderblock", &[&replaced])?;
            ensure!(node.rpc.call("getblockcount", &[])? == tip, "the node does not come back");
        }
        Ok(())
    }
}

/// Identity, operator's key and standing of each masternode, in the follower's line.
fn our_masternodes(line: &Value) -> Result<BTreeSet<(String, String, bool)>> {
    let list = line["masternodes"].as_array().context("the follower has no masternodes")?;
    list.iter().map(|node| fact(&node["proRegTxHash"], &node["pubKeyOperator"], node["isValid"].as_bool())).collect()
}

/// The same in the node's `protx list`.
fn masternodes_of(listed: &Value) -> Result<BTreeSet<(String, String, bool)>> {
    let list = listed.as_array().context("protx list returned no list")?;
    list.iter()
        .map(|node| {
            let state = &node["state"];
            fact(&node["proTxHash"], &state["pubKeyOperator"], state["PoSeBanHeight"].as_i64().map(|height| height < 0))
        })
        .collect()
}

fn fact(hash: &Value, key: &Value, is_valid: Option<bool>) -> Result<(String, String, bool)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let fact = text(hash).zip(text(key)).zip(is_valid).map(|((hash, key), is_valid)| (hash, key, is_valid));
    fact.with_context(|| format!("a masternode without its facts: {hash} {key} {is_valid:?}"))
}

/// The active quorums by type, in the follower's line.
fn our_quorums(line: &Value) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let types = line["quorums"].as_object().context("the follower has no quorums")?;
    types.iter().map(|(number, hashes)| Ok((number.clone(), set(hashes)?))).filter(has_some).collect()
}

/// The same in the node's `quorum list`.
fn quorums_of(listed: &Value) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let types = listed.as_object().context("quorum list returned no object")?;
    let named = |(name, hashes): (&String, &Value)| {
        let number = TYPES.iter().find(|(known, _)| known == name).with_context(|| format!("unknown type {name}"))?.1;
        Ok((number.to_owned(), set(hashes)?))
    };
    types.iter().map(named).filter(has_some).collect()
}

fn has_some(kind: &Result<(String, BTreeSet<String>)>) -> bool {
    kind.as_ref().map_or(true, |(_, hashes)| !hashes.is_empty())
}

fn set(hashes: &Value) -> Result<BTreeSet<String>> {
    let hashes = hashes.as_array().context("no list of quorums")?;
    Ok(hashes.iter().filter_map(|hash| hash.as_str().map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_the_same_in_both_forms() {
        let line = json!({
            "masternodes": [{ "proRegTxHash": "a", "pubKeyOperator": "k", "isValid": false }],
            "quorums": { "100": ["q", "r"], "103": [] },
        });
        let listed = json!([{ "proTxHash": "a", "state": { "pubKeyOperator": "k", "PoSeBanHeight": 12 } }]);
        assert_eq!(our_masternodes(&line).unwrap(), masternodes_of(&listed).unwrap());
        let listed = json!({ "llmq_test": ["r", "q"], "llmq_test_platform": [] });
        assert_eq!(our_quorums(&line).unwrap(), quorums_of(&listed).unwrap());
        assert!(quorums_of(&json!({ "llmq_new": ["q"] })).is_err());
        assert!(masternodes_of(&json!([{ "proTxHash": "a" }])).is_err());
    }
}
