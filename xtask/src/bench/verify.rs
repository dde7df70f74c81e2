//! What it costs to verify replies of mainnet's size.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use qrinfo_core::{
    BlockHash, Hash256, MnListDiffRequestSpec, Network, QRInfoRequestSpec, Reply, Request,
    hash::sha256d,
    header::BlockHeader,
    message::{MnListDiff, NetworkMessage, QRInfo},
    wire::Wire,
};
use qrinfo_verify::{HeaderMap, Level, ListStage, Lists};
use serde_json::Value;
use spv_testkit::{Chain, SyntheticChain, SyntheticParams, builder};

/// Each figure is the median of so many runs.
const ROUNDS: usize = 41;

/// The protocol version of the made-up session: efficient construction.
const PROTOCOL: i32 = 70237;

pub(super) fn run(vectors: &Path) -> Result<()> {
    chained()?;
    match Mainnet::load(&vectors.join("mainnet")) {
        Ok(mainnet) => mainnet.run()?,
        Err(error) => eprintln!("no figures of real mainnet data: {error:#}"),
    }
    Ok(())
}

fn print(what: &str, took: Duration, bytes: usize) {
    eprintln!("{what:<58} {:>8.2} ms {bytes:>9} bytes", took.as_secs_f64() * 1e3);
}

/// The median time of `work`.
fn median(mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        #[expect(clippy::disallowed_methods, reason = "how long it takes on this machine")]
        let start = std::time::Instant::now();
        work()?;
        times.push(start.elapsed());
    }
    times.sort();
    times.get(ROUNDS / 2).copied().context("no rounds")
}

/// A plan over a made-up chain that weighs what mainnet's does.
fn chained() -> Result<()> {
    let synthetic = SyntheticChain::generate(1, &SyntheticParams::mainnet_like(11));
    let chain = &synthetic.chain;
    let mut headers = HeaderMap::default();
    for height in 0..=chain.tip() {
        let block = chain.block(height).context("no block")?;
        headers.insert(height, block.hash, &BlockHeader::from_bytes(block.header));
    }
    let cycles = Network::Mainnet.cycles();
    let newest = cycles.start(chain.tip());
    let mut stage = ListStage::new(Network::Mainnet, Level::Roots);
    for cycle in (newest - 3 * cycles.length()..=newest).step_by(cycles.length() as usize) {
        let is_first = cycle + 3 * cycles.length() == newest;
        let request = request(chain, cycle, is_first)?;
        let payload = match request.to_message() {
            NetworkMessage::GetQRInfo(message) => builder::qr_info(chain, &message, PROTOCOL)?.to_wire(),
            _ => continue,
        };
        let took = median(|| {
            let reply = Reply::QrInfo(Box::new(QRInfo::from_wire(payload.clone())?));
            stage.clone().take(&request, &reply, |hash| headers.find(hash))?;
            Ok(())
        })?;
        let reply = Reply::QrInfo(Box::new(QRInfo::from_wire(payload.clone())?));
        stage.take(&request, &reply, |hash| headers.find(hash))?;
        let name = match (is_first, cycle == newest) {
            (true, _) => "roots, first reply of a plan (made-up chain)",
            (_, true) => "roots, chained reply with the tip's lists (made-up chain)",
            _ => "roots, chained reply (made-up chain)",
        };
        print(name, took, payload.len());
    }
    Ok(())
}

fn request(chain: &Chain, cycle: u32, is_first: bool) -> Result<Request> {
    let cycles = Network::Mainnet.cycles();
    let hash = |height| chain.block(height).map(|block| block.hash).context("no block");
    let work = |back| cycles.work_height_back(cycle, back).context("no work block");
    let mut bases = vec![0];
    if !is_first {
        // As a chained plan does, down to the lists that the first reply brought.
        let first = cycles.work_height_back(cycles.start(chain.tip()), 7).context("no work block")?;
        bases.extend((1..=7).rev().filter_map(|back| work(back).ok()).filter(|height| *height >= first));
    }
    if cycle != cycles.start(chain.tip()) {
        bases.push(chain.tip() - 8);
    }
    let spec = QRInfoRequestSpec {
        network: Network::Mainnet,
        cycle_height: cycle,
        base_block_hashes: bases.into_iter().map(hash).collect::<Result<_>>()?,
        block_hash: hash(cycles.block_to_ask(cycle, chain.tip()))?,
        extra_share: true,
        work_block_hashes: [hash(work(0)?)?, hash(work(1)?)?, hash(work(2)?)?, hash(work(3)?)?, hash(work(4)?)?],
    };
    Ok(spec.into())
}

/// Real replies of mainnet, without headers: the roots of their blocks' transactions are those that the proofs lead to.
struct Mainnet {
    headers: HeaderMap,
    list: Bytes,
    step_base: Bytes,
    step: Bytes,
    qr_info: Bytes,
}

impl Mainnet {
    fn load(directory: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let mut mainnet = Self {
            headers: HeaderMap::default(),
            list: read("mainnet_mnlistdiff_0_2227096.bin")?.into(),
            step_base: read("mainnet_mnlistdiff_2227096_2239480.bin")?.into(),
            step: read("mainnet_mnlistdiff_2239480_2239768.bin")?.into(),
            qr_info: read("mainnet_qrinfo_2240504.bin")?.into(),
        };
        let blocks: Value = serde_json::from_slice(&read("mainnet_blocks_2240504.json")?)?;
        for (height, hash) in blocks["hashByHeight"].as_object().context("no blocks")? {
            let hash = hash.as_str().context("no hash")?.parse()?;
            mainnet.headers.insert(height.parse()?, hash, &BlockHeader::from_bytes([0; 80]));
        }
        let qr_info = QRInfo::from_wire(mainnet.qr_info.clone())?;
        let diffs = [&mainnet.list, &mainnet.step_base, &mainnet.step];
        let diffs = diffs.into_iter().map(|payload| MnListDiff::from_wire(payload.clone()));
        let diffs = diffs.collect::<Result<Vec<_>, _>>()?;
        diffs.iter().chain(qr_info.diffs_in_build_order()).for_each(|diff| mainnet.add_header(diff));
        Ok(mainnet)
    }

    fn add_header(&mut self, diff: &MnListDiff) {
        let Some(known) = self.headers.find(&diff.block_hash) else { return };
        let pair = |left: Hash256, right: Hash256| [*left.as_bytes(), *right.as_bytes()].concat();
        let fold = |left, right| Hash256::from_bytes(sha256d(&pair(left, right)));
        let root = diff.merkle_hashes.iter().reduce(fold).unwrap_or_default();
        let mut header = [0; 80];
        header[36..68].copy_from_slice(root.as_bytes());
        self.headers.insert(known.height, diff.block_hash, &BlockHeader::from_bytes(header));
    }

    fn run(&self) -> Result<()> {
        let mut stage = ListStage::new(Network::Mainnet, Level::Roots);
        self.measure("roots, mnlistdiff: a full list (mainnet)", &stage, &self.list, diff)?;
        stage.hold(self.take(&mut stage.clone(), &self.list, diff)?);
        self.measure("roots, qrinfo from 13,000 blocks back, 6 lists (mainnet)", &stage, &self.qr_info, qr_info)?;
        self.take(&mut stage, &self.step_base, diff)?;
        self.measure("roots, mnlistdiff: one cycle (mainnet)", &stage, &self.step, diff)
    }

    fn measure(&self, what: &str, stage: &ListStage, payload: &Bytes, exchange: Exchange) -> Result<()> {
        let took = median(|| self.take(&mut stage.clone(), payload, exchange).map(drop))?;
        print(what, took, payload.len());
        Ok(())
    }

    fn take(&self, stage: &mut ListStage, payload: &Bytes, exchange: Exchange) -> Result<Lists> {
        let (request, reply) = exchange(payload)?;
        stage.take(&request, &reply, |hash| self.headers.find(hash))?.lists.context("no lists")
    }
}

/// A payload decoded, with the request that it answers.
type Exchange = fn(&Bytes) -> Result<(Request, Reply)>;

fn diff(payload: &Bytes) -> Result<(Request, Reply)> {
    let diff = MnListDiff::from_wire(payload.clone())?;
    let spec = MnListDiffRequestSpec { base_block_hash: diff.base_block_hash, block_hash: diff.block_hash };
    Ok((spec.into(), Reply::MnListDiff(Box::new(diff))))
}

fn qr_info(payload: &Bytes) -> Result<(Request, Reply)> {
    let qr_info = QRInfo::from_wire(payload.clone())?;
    let spec = QRInfoRequestSpec {
        network: Network::Mainnet,
        cycle_height: 2_240_352,
        base_block_hashes: vec![qr_info.mn_list_diff_h.base_block_hash],
        block_hash: qr_info.mn_list_diff_tip.block_hash,
        extra_share: true,
        work_block_hashes: [
            qr_info.mn_list_diff_h.block_hash,
            qr_info.mn_list_diff_at_h_minus_c.block_hash,
            qr_info.mn_list_diff_at_h_minus_2c.block_hash,
            qr_info.mn_list_diff_at_h_minus_3c.block_hash,
            qr_info.extra_share.as_ref().map_or(BlockHash::ZERO, |extra| extra.mn_list_diff_at_h_minus_4c.block_hash),
        ],
    };
    Ok((spec.into(), Reply::QrInfo(Box::new(qr_info))))
}
