//! A recording of a node: a chain's headers, requests, and the answers to them.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use include_dir::{Dir, include_dir};
use qrinfo_core::{BlockHash, Network, ParseHashError, UnknownNetwork};
use serde::Deserialize;

/// The part of a recording that is compiled in; its README says what it holds.
static BUNDLED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/data/regtest");

/// The length of a block header in bytes.
const HEADER_LEN: usize = 80;

/// Exchanges with a Dash node, and the headers of its chain.
///
/// Everything is read when it is loaded; [`bundled`](Self::bundled) needs no file at all.
///
/// ```
/// use spv_testkit::{Answer, Recording};
///
/// let recording = Recording::bundled()?;
/// assert_eq!(recording.tip(), 1772);
/// assert_eq!(recording.block_hash(0), Some(recording.network().genesis_hash()));
///
/// let sync = recording.complete_syncs().first().ok_or("no complete sync")?;
/// let exchange = recording.exchanges_of(sync).next().ok_or("an empty sync")?;
/// assert!(matches!(&exchange.answer, Answer::Reply(reply) if reply.len() > 1000));
/// assert_eq!(recording.find(exchange.protocol, &exchange.request), Some(exchange));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Recording {
    network: Network,
    node: String,
    start_height: u32,
    anchor: u32,
    headers: Vec<[u8; HEADER_LEN]>,
    hashes: Vec<BlockHash>,
    heights: HashMap<BlockHash, u32>,
    exchanges: Vec<Exchange>,
    /// Positions in `exchanges`, by the protocol version of the session.
    by_request: BTreeMap<i32, HashMap<Bytes, usize>>,
    complete_syncs: Vec<CompleteSync>,
}

/// A request and how the node answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The number by which [`CompleteSync::ids`] names it.
    pub id: u32,
    /// The protocol version of the session.
    pub protocol: i32,
    /// The height of the block asked for; in a refusal of an unknown block, of the block it stands for.
    pub height: u32,
    /// The heights of the bases sent; in a refusal of an unknown base, of the block it stands for.
    pub base_heights: Vec<u32>,
    /// True if `H-4C` was asked for.
    pub extra_share: bool,
    /// The payload of the `getqrinfo`.
    pub request: Bytes,
    /// The purpose of the request, in words.
    pub note: String,
    /// The answer.
    pub answer: Answer,
    /// The JSON that the node prints for the same request (`quorum rotationinfo`), where it was recorded.
    pub rotation_info: Option<Bytes>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The payload of a `qrinfo`.
    Reply(Bytes),
    /// Nothing.
    Refused,
}

/// Requests that together bring every cycle from `first_cycle` to the tip, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteSync {
    /// The sync in words.
    pub name: String,
    /// The protocol version of its session.
    pub protocol: i32,
    /// The choice of its bases.
    pub plan: Plan,
    /// The height at which the first cycle starts.
    pub first_cycle: u32,
    /// The exchanges, by [`Exchange::id`].
    pub ids: Vec<u32>,
}

/// The choice of the bases of a sync's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plan {
    /// Down to the work block of `H-C`: a reply brings one step.
    Chained,
    /// Down to the work block of `H-5C`: a reply brings its own five steps.
    FiveStep,
}

/// The reasons for which a recording cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// `exchanges.json` is not what it should be.
    #[error("exchanges.json is malformed")]
    Index(#[from] serde_json::Error),
    /// The network is none of Dash's.
    #[error(transparent)]
    Network(#[from] UnknownNetwork),
    /// The hash of the tip is no hash.
    #[error("tip_hash is malformed")]
    TipHash(#[from] ParseHashError),
    /// `headers.bin` does not hold one header for each height up to the tip.
    #[error("headers.bin has {bytes} bytes; the tip at height {tip} wants 80 for each height from 0 on")]
    Headers {
        /// The length of the file.
        bytes: usize,
        /// The tip's height.
        tip: u32,
    },
    /// The chain does not start at the network's genesis block.
    #[error("the recorded chain starts with {0}, which is not the network's genesis block")]
    Genesis(BlockHash),
    /// A request's payload is not hexadecimal.
    #[error("the request of exchange {0} is not hexadecimal")]
    Request(u32),
    /// A request was recorded twice.
    #[error("exchange {0} asks what another one has asked")]
    Duplicate(u32),
    /// A reply is not as long as it should be.
    #[error("the reply of exchange {id} has {found} bytes instead of {expected}")]
    ReplyLength {
        /// The exchange.
        id: u32,
        /// The length when it was recorded.
        expected: usize,
        /// The length of the file.
        found: usize,
    },
    /// A complete sync's name does not say its protocol and plan.
    #[error("{0:?} is not the name of a complete sync")]
    SyncName(String),
    /// A complete sync names an exchange that is not there.
    #[error("a complete sync names exchange {0}, which is missing")]
    UnknownExchange(u32),
}

// === impl Recording ===

impl Recording {
    /// The recording that is compiled in: a regtest chain of 1,772 blocks, with complete syncs over the chained plan
    /// in both constructions and over the five-step plan in the efficient one, and refusals.
    ///
    /// # Errors
    /// As [`load`](Self::load), if the crate was built from damaged data.
    pub fn bundled() -> Result<Self, RecordingError> {
        Self::from_files(|path| match BUNDLED.get_file(path) {
            Some(file) => Ok(Bytes::from_static(file.contents())),
            None => Err(RecordingError::File { path: path.into(), source: io::ErrorKind::NotFound.into() }),
        })
    }

    /// Loads a directory of the shape that the README in this crate's `data/regtest` tells.
    ///
    /// # Errors
    /// [`RecordingError`] says which file or entry is missing or wrong.
    pub fn load(directory: &Path) -> Result<Self, RecordingError> {
        Self::from_files(|path| {
            let path = directory.join(path);
            fs::read(&path).map(Bytes::from).map_err(|source| RecordingError::File { path, source })
        })
    }

    /// One of the whole recordings, which are too big for the repository and lie beside it, in
    /// `../shared/vectors/<name>`. Tells on standard error what is not tested where it is missing.
    ///
    /// # Errors
    /// As [`load`](Self::load), if it is there and cannot be loaded.
    pub fn shared(name: &str) -> Result<Option<Self>, RecordingError> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(name);
        if directory.join("exchanges.json").is_file() {
            return Self::load(&directory).map(Some);
        }
        eprintln!("{} is missing: nothing is tested against the recording {name:?}", directory.display());
        Ok(None)
    }

    fn from_files(read: impl Fn(&str) -> Result<Bytes, RecordingError>) -> Result<Self, RecordingError> {
        let index: Index = serde_json::from_slice(&read("exchanges.json")?)?;
        let network: Network = index.network.parse()?;
        let headers = split_headers(&read("headers.bin")?, index.tip)?;
        let hashes = hash_headers(&headers, index.tip_hash.parse()?);
        if let Some(first) = hashes.first()
            && *first != network.genesis_hash()
        {
            return Err(RecordingError::Genesis(*first));
        }

        let exchanges =
            index.exchanges.into_iter().map(|entry| entry.load(&read)).collect::<Result<Vec<_>, RecordingError>>()?;
        let mut by_request: BTreeMap<_, HashMap<_, _>> = BTreeMap::new();
        for (position, exchange) in exchanges.iter().enumerate() {
            let requests = by_request.entry(exchange.protocol).or_default();
            if requests.insert(exchange.request.clone(), position).is_some() {
                return Err(RecordingError::Duplicate(exchange.id));
            }
        }

        let complete_syncs =
            index.complete_syncs.into_iter().map(|(name, entry)| entry.load(name)).collect::<Result<Vec<_>, _>>()?;
        let known = |id: &u32| exchanges.iter().any(|exchange| exchange.id == *id);
        if let Some(id) = complete_syncs.iter().flat_map(|sync| &sync.ids).find(|id| !known(id)) {
            return Err(RecordingError::UnknownExchange(*id));
        }

        Ok(Self {
            network,
            node: index.node,
            start_height: index.start_height,
            anchor: index.anchor,
            heights: hashes.iter().copied().zip(0..).collect(),
            headers,
            hashes,
            exchanges,
            by_request,
            complete_syncs,
        })
    }

    /// The network of the node.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The user agent of the node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The height of the newest block.
    pub fn tip(&self) -> u32 {
        // There are as many headers as heights from 0 to the tip, which is a u32.
        self.headers.len().saturating_sub(1) as u32
    }

    /// The height that the node announced in its `version`.
    pub fn start_height(&self) -> u32 {
        self.start_height
    }

    /// The height of the base near the tip that the recorded syncs send with every historical request.
    pub fn anchor(&self) -> u32 {
        self.anchor
    }

    /// The headers from height 0 on.
    pub fn headers(&self) -> &[[u8; HEADER_LEN]] {
        &self.headers
    }

    /// The hash of the block at `height`, or `None` beyond the tip.
    pub fn block_hash(&self, height: u32) -> Option<BlockHash> {
        self.hashes.get(usize::try_from(height).ok()?).copied()
    }

    /// The height of a block, or `None` for one that is not on the chain.
    pub fn height(&self, hash: &BlockHash) -> Option<u32> {
        self.heights.get(hash).copied()
    }

    /// Everything that was asked, in that order.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// The exchange with this number.
    pub fn exchange(&self, id: u32) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| exchange.id == id)
    }

    /// The whole syncs among the exchanges.
    pub fn complete_syncs(&self) -> &[CompleteSync] {
        &self.complete_syncs
    }

    /// The exchanges of a sync, in order.
    pub fn exchanges_of<'a>(&'a self, sync: &'a CompleteSync) -> impl Iterator<Item = &'a Exchange> {
        sync.ids.iter().filter_map(|id| self.exchange(*id))
    }

    /// The exchange in which the node was asked with this `getqrinfo` payload in a session of this protocol version, or
    /// of the highest recorded one below it. `None` if it never was.
    pub fn find(&self, protocol: i32, request: &[u8]) -> Option<&Exchange> {
        let (_, requests) = self.by_request.range(..=protocol).next_back()?;
        let position = *requests.get(request)?;
        self.exchanges.get(position)
    }
}

/// The form of `exchanges.json`.
#[derive(Deserialize)]
struct Index {
    network: String,
    node: String,
    tip: u32,
    tip_hash: String,
    start_height: u32,
    anchor: u32,
    complete_syncs: BTreeMap<String, SyncEntry>,
    exchanges: Vec<ExchangeEntry>,
}

#[derive(Deserialize)]
struct SyncEntry {
    first_cycle: u32,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct ExchangeEntry {
    id: u32,
    protocol: i32,
    height: u32,
    base_heights: Vec<u32>,
    extra_share: bool,
    request: String,
    note: String,
    #[serde(flatten)]
    answer: AnswerEntry,
    rotationinfo: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
enum AnswerEntry {
    QrInfo { file: String, bytes: usize },
    Refused,
}

impl SyncEntry {
    fn load(self, name: String) -> Result<CompleteSync, RecordingError> {
        let mut words = name.split(' ');
        let protocol = words.next().and_then(|word| word.parse().ok());
        let plan = match words.next() {
            Some("chained") => Some(Plan::Chained),
            Some("five-step") => Some(Plan::FiveStep),
            _ => None,
        };
        match (protocol, plan) {
            (Some(protocol), Some(plan)) => {
                Ok(CompleteSync { name, protocol, plan, first_cycle: self.first_cycle, ids: self.ids })
            }
            _ => Err(RecordingError::SyncName(name)),
        }
    }
}

impl ExchangeEntry {
    fn load(self, read: impl Fn(&str) -> Result<Bytes, RecordingError>) -> Result<Exchange, RecordingError> {
        let id = self.id;
        let answer = match self.answer {
            AnswerEntry::Refused => Answer::Refused,
            AnswerEntry::QrInfo { file, bytes: expected } => {
                let reply = read(&file)?;
                if reply.len() != expected {
                    return Err(RecordingError::ReplyLength { id, expected, found: reply.len() });
                }
                Answer::Reply(reply)
            }
        };
        Ok(Exchange {
            id,
            protocol: self.protocol,
            height: self.height,
            base_heights: self.base_heights,
            extra_share: self.extra_share,
            request: from_hex(&self.request).ok_or(RecordingError::Request(id))?,
            note: self.note,
            answer,
            rotation_info: self.rotationinfo.as_deref().map(read).transpose()?,
        })
    }
}

fn split_headers(bytes: &[u8], tip: u32) -> Result<Vec<[u8; HEADER_LEN]>, RecordingError> {
    let (headers, rest) = bytes.as_chunks::<HEADER_LEN>();
    if !rest.is_empty() || headers.len() as u64 != u64::from(tip) + 1 {
        return Err(RecordingError::Headers { bytes: bytes.len(), tip });
    }
    Ok(headers.to_vec())
}

/// A header names its parent, so all hashes but the last are in the headers.
fn hash_headers(headers: &[[u8; HEADER_LEN]], tip_hash: BlockHash) -> Vec<BlockHash> {
    let parents = headers.iter().skip(1).filter_map(|header| header.get(4..)?.first_chunk::<32>());
    parents.map(|hash| BlockHash::from_bytes(*hash)).chain([tip_hash]).collect()
}

fn from_hex(text: &str) -> Option<Bytes> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    bytes.filter(|_| rest.is_empty()).map(Bytes::from)
}
