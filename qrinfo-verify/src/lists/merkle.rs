//! Bitcoin's merkle tree: its root, and the proof that a block's first transaction is in it.

use qrinfo_core::{Hash256, message::MnListDiff, sha256d};

/// The maximum number of transactions in a block: two megabytes (DIP-1) of the smallest ones, as in Dash Core's
/// `CPartialMerkleTree::ExtractMatches`.
const MAX_TRANSACTIONS: u32 = 2_000_000 / 60;

/// The reason why a header does not prove a coinbase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFault {
    /// No transactions, or more than a block can contain.
    #[error("a block cannot contain {0} transactions")]
    TransactionCount(u32),
    /// The tree needs one hash for the coinbase and one for each level above it.
    #[error("got {got} hashes, expected {expected}")]
    HashCount {
        /// The number for this number of transactions.
        expected: usize,
        /// The number received.
        got: usize,
    },
    /// The flag bits do not lead to the first transaction alone, or are padded with something else than zeros.
    #[error("the flag bits do not lead to the first transaction alone")]
    Flags,
    /// The transaction in the tree is not the coinbase of the diff.
    #[error("the first transaction is {first}, but the coinbase is {coinbase}")]
    OtherTransaction {
        /// The first transaction by the tree.
        first: Hash256,
        /// The id of the coinbase that came.
        coinbase: Hash256,
    },
    /// Two equal siblings, with which a false tree can have a true root (CVE-2012-2459).
    #[error("two siblings are equal")]
    EqualSiblings,
    /// The tree's root is not the header's.
    #[error("the merkle root is {got}, expected {expected} from the header")]
    Root {
        /// The header's.
        expected: Hash256,
        /// The tree's.
        got: Hash256,
    },
}

/// Checks that a diff's coinbase is the first transaction of a block with this merkle root.
///
/// A server sends the partial merkle tree (BIP-37) that shows the coinbase and nothing else. It has one form only: flag
/// bits set from the root down to the first leaf and clear for the sibling of each node on that path, and the hashes of
/// that leaf and of those siblings, lowest first. Only that form is accepted, so every bit and every hash is used.
pub(crate) fn check_coinbase(diff: &MnListDiff, merkle_root: Hash256) -> Result<(), ProofFault> {
    let transactions = diff.total_transactions;
    if transactions == 0 || transactions > MAX_TRANSACTIONS {
        return Err(ProofFault::TransactionCount(transactions));
    }
    let levels = transactions.next_power_of_two().trailing_zeros() as usize;
    if diff.merkle_hashes.len() != levels + 1 {
        return Err(ProofFault::HashCount { expected: levels + 1, got: diff.merkle_hashes.len() });
    }
    // At most 2 x 16 + 1 bits.
    let flags: u64 = (1 << (levels + 1)) - 1;
    let used = (2 * levels + 1).div_ceil(8);
    if flags.to_le_bytes().get(..used) != Some(&diff.merkle_flags[..]) {
        return Err(ProofFault::Flags);
    }
    let coinbase = diff.coinbase.txid();
    let mut hashes = diff.merkle_hashes.iter();
    let first = hashes.next().unwrap_or_default();
    if first != coinbase {
        return Err(ProofFault::OtherTransaction { first, coinbase });
    }
    let mut node = *first.as_bytes();
    for sibling in hashes {
        if node == *sibling.as_bytes() {
            return Err(ProofFault::EqualSiblings);
        }
        node = parent(&node, sibling.as_bytes());
    }
    let got = Hash256::from_bytes(node);
    if got != merkle_root {
        return Err(ProofFault::Root { expected: merkle_root, got });
    }
    Ok(())
}

/// The root over these leaves: of an odd level the last node counts twice, and of nothing the root is zero.
pub(crate) fn root(mut level: Vec<[u8; 32]>) -> Hash256 {
    while level.len() > 1 {
        let len = level.len().div_ceil(2);
        for index in 0..len {
            // Written behind what is still to be read.
            let node = match level.get(2 * index..) {
                Some([left, right, ..]) => parent(left, right),
                Some([alone]) => parent(alone, alone),
                _ => continue,
            };
            if let Some(place) = level.get_mut(index) {
                *place = node;
            }
        }
        level.truncate(len);
    }
    Hash256::from_bytes(level.first().copied().unwrap_or_default())
}

fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut pair = [0; 64];
    let (a, b) = pair.split_at_mut(32);
    a.copy_from_slice(left);
    b.copy_from_slice(right);
    sha256d(&pair)
}

#[cfg(test)]
mod tests {
    use qrinfo_core::BlockHash;

    use super::*;

    /// A diff with a proof of so many levels, and the root that it leads to.
    fn proven(transactions: u32, levels: u8) -> (MnListDiff, Hash256) {
        let mut diff = MnListDiff::empty(BlockHash::ZERO, BlockHash::ZERO);
        let siblings: Vec<_> = (0..levels).map(|level| [level; 32]).collect();
        let first = *diff.coinbase.txid().as_bytes();
        let root = siblings.iter().fold(first, |node, sibling| parent(&node, sibling));
        diff.total_transactions = transactions;
        diff.merkle_hashes = [first].into_iter().chain(siblings).map(Hash256::from_bytes).collect();
        // Set from the root down to the leaf, clear for each sibling.
        let bits = (0..2 * levels + 1).map(|bit| bit <= levels);
        diff.merkle_flags = bits.collect::<qrinfo_core::wire::Bits>().as_bytes().clone();
        (diff, Hash256::from_bytes(root))
    }

    #[test]
    fn a_coinbase_is_proven_in_trees_of_every_height() {
        for (transactions, levels) in [
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 3),
            (9, 4),
            (16, 4),
            (17, 5),
            (129, 8),
            (2_049, 12),
            (32_768, 15),
            (33_333, 16),
        ] {
            let (diff, root) = proven(transactions, levels);
            assert_eq!(check_coinbase(&diff, root), Ok(()), "{transactions}");
            let mut padded = diff.clone();
            padded.merkle_flags = [&diff.merkle_flags[..], &[0]].concat().into();
            assert_eq!(check_coinbase(&padded, root), Err(ProofFault::Flags));
            let (_, other) = proven(transactions, levels + 1);
            assert_eq!(check_coinbase(&diff, other), Err(ProofFault::Root { expected: other, got: root }));
        }
        for transactions in [0, 33_334] {
            let (diff, root) = proven(transactions, 16);
            assert_eq!(check_coinbase(&diff, root), Err(ProofFault::TransactionCount(transactions)));
        }
        let (diff, root) = proven(17, 4);
        assert_eq!(check_coinbase(&diff, root), Err(ProofFault::HashCount { expected: 6, got: 5 }));
    }

    #[test]
    fn roots_of_bitcoin_blocks() {
        let leaf = |text: &str| *text.parse::<Hash256>().unwrap().as_bytes();
        // Block 100,000 of Bitcoin, four transactions.
        let leaves = [
            "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
            "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
            "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
            "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
        ];
        assert_eq!(
            root(leaves.map(leaf).to_vec()).to_string(),
            "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766"
        );
        assert_eq!(root(vec![]), Hash256::ZERO);
        assert_eq!(root(vec![[7; 32]]), Hash256::from_bytes([7; 32]));
        let three = [[1; 32], [2; 32], [3; 32]];
        let expected = parent(&parent(&three[0], &three[1]), &parent(&three[2], &three[2]));
        assert_eq!(root(three.to_vec()), Hash256::from_bytes(expected));
    }
}
