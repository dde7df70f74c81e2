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

    /// Reads a commitment; `bits` reads its two rows of bits.
    #[inline(always)]
    fn read(
        reader: &mut Reader<'_>,
        bits: fn(&mut Reader<'_>) -> Result<Bits, DecodeError>,
    ) -> Result<Self, DecodeError> {
        // A copy in registers: the bound of a field is one comparison.
        let mut fields = *reader;
        let version = fields.u16("commitment version")?;
        if !(1..=4).contains(&version) {
            return Err(reader.error("commitment version", DecodeErrorKind::UndefinedValue(i64::from(version))));
        }
        let commitment = Self {
            version,
            llmq_type: LlmqType(fields.u8("llmqType")?),
            quorum_hash: QuorumHash::decode(&mut fields)?,
            quorum_index: match Self::is_indexed(version) {
                true => Some(fields.i16("quorumIndex")?),
                false => None,
            },
            signers: bits(&mut fields)?,
            valid_members: bits(&mut fields)?,
            quorum_public_key: fields.array("quorumPublicKey")?,
            quorum_vvec_hash: Hash256::decode(&mut fields)?,
            quorum_sig: fields.array("quorumSig")?,
            members_sig: fields.array("membersSig")?,
        };
        *reader = fields;
        Ok(commitment)
    }
}

impl Wire for Commitment {
    const MIN_SIZE: usize = 2 + 1 + 32 + 1 + 1 + 48 + 32 + 96 + 96;

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::read(reader, Bits::decode)
    }

    #[inline]
    fn skip(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        Self::read(reader, |reader| Bits::skip(reader).map(|()| Bits::default())).map(drop)
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
