//! Recorded exchanges with a live node: those kept in this repository, and the full set where it is available.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use qrinfo_core::BlockHash;
use serde_json::Value;

/// The exchanges with one node.
pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) exchanges: Vec<Exchange>,
    hashes: BTreeMap<u32, BlockHash>,
}

/// A request, and the reply unless the node refused.
pub(crate) struct Exchange {
    pub(crate) id: u64,
    pub(crate) height: u32,
    pub(crate) base_heights: Vec<u32>,
    pub(crate) extra_share: bool,
    pub(crate) request: Vec<u8>,
    pub(crate) reply: Option<Vec<u8>>,
}

impl Recording {
    /// A few exchanges of each chain, kept in this repository.
    pub(crate) fn kept() -> Vec<Self> {
        ["regtest", "regtest-churn"]
            .map(|chain| Self::load(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(chain)))
            .into()
    }

    /// All exchanges of each chain; none where they are not available.
    pub(crate) fn full() -> Vec<Self> {
        ["regtest", "regtest-churn", "regtest-v3"].into_iter().filter_map(vectors).map(Self::load).collect()
    }

    /// The number of recorded replies, by the description of the vectors.
    pub(crate) fn replies(&self) -> usize {
        let counts = [("regtest", 588), ("regtest-churn", 604), ("regtest-v3", 135)];
        counts.into_iter().find(|(name, _)| self.is(name)).unwrap().1
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        Path::new(&self.name).ends_with(name)
    }

    pub(crate) fn hash(&self, height: u32) -> BlockHash {
        self.hashes[&height]
    }

    fn load(path: PathBuf) -> Self {
        let json: Value = serde_json::from_slice(&fs::read(path.join("exchanges.json")).unwrap()).unwrap();
        let hashes = match json.get("hashes") {
            Some(hashes) => {
                let hashes = hashes.as_object().unwrap().iter();
                hashes.map(|(height, hash)| (height.parse().unwrap(), text(hash).parse().unwrap())).collect()
            }
            None => {
                // Each header names the hash of the one before.
                let headers = fs::read(path.join("headers.bin")).unwrap();
                let parents = headers.chunks(80).skip(1).map(|header| header[4..36].try_into().unwrap());
                (0..)
                    .zip(parents.map(BlockHash::from_bytes).chain([text(&json["tip_hash"]).parse().unwrap()]))
                    .collect()
            }
        };
        let exchanges = json["exchanges"].as_array().unwrap().iter().map(|exchange| Exchange {
            id: exchange["id"].as_u64().unwrap(),
            height: number(&exchange["height"]),
            base_heights: exchange["base_heights"].as_array().unwrap().iter().map(number).collect(),
            extra_share: exchange["extra_share"].as_bool().unwrap(),
            request: bytes(text(&exchange["request"])),
            reply: exchange.get("file").map(|file| fs::read(path.join(text(file))).unwrap()),
        });
        Self { name: path.display().to_string(), exchanges: exchanges.collect(), hashes }
    }
}

/// A directory of the full set, which lies beside the workspace.
pub(crate) fn vectors(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(name);
    let found = path.is_dir();
    if !found {
        eprintln!("{} is not there: only the exchanges kept in the repository are tested", path.display());
    }
    found.then_some(path)
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
