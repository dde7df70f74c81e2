use bytes::BufMut;

use crate::{
    chain::{Hash256, LlmqType, QuorumHash},
    wire::{Bits, DecodeError, DecodeErrorKind, Reader, Wire},
};

/// The position of a rotated quorum among those of its cycle.
pub type QuorumIndex = i16;

/// A final commitment: one quorum's key and the proof that its members made it (DIP-6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    /// 1 or 2: legacy BLS; 3 or 4: basic BLS. 2 and 4 carry `quorum_index`.
    pub version: u16,
    /// The kind of quorum.
    pub llmq_type: LlmqType,
    /// The block at which the DKG started.
    pub quorum_hash: QuorumHash,
    /// The index among its cycle's quorums; only in versions 2 and 4.
    pub quorum_index: Option<QuorumIndex>,
    /// Members that signed the commitment.
    pub signers: Bits,
    /// Members that took part in the DKG to its end.
    pub valid_members: Bits,
    /// The quorum's BLS public key.
    pub quorum_public_key: [u8; 48],
    /// The hash of the quorum's verification vector.
    pub quorum_vvec_hash: Hash256,
    /// A threshold signature of the commitment's hash under the quorum's key.
    pub quorum_sig: [u8; 96],
    /// The aggregate of the signers' signatures of the same hash.
    pub members_sig: [u8; 96],
}

impl Commitment {
    /// Returns true if a commitment of this version carries an index.
    const fn is_indexed(version: u16) -> bool {
        matches!(version, 2 | 4)
    }
}

impl Wire for Commitment {
    const MIN_SIZE: usize = 2 + 1 + 32 + 1 + 1 + 48 + 32 + 96 + 96;

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let start = reader.offset();
        let version = reader.u16("commitment version")?;
        if !(1..=4).contains(&version) {
            let kind = DecodeErrorKind::UndefinedValue(i64::from(version));
            return Err(DecodeError { field: "commitment version", offset: start, kind });
        }
        Ok(Self {
            version,
            llmq_type: LlmqType(reader.u8("llmqType")?),
            quorum_hash: QuorumHash::decode(reader)?,
            quorum_index: match Self::is_indexed(version) {
                true => Some(reader.i16("quorumIndex")?),
                false => None,
            },
            signers: Bits::decode(reader)?,
            valid_members: Bits::decode(reader)?,
            quorum_public_key: reader.array("quorumPublicKey")?,
            quorum_vvec_hash: Hash256::decode(reader)?,
            quorum_sig: reader.array("quorumSig")?,
            members_sig: reader.array("membersSig")?,
        })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u16_le(self.version);
        out.put_u8(self.llmq_type.0);
        self.quorum_hash.encode(out);
        if Self::is_indexed(self.version) {
            out.put_i16_le(self.quorum_index.unwrap_or_default());
        }
        self.signers.encode(out);
        self.valid_members.encode(out);
        out.put_slice(&self.quorum_public_key);
        self.quorum_vvec_hash.encode(out);
        out.put_slice(&self.quorum_sig);
        out.put_slice(&self.members_sig);
    }
}
