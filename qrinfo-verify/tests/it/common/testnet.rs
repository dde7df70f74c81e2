//! Real testnet data, which lies beside the repository.

#![allow(dead_code, clippy::unwrap_used)]

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use qrinfo_core::{
    BlockHash, BlockHeader, HEADER_LEN, Hash256, MnListDiffRequestSpec, Network, QRInfoRequestSpec, Reply, Request,
    message::{MnListDiff, QRInfo},
    sha256d,
    wire::Wire,
};
use qrinfo_verify::{HeaderMap, KnownBlock};

/// A file of the vectors. Tells on standard error what is not tested where it is missing.
pub(crate) fn vector(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(name);
    if !path.exists() {
        eprintln!("{} is missing: nothing is tested against it", path.display());
        return None;
    }
    Some(path)
}

pub(crate) fn qr_info(name: &str) -> Option<QRInfo> {
    let payload = Bytes::from(fs::read(vector(name)?).unwrap());
    let reply = QRInfo::from_wire(payload.clone()).unwrap();
    assert_eq!(reply.to_wire(), payload, "{name}");
    Some(reply)
}

/// The headers of heights 942,249 to 947,248, by their own hashes.
pub(crate) fn headers() -> Option<Vec<(u32, BlockHash, BlockHeader)>> {
    let file = fs::File::open(vector("testnet/testnet_942249_947248.bin.xz")?).unwrap();
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut BufReader::new(file), &mut bytes).unwrap();
    let (headers, rest) = bytes.as_chunks::<HEADER_LEN>();
    assert_eq!((headers.len(), rest.len()), (5_000, 0));
    let with_hash = |(height, header): (u32, &[u8; HEADER_LEN])| {
        (height, BlockHash::from_bytes(spv_x11::x11(header)), BlockHeader::from_bytes(*header))
    };
    Some((942_249..).zip(headers).map(with_hash).collect())
}

/// The targets of a reply's diffs, by their own proofs: heights that their coinbases name, merkle roots that their proofs
/// lead to. This tests everything but the headers themselves.
pub(crate) fn by_its_own_proofs<'a>(
    diffs: impl IntoIterator<Item = &'a MnListDiff>,
    others: impl IntoIterator<Item = (BlockHash, KnownBlock)>,
) -> HeaderMap {
    diffs.into_iter().map(|diff| (diff.block_hash, known_block(diff))).chain(others).collect()
}

fn known_block(diff: &MnListDiff) -> KnownBlock {
    let height = diff.coinbase.payload().unwrap().height.try_into().unwrap();
    let mut hashes = diff.merkle_hashes.iter().map(|hash| *hash.as_bytes());
    let first = hashes.next().unwrap();
    let root = hashes.fold(first, |left, right| sha256d(&[left, right].concat()));
    KnownBlock { height, merkle_root: Hash256::from_bytes(root) }
}

/// The request of a reply that was asked for by its tip, with the bases genesis and the block that the tip diff starts
/// from.
pub(crate) fn spec(network: Network, reply: &QRInfo) -> QRInfoRequestSpec {
    let work = u32::try_from(reply.mn_list_diff_h.coinbase.payload().unwrap().height).unwrap();
    let extra = reply.extra_share.as_ref().map(|extra| &extra.mn_list_diff_at_h_minus_4c);
    QRInfoRequestSpec {
        network,
        cycle: Network::Testnet.cycles().start_of(work + 8),
        base_block_hashes: vec![network.genesis_hash(), reply.mn_list_diff_tip.base_block_hash],
        block_hash: reply.mn_list_diff_tip.block_hash,
        extra_share: extra.is_some(),
        work_block_hashes: [
            reply.mn_list_diff_h.block_hash,
            reply.mn_list_diff_at_h_minus_c.block_hash,
            reply.mn_list_diff_at_h_minus_2c.block_hash,
            reply.mn_list_diff_at_h_minus_3c.block_hash,
            extra.map_or(BlockHash::ZERO, |diff| diff.block_hash),
        ],
    }
}

/// The diffs of `testnet/mnlistdiff`, by target and base.
pub(crate) fn diffs() -> Vec<(u32, u32, MnListDiff)> {
    let Some(directory) = vector("testnet/mnlistdiff") else { return Vec::new() };
    let mut diffs: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| diff(&entry.unwrap().path())).collect();
    diffs.sort_by_key(|(base, target, _)| (*target, *base));
    diffs
}

fn diff(path: &Path) -> (u32, u32, MnListDiff) {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let [target, base] = [0, 1].map(|place| stem.rsplit('_').nth(place).unwrap().parse().unwrap());
    (base, target, MnListDiff::from_wire(fs::read(path).unwrap()).unwrap())
}

pub(crate) fn request_of(diff: &MnListDiff) -> (Request, Reply) {
    let spec = MnListDiffRequestSpec { base_block_hash: diff.base_block_hash, block_hash: diff.block_hash };
    (spec.into(), Reply::MnListDiff(Box::new(diff.clone())))
}
