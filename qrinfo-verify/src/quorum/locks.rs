//! The verification of InstantSend locks and ChainLocks: the selected quorum, and its signature.

use std::collections::HashSet;

use qrinfo_core::{
    CycleStart, Hash256, LlmqType, QuorumHash,
    message::{ChainLock, Commitment, InstantLock, QuorumIndex},
    sha256d,
};

use super::{
    active::{Quorums, SIGN_HEIGHT_OFFSET},
    bls::{self, Scheme},
    mined::MinedQuorum,
};

/// The quorum that signed a lock.
///
/// Proven: the key of this quorum signed, and this quorum was selected, as far as [`Quorums`] is right.
///
/// Not proven: the quorum itself ([`verify_quorums`](crate::verify_quorums)); for a ChainLock, that its block is the
/// one of our chain at its height; for an InstantSend lock, that the transaction is valid and has the lock's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedBy {
    /// The kind of quorum.
    pub llmq_type: LlmqType,
    /// The quorum.
    pub quorum_hash: QuorumHash,
    /// Its index, if it is rotated.
    pub quorum_index: Option<QuorumIndex>,
}

/// The reason why a lock was not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The lock is malformed: no inputs or a repeated one, a null transaction, a negative height, or a cycle height
    /// that is no cycle start.
    #[error("the lock is malformed")]
    Malformed,
    /// The signature is malformed, or is not that of any candidate signer. The lock is false if the quorums are right.
    #[error("the lock is not signed by the quorum that was selected")]
    NotSigned,
    /// The active quorums at this height are not known: no lists of it were learned, or it lies above our tip.
    #[error("the active quorums at height {0} are not known")]
    NotCovered(u32),
    /// No quorum can have signed: none is active, or none has the selected index.
    #[error("no active quorum at height {0} is selected")]
    NoQuorum(u32),
    /// The quorum is from before v19, the signature does not verify in the newer scheme, and the feature `legacy-bls`
    /// is off. The lock may be valid.
    #[error("the signature may be of the scheme before v19; build with the feature legacy-bls to verify it")]
    Legacy,
}

// === impl SignedBy ===

impl From<&MinedQuorum> for SignedBy {
    fn from(signer: &MinedQuorum) -> Self {
        let Commitment { llmq_type, quorum_hash, quorum_index, .. } = signer.commitment;
        Self { llmq_type, quorum_hash, quorum_index }
    }
}

// === impl LockError ===

impl LockError {
    /// Returns true if the lock is false. Otherwise our side cannot judge it.
    pub fn is_false(&self) -> bool {
        matches!(self, Self::Malformed | Self::NotSigned)
    }
}

// === impl Quorums ===

impl Quorums {
    /// Verifies a ChainLock (DIP-8; Dash Core's `VerifyChainLock`).
    ///
    /// The signer is selected among the quorums that are active eight blocks below the lock's block.
    ///
    /// ```
    /// use qrinfo_core::{BlockHash, Network, message::ChainLock};
    /// use qrinfo_verify::{LockError, Quorums};
    ///
    /// let quorums = Quorums::starting_at(Network::Mainnet, 2_240_344);
    /// let lock = ChainLock { height: 2_240_367, block_hash: BlockHash::ZERO, signature: [0; 96] };
    /// assert_eq!(quorums.verify_chainlock(&lock), Err(LockError::NotCovered(2_240_359)));
    /// ```
    ///
    /// # Errors
    /// [`LockError`]; [`is_false`](LockError::is_false) tells whether the lock is to blame.
    pub fn verify_chainlock(&self, lock: &ChainLock) -> Result<SignedBy, LockError> {
        let height = u32::try_from(lock.height).map_err(|_| LockError::Malformed)?;
        let signed_at = height.checked_sub(SIGN_HEIGHT_OFFSET).ok_or(LockError::NoQuorum(height))?;
        let request = Request {
            llmq_type: self.network().chain_lock_llmq(),
            id: lock.request_id(),
            message: Hash256::from_bytes(*lock.block_hash.as_bytes()),
            signature: &lock.signature,
        };
        self.verify(&request, &[signed_at], None)
    }

    /// Verifies an InstantSend lock (DIP-10, DIP-24; Dash Core's `ProcessPendingInstantSendLocks`).
    ///
    /// `cycle_height` is the height of the block that the lock names, which is to be on our chain, and `tip` that of our
    /// newest block. Since protocol 70237 that block is the first one of the signing quorum's own cycle, which for a
    /// straggler lies cycles back: cycle and index name the quorum.
    ///
    /// Before, it was the first block of the cycle at the time. So the quorums that are active at the end of that cycle
    /// may have signed as well, or at the tip while the cycle is under way, and those a cycle earlier: until the quorums
    /// of a cycle are mined those of the cycle before are active.
    ///
    /// The vectors have no InstantSend lock together with its quorum. Layout, ids and the choice of the index were tested
    /// with locks of mainnet, the signature and the choice of the cycle with locks that the tests sign.
    ///
    /// # Errors
    /// [`LockError`]; [`is_false`](LockError::is_false) tells whether the lock is to blame.
    pub fn verify_islock(&self, lock: &InstantLock, cycle_height: u32, tip: u32) -> Result<SignedBy, LockError> {
        let cycles = self.network().cycles();
        let cycle = CycleStart::new(cycle_height, cycles.length()).ok_or(LockError::Malformed)?;
        let mut inputs = HashSet::new();
        let is_malformed = lock.inputs.is_empty()
            || lock.txid == Hash256::ZERO
            || !lock.inputs.iter().all(|input| inputs.insert(input));
        if is_malformed {
            return Err(LockError::Malformed);
        }
        let request = Request {
            llmq_type: self.network().rotated_llmq(),
            id: lock.request_id(),
            message: lock.txid,
            signature: &lock.signature,
        };
        if cycle_height > tip {
            return Err(LockError::NotCovered(cycle_height));
        }
        let named = self.signer_of_cycle(&request.id, cycle);
        if let Some(named) = named.filter(|named| request.is_signed_by(named)) {
            return Ok(SignedBy::from(named));
        }
        let is_over = cycle_height.saturating_add(cycles.length()) < tip;
        let signed_at = if is_over { cycles.end(cycle) } else { tip };
        let error = match self.verify(&request, &[signed_at, signed_at.saturating_sub(cycles.length())], named) {
            Ok(signed) => return Ok(signed),
            Err(error) => error,
        };
        let mined_by = *self.network().rotated_params().mining_window(cycle_height).end();
        Err(match named {
            // It may still be mined, whatever the quorums so far say.
            None if mined_by > *self.covered().end() => LockError::NotCovered(mined_by),
            Some(named) if error.is_false() && Scheme::of(&named.commitment).is_none() => LockError::Legacy,
            _ => error,
        })
    }

    /// Verifies what was signed by a quorum selected at one of these heights. The one that was tried did not sign it.
    fn verify(
        &self,
        request: &Request<'_>,
        heights: &[u32],
        tried: Option<&MinedQuorum>,
    ) -> Result<SignedBy, LockError> {
        let mut signers: Vec<&MinedQuorum> = Vec::new();
        let mut uncovered = None;
        for &height in heights {
            match self.covered().contains(&height) {
                true => signers.extend(self.signers(request.llmq_type, &request.id, height)),
                false => uncovered = Some(height),
            }
        }
        signers.dedup();
        // A signature takes a millisecond to verify, and mostly the same quorum is selected at all heights.
        let mut untried = signers.iter().filter(|quorum| Some(**quorum) != tried);
        if let Some(signer) = untried.find(|quorum| request.is_signed_by(quorum)) {
            return Ok(SignedBy::from(*signer));
        }
        Err(match (uncovered, heights.first()) {
            (Some(height), _) => LockError::NotCovered(height),
            (None, Some(&height)) if signers.is_empty() => LockError::NoQuorum(height),
            _ if signers.iter().any(|quorum| Scheme::of(&quorum.commitment).is_none()) => LockError::Legacy,
            _ => LockError::NotSigned,
        })
    }
}

/// A signing request and its signature.
struct Request<'a> {
    llmq_type: LlmqType,
    id: Hash256,
    message: Hash256,
    signature: &'a [u8; 96],
}

// === impl Request ===

impl Request<'_> {
    fn is_signed_by(&self, quorum: &MinedQuorum) -> bool {
        let commitment = &quorum.commitment;
        let Some(key) = bls::quorum_key(commitment) else { return false };
        let hash = self.sign_hash(&commitment.quorum_hash);
        // A quorum signs in the scheme of the time: one that was made before v19 may still be active after.
        let schemes = [Some(Scheme::Basic), Scheme::of(commitment).filter(|scheme| *scheme != Scheme::Basic)];
        let mut claims = schemes.into_iter().flatten().filter_map(|scheme| scheme.claim(self.signature, hash, key));
        claims.any(|claim| claim.is_signed())
    }

    /// Returns the hash that a quorum signs (Dash Core's `BuildSignHash`).
    fn sign_hash(&self, quorum_hash: &QuorumHash) -> [u8; 32] {
        let hashes = [quorum_hash.as_bytes(), self.id.as_bytes(), self.message.as_bytes()];
        sha256d(&[&[self.llmq_type.0], hashes.map(<[u8; 32]>::as_slice).concat().as_slice()].concat())
    }
}
