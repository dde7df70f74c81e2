//! Every field of a `qrinfo`, by its place in the payload: a reading of the wire format of its own.

use std::ops::Range;

/// A field, named without positions: `mnListDiffH.mnList.confirmedHash` is that of any entry.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) range: Range<usize>,
}

/// A counted list.
#[derive(Debug, Clone)]
pub(crate) struct List {
    pub(crate) name: String,
    pub(crate) count: Range<usize>,
    pub(crate) items: Vec<Range<usize>>,
}

/// Fields and lists of a payload. The fields cover it without gaps.
#[derive(Debug, Default)]
pub(crate) struct Map {
    pub(crate) fields: Vec<Field>,
    pub(crate) lists: Vec<List>,
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    path: Vec<&'static str>,
    map: Map,
}

pub(crate) fn qr_info(bytes: &[u8]) -> Map {
    let mut walk = Walk { bytes, at: 0, path: Vec::new(), map: Map::default() };
    walk.qr_info();
    assert_eq!(walk.at, bytes.len(), "the walk ends where the payload ends");
    let mut at = 0;
    for field in &walk.map.fields {
        assert_eq!(field.range.start, at, "{}", field.name);
        at = field.range.end;
    }
    walk.map
}

impl Walk<'_> {
    fn name(&self, last: &str) -> String {
        self.path.iter().copied().chain([last]).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
    }

    fn field(&mut self, name: &str, len: usize) -> u64 {
        let range = self.at..self.at + len;
        self.at = range.end;
        if len > 0 {
            self.map.fields.push(Field { name: self.name(name), range: range.clone() });
        }
        let low = self.bytes[range].iter().take(8).rev();
        low.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn compact(&mut self, name: &str) -> usize {
        let len = match self.bytes[self.at] {
            0xfd => 3,
            0xfe => 5,
            0xff => 9,
            _ => 1,
        };
        let number = self.field(name, len);
        (if len > 1 { number >> 8 } else { number }) as usize
    }

    fn within(&mut self, name: &'static str, walk: impl FnOnce(&mut Self)) {
        self.path.push(name);
        walk(self);
        self.path.pop();
    }

    fn list(&mut self, name: &'static str, mut item: impl FnMut(&mut Self)) {
        self.path.push(name);
        let start = self.at;
        let count = self.compact("count");
        let count_range = start..self.at;
        let mut items = Vec::new();
        for _ in 0..count {
            let start = self.at;
            item(self);
            items.push(start..self.at);
        }
        self.path.pop();
        let name = self.name(name);
        self.map.lists.push(List { name, count: count_range, items });
    }

    fn var_bytes(&mut self, name: &'static str) {
        self.within(name, |walk| {
            let len = walk.compact("length");
            walk.field("bytes", len);
        });
    }

    fn bits(&mut self, name: &'static str) {
        self.within(name, |walk| {
            let len = walk.compact("count");
            walk.field("bits", len.div_ceil(8));
        });
    }

    fn qr_info(&mut self) {
        for name in ["quorumSnapshotAtHMinusC", "quorumSnapshotAtHMinus2C", "quorumSnapshotAtHMinus3C"] {
            self.within(name, Self::snapshot);
        }
        let diffs =
            ["mnListDiffTip", "mnListDiffH", "mnListDiffAtHMinusC", "mnListDiffAtHMinus2C", "mnListDiffAtHMinus3C"];
        for name in diffs {
            self.within(name, Self::diff);
        }
        if self.field("extraShare", 1) == 1 {
            self.within("quorumSnapshotAtHMinus4C", Self::snapshot);
            self.within("mnListDiffAtHMinus4C", Self::diff);
        }
        self.list("lastCommitmentPerIndex", Self::commitment);
        self.list("quorumSnapshotList", Self::snapshot);
        self.list("mnListDiffList", Self::diff);
    }

    fn snapshot(&mut self) {
        self.field("mnSkipListMode", 4);
        self.bits("activeQuorumMembers");
        self.list("mnSkipList", |walk| {
            walk.field("", 4);
        });
    }

    fn diff(&mut self) {
        self.field("nVersion", 2);
        self.field("baseBlockHash", 32);
        self.field("blockHash", 32);
        self.field("totalTransactions", 4);
        self.list("merkleHashes", |walk| {
            walk.field("", 32);
        });
        self.var_bytes("merkleFlags");
        self.within("cbTx", Self::coinbase);
        self.list("deletedMNs", |walk| {
            walk.field("", 32);
        });
        self.list("mnList", Self::entry);
        self.list("deletedQuorums", |walk| {
            walk.field("llmqType", 1);
            walk.field("quorumHash", 32);
        });
        self.list("newQuorums", Self::commitment);
        self.list("quorumsCLSigs", |walk| {
            walk.field("signature", 96);
            walk.list("indexes", |walk| {
                walk.field("", 2);
            });
        });
    }

    fn coinbase(&mut self) {
        self.field("version", 2);
        self.field("type", 2);
        self.list("inputs", |walk| {
            walk.field("outpoint", 36);
            walk.var_bytes("scriptSig");
            walk.field("sequence", 4);
        });
        self.list("outputs", |walk| {
            walk.field("value", 8);
            walk.var_bytes("scriptPubKey");
        });
        self.field("lockTime", 4);
        self.within("payload", |walk| {
            walk.compact("length");
            let version = walk.field("version", 2);
            walk.field("height", 4);
            walk.field("merkleRootMNList", 32);
            if version >= 2 {
                walk.field("merkleRootQuorums", 32);
            }
            if version >= 3 {
                walk.compact("bestCLHeightDiff");
                walk.field("bestCLSignature", 96);
                walk.field("creditPoolBalance", 8);
            }
        });
    }

    fn entry(&mut self) {
        let version = self.field("nVersion", 2);
        self.field("proRegTxHash", 32);
        self.field("confirmedHash", 32);
        if version >= 3 {
            self.within("netInfo", Self::net_info);
        } else {
            self.field("ip", 16);
            self.field("port", 2);
        }
        self.field("pubKeyOperator", 48);
        self.field("keyIDVoting", 20);
        self.field("isValid", 1);
        if version >= 2 && self.field("nType", 2) == 1 {
            if version == 2 {
                self.field("platformHTTPPort", 2);
            }
            self.field("platformNodeID", 20);
        }
    }

    fn net_info(&mut self) {
        assert_eq!(self.field("version", 1), 1);
        self.list("purposes", |walk| {
            walk.field("purpose", 1);
            walk.list("entries", |walk| match walk.field("type", 1) {
                1 => {
                    walk.field("network", 1);
                    walk.var_bytes("address");
                    walk.field("port", 2);
                }
                2 => {
                    walk.var_bytes("domain");
                    walk.field("port", 2);
                }
                _ => {}
            });
        });
    }

    fn commitment(&mut self) {
        let version = self.field("version", 2);
        self.field("llmqType", 1);
        self.field("quorumHash", 32);
        if matches!(version, 2 | 4) {
            self.field("quorumIndex", 2);
        }
        self.bits("signers");
        self.bits("validMembers");
        self.field("quorumPublicKey", 48);
        self.field("quorumVvecHash", 32);
        self.field("quorumSig", 96);
        self.field("membersSig", 96);
    }
}
