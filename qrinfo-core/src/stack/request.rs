use super::mismatch::Mismatch;
use crate::{
    chain::{BlockHash, CycleStart, Network},
    message::{GetMnListDiff, GetQRInfo, MnListDiff, NetworkMessage, QRInfo},
};

/// The order in which waiting requests are served. A greater priority overtakes every smaller one that is not sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum RequestPriority {
    /// History, fetched in the background.
    Low = 0,
    /// The default.
    #[default]
    Normal = 1,
    /// Needed soon.
    High = 2,
    /// A user waits for it.
    Critical = 3,
}

/// A request to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, derive_more::Display, derive_more::From)]
pub enum Request {
    /// `getqrinfo`
    #[display("cycle {}", _0.cycle)]
    QrInfo(QRInfoRequestSpec),
    /// `getmnlistd`
    #[display("list at {}", _0.block_hash)]
    MnListDiff(MnListDiffRequestSpec),
}

/// A `getqrinfo` and what its reply must show.
///
/// The reply does not name its request, so the request lists the work blocks to which the reply must lead. A client
/// that has the headers knows them; [`Cycles`](crate::Cycles) computes their heights.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QRInfoRequestSpec {
    /// The network asked, for its genesis block: a base that every server has.
    pub network: Network,
    /// The first block of the cycle asked for, `H`.
    pub cycle: CycleStart,
    /// Blocks whose lists the client has when it applies the reply. Empty means genesis.
    pub base_block_hashes: Vec<BlockHash>,
    /// The block to ask for.
    pub block_hash: BlockHash,
    /// True to request the part for `H-4C` as well.
    pub extra_share: bool,
    /// The work blocks of `H`, `H-C`, `H-2C`, `H-3C` and `H-4C`.
    pub work_block_hashes: [BlockHash; 5],
}

/// A `getmnlistd`. Its reply names both blocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MnListDiffRequestSpec {
    /// The block whose list the client has; all zero means genesis.
    pub base_block_hash: BlockHash,
    /// The block whose list is wanted.
    pub block_hash: BlockHash,
}

/// A peer's answer.
#[derive(Debug, Clone, PartialEq, Eq, derive_more::From)]
pub enum Reply {
    /// `qrinfo`
    #[from(QRInfo, Box<QRInfo>)]
    QrInfo(Box<QRInfo>),
    /// `mnlistdiff`
    #[from(MnListDiff, Box<MnListDiff>)]
    MnListDiff(Box<MnListDiff>),
}

// === impl Reply ===

impl From<Reply> for NetworkMessage {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::QrInfo(reply) => Self::QRInfo(reply),
            Reply::MnListDiff(diff) => Self::MnListDiff(diff),
        }
    }
}

impl TryFrom<NetworkMessage> for Reply {
    type Error = NetworkMessage;

    /// Gives back a message of another kind.
    fn try_from(message: NetworkMessage) -> Result<Self, NetworkMessage> {
        match message {
            NetworkMessage::QRInfo(reply) => Ok(Self::QrInfo(reply)),
            NetworkMessage::MnListDiff(diff) => Ok(Self::MnListDiff(diff)),
            other => Err(other),
        }
    }
}

// === impl Request ===

impl Request {
    /// The message of this request.
    pub fn to_message(&self) -> NetworkMessage {
        match self {
            Self::QrInfo(spec) => NetworkMessage::GetQRInfo(GetQRInfo {
                base_block_hashes: spec.base_block_hashes.clone(),
                block_hash: spec.block_hash,
                extra_share: spec.extra_share,
            }),
            Self::MnListDiff(spec) => NetworkMessage::GetMnListD(GetMnListDiff {
                base_block_hash: spec.base_block_hash,
                block_hash: spec.block_hash,
            }),
        }
    }

    /// Checks that `reply` answers this request, as far as the fields of the reply tell.
    ///
    /// For `qrinfo`: the work blocks, the base of every diff (one that was sent, genesis as its hash or as all zeros, or
    /// the target of another diff of the reply), and the extra share. The tip diff's target is the server's own tip and
    /// is not judged. For `mnlistdiff`: both blocks; genesis may be all zeros in one and its hash in the other.
    ///
    /// # Errors
    /// [`Mismatch`], with the expected value and the value in the reply.
    pub fn check_reply(&self, reply: &Reply) -> Result<(), Mismatch> {
        match (self, reply) {
            (Self::QrInfo(spec), Reply::QrInfo(qr_info)) => spec.check_reply(qr_info),
            (Self::MnListDiff(spec), Reply::MnListDiff(diff)) => spec.check_reply(diff),
            (Self::QrInfo(_), Reply::MnListDiff(_)) => Err(Mismatch::Message { expected: "qrinfo", got: "mnlistdiff" }),
            (Self::MnListDiff(_), Reply::QrInfo(_)) => Err(Mismatch::Message { expected: "mnlistdiff", got: "qrinfo" }),
        }
    }
}

// === impl QRInfoRequestSpec ===

impl QRInfoRequestSpec {
    fn check_reply(&self, reply: &QRInfo) -> Result<(), Mismatch> {
        let extra = reply.extra_share.as_ref().map(|extra| &extra.mn_list_diff_at_h_minus_4c);
        let targets = [
            Some(&reply.mn_list_diff_h),
            Some(&reply.mn_list_diff_at_h_minus_c),
            Some(&reply.mn_list_diff_at_h_minus_2c),
            Some(&reply.mn_list_diff_at_h_minus_3c),
            extra,
        ];
        for ((cycles_back, &expected), diff) in (0..).zip(&self.work_block_hashes).zip(targets) {
            match diff {
                Some(diff) if diff.block_hash != expected => {
                    return Err(Mismatch::WorkBlock { cycles_back, expected, got: diff.block_hash });
                }
                _ => {}
            }
        }
        if self.extra_share != extra.is_some() {
            return Err(Mismatch::ExtraShare { expected: self.extra_share });
        }
        self.check_bases(reply)
    }

    /// The targets of the reply count as bases whatever the order in which the server built them: it differs from one
    /// version of Dash Core to another. That such a base lies below its target only headers tell.
    fn check_bases(&self, reply: &QRInfo) -> Result<(), Mismatch> {
        let is_sent = |base: &BlockHash| self.base_block_hashes.contains(base);
        let tip = &reply.mn_list_diff_tip;
        let is_tip = |diff: &MnListDiff| std::ptr::eq(diff, tip);
        let targets: Vec<_> = reply.diffs().filter(|diff| !is_tip(diff)).map(|diff| diff.block_hash).collect();
        let unknown = reply.diffs().find(|diff| {
            let base = &diff.base_block_hash;
            // The tip of a node that is behind can be the work block: of two diffs to one block the later is empty.
            let is_other = *base != diff.block_hash || is_tip(diff);
            let is_target = is_other && targets.contains(base);
            !self.network.is_genesis(base) && !is_sent(base) && !is_target
        });
        match unknown {
            Some(diff) => Err(Mismatch::Base { target: diff.block_hash, got: diff.base_block_hash }),
            None => Ok(()),
        }
    }
}

// === impl MnListDiffRequestSpec ===

impl MnListDiffRequestSpec {
    fn check_reply(&self, reply: &MnListDiff) -> Result<(), Mismatch> {
        if reply.block_hash != self.block_hash {
            return Err(Mismatch::Target { expected: self.block_hash, got: reply.block_hash });
        }
        // Genesis may come back in its other form.
        let (sent, got) = (&self.base_block_hash, &reply.base_block_hash);
        if sent != got && !(Network::any_has_genesis(sent) && Network::any_has_genesis(got)) {
            return Err(Mismatch::Base { target: reply.block_hash, got: *got });
        }
        Ok(())
    }
}
