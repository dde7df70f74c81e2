//! Real mainnet data, which lies beside the repository.
//!
//! There are no headers, so their merkle roots are those that another decoder computed from the same proofs: this does
//! not test coinbase proofs, but everything behind them.

#![allow(dead_code, clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use bytes::Bytes;
use qrinfo_core::{
    BlockHash, BlockHeader, Hash256, MnListDiffRequestSpec, Network, QRInfoRequestSpec, Reply, Request,
    message::{MnListDiff, QRInfo},
    wire::Wire,
};
use qrinfo_verify::HeaderMap;
use serde_json::Value;

pub(crate) struct Mainnet {
    directory: PathBuf,
    pub(crate) headers: HeaderMap,
    blocks: Value,
}

impl Mainnet {
    /// Tells on standard error what is not tested where the vectors are missing.
    pub(crate) fn load() -> Option<Self> {
        let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/mainnet"));
        if !directory.join("truth.json").is_file() {
            eprintln!("{} is missing: nothing is tested against mainnet", directory.display());
            return None;
        }
        let mut mainnet = Self { directory, headers: HeaderMap::default(), blocks: Value::Null };
        mainnet.blocks = mainnet.json("mainnet_blocks_2240504.json");
        for (height, hash) in mainnet.blocks["hashByHeight"].clone().as_object().unwrap() {
            mainnet.add(height.parse().unwrap(), hash.as_str().unwrap().parse().unwrap(), Hash256::ZERO);
        }
        for name in mainnet.diff_names() {
            mainnet.add_proven(&mainnet.json(&format!("{name}.json")));
        }
        let qr_info = mainnet.json("mainnet_qrinfo_2240504.json");
        qr_info.as_object().unwrap().values().for_each(|part| mainnet.add_proven(part));
        Some(mainnet)
    }

    fn add(&mut self, height: u32, hash: BlockHash, merkle_root: Hash256) {
        let mut header = [0; 80];
        header[36..68].copy_from_slice(merkle_root.as_bytes());
        self.headers.insert(height, hash, &BlockHeader::from_bytes(header));
    }

    fn add_proven(&mut self, diff: &Value) {
        let Some(root) = diff["merkleProof"]["blockMerkleRoot"].as_str() else { return };
        let height = diff["cbTx"]["extraPayload"]["height"].as_u64().unwrap();
        let hash = diff["blockHash"].as_str().unwrap().parse().unwrap();
        self.add(height.try_into().unwrap(), hash, root.parse().unwrap());
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.directory.join(name)).unwrap()).unwrap()
    }

    pub(crate) fn hash(&self, height: u32) -> BlockHash {
        self.blocks["hashByHeight"][height.to_string()].as_str().unwrap().parse().unwrap()
    }

    fn payload(&self, name: &str) -> Bytes {
        fs::read(self.directory.join(format!("{name}.bin"))).unwrap().into()
    }

    /// The names of the diffs, full list first, then by base and target.
    pub(crate) fn diff_names(&self) -> Vec<String> {
        let files = fs::read_dir(&self.directory).unwrap();
        let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names
            .filter_map(|name| name.strip_suffix(".bin").map(str::to_owned))
            .filter(|name| name.starts_with("mainnet_mnlistdiff_"))
            .collect();
        names.sort_by_key(|name| name.rsplit('_').take(2).map(|n| n.parse::<u32>().unwrap()).collect::<Vec<_>>());
        names
    }

    pub(crate) fn diff(&self, name: &str) -> (Request, Reply) {
        let diff = MnListDiff::from_wire(self.payload(name)).unwrap();
        let spec = MnListDiffRequestSpec { base_block_hash: diff.base_block_hash, block_hash: diff.block_hash };
        (spec.into(), Reply::MnListDiff(Box::new(diff)))
    }

    pub(crate) fn qr_info(&self) -> (QRInfoRequestSpec, QRInfo) {
        let spec = QRInfoRequestSpec {
            network: Network::Mainnet,
            cycle: Network::Mainnet.cycles().start_of(2_240_352),
            base_block_hashes: vec![self.hash(2_227_096)],
            block_hash: self.hash(2_240_504),
            extra_share: true,
            work_block_hashes: [2_240_344, 2_240_056, 2_239_768, 2_239_480, 2_239_192].map(|height| self.hash(height)),
        };
        (spec, QRInfo::from_wire(self.payload("mainnet_qrinfo_2240504")).unwrap())
    }
}
