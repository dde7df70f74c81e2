//! The node's own words, beside what the client made of its replies.

use std::collections::{BTreeSet, HashSet};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use super::{client::Synced, rpc::Rpc};

/// Blocks between a work block and the start of its cycle (DIP-24).
const WORK_OFFSET: u64 = 8;

/// Base of a diff from nothing, as nodes before 22.1.2 write it. It means the first block.
const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Fields that only one side may have: `docs/decode.md` says why, or they depend on the node's version.
const ONE_SIDED: [&str; 7] =
    ["votingAddress", "keyIDVoting", "service", "addresses", "platformHTTPPort", "platformP2PPort", "platformNodeID"];

/// Comparison with one node. Each thing is compared once, however many syncs bring it.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    rpc: &'a Rpc,
    genesis: String,
    seen: HashSet<String>,
    pub(super) counts: Counts,
    /// Fields that only one side had.
    pub(super) one_sided: BTreeSet<String>,
}

/// Things that were compared and equal.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) cycles: usize,
    pub(super) lists: usize,
    pub(super) diffs: usize,
    pub(super) quorums: usize,
}

// === impl Comparison ===

impl<'a> Comparison<'a> {
    pub(super) fn with(rpc: &'a Rpc) -> Result<Self> {
        let genesis = rpc.text("getblockhash", &["0"])?;
        Ok(Self { rpc, genesis, seen: HashSet::new(), counts: Counts::default(), one_sided: BTreeSet::new() })
    }

    /// Compares the result of a sync: the work block of each cycle, and the size of each list that was proven.
    pub(super) fn sync(&mut self, synced: &Synced) -> Result<()> {
        synced.cycles().iter().try_for_each(|cycle| {
            self.cycle(cycle).with_context(|| format!("cycle {} differs from the node", cycle["cycle"]))
        })
    }

    fn cycle(&mut self, cycle: &Value) -> Result<()> {
        let height = cycle["cycle"].as_u64().and_then(|height| height.checked_sub(WORK_OFFSET));
        let height = height.context("the cycle has no work block")?.to_string();
        let work_block = cycle["workBlock"].as_str().context("no work block is named")?;
        if self.is_new(format!("cycle {work_block}")) {
            let block = self.rpc.text("getblockhash", &[&height])?;
            ensure!(block == work_block, "the work block is {work_block}, the node's block {height} is {block}");
            self.counts.cycles += 1;
        }
        let Some(count) = cycle["masternodes"].as_u64() else { return Ok(()) };
        if self.is_new(format!("list {work_block} {count}")) {
            let list = self.rpc.call("protx", &["diff", &self.genesis, work_block])?;
            let listed = list["mnList"].as_array().map(Vec::len).context("protx diff returned no mnList")?;
            ensure!(count == listed as u64, "the list has {count} masternodes, the node's {listed}");
            self.counts.lists += 1;
        }
        Ok(())
    }

    /// Compares a decoded reply: each diff with `protx diff`, each last commitment with `quorum info`.
    pub(super) fn reply(&mut self, reply: &Value) -> Result<()> {
        let reply = reply.as_object().context("a decoded reply is no object")?;
        let single = reply.iter().filter(|(name, _)| name.starts_with("mnListDiff")).map(|(_, diff)| diff);
        // `mnListDiffList` is the one that holds several.
        for diff in single.flat_map(|diff| diff.as_array().map_or(std::slice::from_ref(diff), Vec::as_slice)) {
            self.diff(diff)?;
        }
        let commitments = reply.get("lastCommitmentPerIndex").and_then(Value::as_array);
        commitments.context("a reply without lastCommitmentPerIndex")?.iter().try_for_each(|last| self.quorum(last))
    }

    fn diff(&mut self, ours: &Value) -> Result<()> {
        let (Some(base), Some(block)) = (ours["baseBlockHash"].as_str(), ours["blockHash"].as_str()) else {
            bail!("a decoded diff names no blocks");
        };
        if !self.is_new(format!("diff {ours}")) {
            return Ok(());
        }
        let base_asked = if base == ZERO { &self.genesis } else { base };
        let mut theirs = self.rpc.call("protx", &["diff", base_asked, block])?;
        theirs["baseBlockHash"] = base.into();
        equal("", ours, &theirs, &mut self.one_sided)
            .with_context(|| format!("the diff from {base} to {block} differs from protx diff"))?;
        self.counts.diffs += 1;
        Ok(())
    }

    fn quorum(&mut self, ours: &Value) -> Result<()> {
        let hash = ours["quorumHash"].as_str().context("a commitment names no quorum")?;
        if !self.is_new(format!("quorum {ours}")) {
            return Ok(());
        }
        let theirs = self.rpc.call("quorum", &["info", &ours["llmqType"].to_string(), hash])?;
        same_quorum(ours, &theirs).with_context(|| format!("quorum {hash} differs from quorum info"))?;
        self.counts.quorums += 1;
        Ok(())
    }

    fn is_new(&mut self, what: String) -> bool {
        self.seen.insert(what)
    }
}

fn same_quorum(commitment: &Value, info: &Value) -> Result<()> {
    for name in ["quorumHash", "quorumIndex", "quorumPublicKey"] {
        ensure!(commitment[name] == info[name], "{name} is {}, the node says {}", commitment[name], info[name]);
    }
    let members = info["members"].as_array().context("quorum info returned no members")?;
    let valid: Option<Vec<_>> = members.iter().map(|member| member["valid"].as_bool()).collect();
    let valid = bits(&valid.context("a member is neither valid nor invalid")?);
    ensure!(
        commitment["validMembers"] == valid,
        "validMembers is {}, the node says {valid}",
        commitment["validMembers"]
    );
    Ok(())
}

/// Bits in hexadecimal, the first in the lowest bit of the first byte, as in a commitment.
fn bits(bits: &[bool]) -> String {
    let byte = |chunk: &[bool]| chunk.iter().rev().fold(0_u8, |byte, bit| byte << 1 | u8::from(*bit));
    bits.chunks(8).map(|chunk| format!("{:02x}", byte(chunk))).collect()
}

/// Compares two values, and notes the fields that only one of them has.
fn equal(path: &str, ours: &Value, theirs: &Value, one_sided: &mut BTreeSet<String>) -> Result<()> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => equal_fields(path, ours, theirs, one_sided),
        (Value::Array(ours), Value::Array(theirs)) => {
            ensure!(ours.len() == theirs.len(), "{path} has {} items, the node's {}", ours.len(), theirs.len());
            let mut pairs = ours.iter().zip(theirs).enumerate();
            pairs.try_for_each(|(i, (ours, theirs))| equal(&format!("{path}[{i}]"), ours, theirs, one_sided))
        }
        _ => {
            ensure!(ours == theirs, "{path} is {ours}, the node says {theirs}");
            Ok(())
        }
    }
}

fn equal_fields(
    path: &str,
    ours: &Map<String, Value>,
    theirs: &Map<String, Value>,
    one_sided: &mut BTreeSet<String>,
) -> Result<()> {
    let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        let path = format!("{path}.{name}");
        match (ours.get(name), theirs.get(name)) {
            (Some(ours), Some(theirs)) => equal(&path, ours, theirs, one_sided)?,
            (one, _) if ONE_SIDED.contains(&name.as_str()) => {
                one_sided.insert(format!("{name} ({})", if one.is_some() { "qrinfo" } else { "node" }));
            }
            (one, _) => bail!("{path} is only {}", if one.is_some() { "ours" } else { "the node's" }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compared(ours: &Value, theirs: &Value) -> Result<BTreeSet<String>> {
        let mut one_sided = BTreeSet::new();
        equal("", ours, theirs, &mut one_sided).map(|()| one_sided)
    }

    #[test]
    fn a_difference_is_named_by_its_place() {
        let ours = json!({ "mnList": [{ "isValid": true }], "deletedMNs": [] });
        for (theirs, says) in [
            (
                json!({ "mnList": [{ "isValid": false }], "deletedMNs": [] }),
                ".mnList[0].isValid is true, the node says false",
            ),
            (json!({ "mnList": [], "deletedMNs": [] }), ".mnList has 1 items, the node's 0"),
            (json!({ "mnList": [{ "isValid": true }] }), ".deletedMNs is only ours"),
            (json!({ "mnList": [{ "isValid": true }], "deletedMNs": [], "new": 1 }), ".new is only the node's"),
            (json!([]), " is {"),
        ] {
            let error = compared(&ours, &theirs).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn known_one_sided_fields_are_noted() {
        let ours = json!({ "keyIDVoting": "00", "nType": 0 });
        let theirs = json!({ "votingAddress": "y", "nType": 0 });
        let noted: Vec<_> = compared(&ours, &theirs).unwrap().into_iter().collect();
        assert_eq!(noted, ["keyIDVoting (qrinfo)", "votingAddress (node)"]);
    }

    #[test]
    fn a_known_field_that_both_have_is_compared() {
        assert!(compared(&json!({ "service": "127.0.0.1:1" }), &json!({ "service": "127.0.0.1:2" })).is_err());
    }

    #[test]
    fn a_quorum_is_compared_by_key_index_and_valid_members() {
        let info = |valid: [bool; 4]| {
            let members: Vec<_> = valid.map(|valid| json!({ "valid": valid })).into();
            json!({ "quorumHash": "ab", "quorumIndex": 1, "quorumPublicKey": "cd", "members": members })
        };
        let commitment = |members: &str| json!({ "quorumHash": "ab", "quorumIndex": 1, "quorumPublicKey": "cd", "validMembers": members });
        same_quorum(&commitment("0d"), &info([true, false, true, true])).unwrap();
        assert!(same_quorum(&commitment("0f"), &info([true, false, true, true])).is_err());
        let mut other = commitment("0d");
        other["quorumPublicKey"] = "ce".into();
        assert!(same_quorum(&other, &info([true, false, true, true])).is_err());
        assert_eq!(bits(&[true; 10]), "ff03");
    }
}
