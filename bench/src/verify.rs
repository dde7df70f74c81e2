//! The time to verify replies of mainnet's size.

use std::{fs, num::NonZeroUsize, path::Path};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use qrinfo_core::{
    BlockHash, BlockHeader, CycleStart, Hash256, MnListDiffRequestSpec, Network, QRInfoRequestSpec, Reply, Request,
    message::{MnListDiff, NetworkMessage, QRInfo, SmlEntry},
    sha256d,
    wire::Wire,
};
use qrinfo_verify::{
    Deregistered, HeaderMap, Level, ListStage, Lists, Modifier, Quarters, QuorumCheck, rotated_members, verify_quorums,
};
use serde_json::Value;
use spv_testkit::{Chain, SyntheticChain, SyntheticParams, builder};

/// The number of times that each measurement is repeated.
const ROUNDS: usize = 21;

/// The protocol version of the made-up session: efficient construction.
const PROTOCOL: i32 = 70237;

pub(super) fn run(vectors: &Path) -> Result<()> {
    eprintln!("{:<72} {:>11} {:>11}", "", "median", "best");
    chained()?;
    match Mainnet::load(&vectors.join("mainnet")) {
        Ok(mainnet) => {
            eprintln!("real replies of mainnet:");
            mainnet.run()?;
        }
        Err(error) => eprintln!("no figures of real mainnet data: {error:#}"),
    }
    Ok(())
}

/// Measures `work` and prints its median time and its best, which other work on the machine disturbs least.
fn measure(what: &str, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        #[expect(clippy::disallowed_methods, reason = "how long it takes on this machine")]
        let start = std::time::Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let (median, best) = (times.get(ROUNDS / 2).context("no rounds")?, times.first().context("no rounds")?);
    eprintln!("{what:<72} {median:>8.2} ms {best:>8.2} ms");
    Ok(())
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
    let newest = cycles.start_of(chain.tip());
    let mut stage = ListStage::new(Network::Mainnet, Level::Roots);
    for back in (0..=3).rev() {
        let cycle = cycles.back(newest, back).context("too few cycles")?;
        let is_first = back == 3;
        let request = request(chain, cycle, is_first)?;
        let payload = match request.to_message() {
            NetworkMessage::GetQRInfo(message) => builder::qr_info(chain, &message, PROTOCOL)?.to_wire(),
            _ => continue,
        };
        let name = match (is_first, cycle == newest) {
            (true, _) => "first reply of a plan",
            (_, true) => "chained reply with the tip's lists",
            _ => "chained reply",
        };
        measure(&format!("roots, {name}, {} bytes (made-up chain)", payload.len()), || {
            let reply = Reply::QrInfo(Box::new(QRInfo::from_wire(payload.clone())?));
            stage.clone().apply(&request, &reply, |hash| headers.find(hash))?;
            Ok(())
        })?;
        let reply = Reply::QrInfo(Box::new(QRInfo::from_wire(payload.clone())?));
        stage.apply(&request, &reply, |hash| headers.find(hash))?;
    }
    Ok(())
}

fn request(chain: &Chain, cycle: CycleStart, is_first: bool) -> Result<Request> {
    let cycles = Network::Mainnet.cycles();
    let hash = |height| chain.block(height).map(|block| block.hash).context("no block");
    let work = |back| cycles.work_height_back(cycle, back).context("no work block");
    let mut bases = vec![0];
    if !is_first {
        // As a chained plan does, down to the lists that the first reply brought.
        let first = cycles.work_height_back(cycles.start_of(chain.tip()), 7).context("no work block")?;
        bases.extend((1..=7).rev().filter_map(|back| work(back).ok()).filter(|height| *height >= first));
    }
    if cycle != cycles.start_of(chain.tip()) {
        bases.push(chain.tip() - 8);
    }
    let spec = QRInfoRequestSpec {
        network: Network::Mainnet,
        cycle,
        base_block_hashes: bases.into_iter().map(hash).collect::<Result<_>>()?,
        block_hash: hash(cycles.block_to_ask(cycle, chain.tip()))?,
        extra_share: true,
        work_block_hashes: [hash(work(0)?)?, hash(work(1)?)?, hash(work(2)?)?, hash(work(3)?)?, hash(work(4)?)?],
    };
    Ok(spec.into())
}

/// Real replies of mainnet, without headers: the roots of their blocks' transactions are those that the proofs lead to.
pub(super) struct Mainnet {
    headers: HeaderMap,
    list: Bytes,
    step_base: Bytes,
    step: Bytes,
    qr_info: Bytes,
}

impl Mainnet {
    pub(super) fn load(directory: &Path) -> Result<Self> {
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
        diffs.iter().chain(qr_info.diffs()).for_each(|diff| mainnet.add_header(diff));
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
        self.measure("roots, a full list", &stage, &self.list, diff)?;
        stage.pin(self.take(&mut stage.clone(), &self.list, diff)?);
        self.measure("roots, 6 lists from 13,000 blocks back", &stage, &self.qr_info, qr_info)?;
        self.take(&mut stage, &self.step_base, diff)?;
        self.measure("roots, one cycle", &stage, &self.step, diff)?;
        self.signatures()
    }

    /// The newest cycle of the real reply: its 32 quorums of 60 by themselves, then the whole reply.
    fn signatures(&self) -> Result<()> {
        let (stage, reply) = self.newest_cycle()?;
        let commitments = reply.last_commitment_per_index.to_vec();
        measure("members of 32 quorums of 60", || draw(&stage, &reply).map(drop))?;
        let members = draw(&stage, &reply)?;
        let params = Network::Mainnet.rotated_params();
        let check = |(commitment, members)| QuorumCheck { params, commitment, members: Some(members) };
        let checks: Vec<_> = commitments.iter().zip(members.iter().map(Vec::as_slice)).map(check).collect();
        for threads in [1, 2] {
            let threads = NonZeroUsize::new(threads).context("no threads")?;
            measure(&format!("signatures of 32 quorums of 60, threads: {threads}"), || {
                let verdicts = verify_quorums(&checks, threads);
                ensure!(verdicts.len() == 32 && verdicts.iter().all(Result::is_ok), "a quorum is false");
                Ok(())
            })?;
        }
        let start = self.take(&mut ListStage::new(Network::Mainnet, Level::Roots), &self.list, diff)?;
        for threads in [1, 2] {
            let threads = NonZeroUsize::new(threads).context("no threads")?;
            let mut stage = ListStage::new(Network::Mainnet, Level::Full).with_threads(threads);
            stage.pin(start.clone());
            let (request, reply) = qr_info(&self.qr_info)?;
            let quorums = stage.clone().apply(&request, &reply, |hash| self.headers.find(hash))?.quorums;
            let with_members = quorums.iter().filter(|quorum| !quorum.members.is_empty()).count();
            let what = format!("full, {} quorums, {with_members} with members, threads: {threads}", quorums.len());
            self.measure(&what, &stage, &self.qr_info, qr_info)?;
        }
        Ok(())
    }

    /// The real reply for the newest cycle, and the lists that it leads to.
    pub(super) fn newest_cycle(&self) -> Result<(ListStage, QRInfo)> {
        let mut stage = ListStage::new(Network::Mainnet, Level::Roots);
        stage.pin(self.take(&mut stage.clone(), &self.list, diff)?);
        self.take(&mut stage, &self.qr_info, qr_info)?;
        Ok((stage, QRInfo::from_wire(self.qr_info.clone())?))
    }

    fn measure(&self, what: &str, stage: &ListStage, payload: &Bytes, exchange: Exchange) -> Result<()> {
        measure(&format!("{what}, {} bytes", payload.len()), || {
            self.take(&mut stage.clone(), payload, exchange).map(drop)
        })
    }

    fn take(&self, stage: &mut ListStage, payload: &Bytes, exchange: Exchange) -> Result<Lists> {
        let (request, reply) = exchange(payload)?;
        stage.apply(&request, &reply, |hash| self.headers.find(hash))?.lists.context("no lists")
    }
}

/// The members of the quorums of the cycle that a reply is for, from the lists that it has led to.
pub(super) fn draw<'a>(stage: &'a ListStage, reply: &QRInfo) -> Result<Vec<Vec<&'a SmlEntry>>> {
    let params = Network::Mainnet.rotated_params();
    let at = |diff: &MnListDiff| {
        let lists = stage.kept().find(|lists| lists.block_hash() == diff.block_hash).context("no lists")?;
        let modifier = Modifier::new(params.llmq_type, lists.height(), &lists.block_hash(), lists.chain_lock());
        anyhow::Ok((lists.masternodes(), modifier))
    };
    let past = |diff, snapshot| {
        let (list, modifier) = at(diff)?;
        anyhow::Ok(Quarters::past(&params, list.iter(), &modifier, snapshot))
    };
    let past = [
        &past(&reply.mn_list_diff_at_h_minus_c, &reply.quorum_snapshot_at_h_minus_c)?,
        &past(&reply.mn_list_diff_at_h_minus_2c, &reply.quorum_snapshot_at_h_minus_2c)?,
        &past(&reply.mn_list_diff_at_h_minus_3c, &reply.quorum_snapshot_at_h_minus_3c)?,
    ];
    let (list, modifier) = at(&reply.mn_list_diff_h)?;
    let new = Quarters::new(&params, list.iter(), &modifier, past, Deregistered::Forgotten);
    Ok(rotated_members(past, &new))
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
        cycle: Network::Mainnet.cycles().start_of(2_240_352),
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
