//! CPU time to verify the signatures of a reply on one core: all together, and each quorum by itself.

use std::{num::NonZeroUsize, path::Path};

use anyhow::{Context, Result, ensure};
use qrinfo_core::{
    Network,
    message::{Commitment, SmlEntry},
};
use qrinfo_verify::{QuorumCheck, QuorumFault, QuorumProof, verify_quorums};
use rustix::time::{ClockId, clock_gettime};

use crate::verify::{Mainnet, draw};

const ROUNDS: usize = 21;

/// The verdicts on the quorums of a reply.
type Verdicts = Vec<Result<QuorumProof, QuorumFault>>;

pub(super) fn run(vectors: &Path) -> Result<()> {
    let (stage, reply) = Mainnet::load(&vectors.join("mainnet"))?.newest_cycle()?;
    let members = draw(&stage, &reply)?;
    let commitments = reply.last_commitment_per_index.to_vec();
    let mut altered = commitments.clone();
    let [.., last] = altered.as_mut_slice() else { return Err(anyhow::anyhow!("no quorums")) };
    last.members_sig = last.quorum_sig;
    let checks = |commitments| checks(commitments, &members);
    let (good, bad) = (checks(&commitments), checks(&altered));

    let (mut apart, mut together, mut with_false) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        apart.push(measure(32, || good.iter().map(QuorumCheck::verify).collect())?);
        together.push(measure(32, || verify_quorums(&good, NonZeroUsize::MIN))?);
        with_false.push(measure(31, || verify_quorums(&bad, NonZeroUsize::MIN))?);
    }
    println!("{:<56} {:>11} {:>11}", "32 real quorums of 60, CPU time on one core", "median", "best");
    let apart = print("each quorum by itself", &mut apart)?;
    let together = print("all together", &mut together)?;
    print("all together, one signature false: then one by one", &mut with_false)?;
    println!("together / by itself: {:.2}", together / apart);
    Ok(())
}

fn checks<'a>(commitments: &'a [Commitment], members: &'a [Vec<&'a SmlEntry>]) -> Vec<QuorumCheck<'a>> {
    let params = Network::Mainnet.rotated_params();
    let check = |(commitment, members)| QuorumCheck { params, commitment, members: Some(members) };
    commitments.iter().zip(members.iter().map(Vec::as_slice)).map(check).collect()
}

/// Verifies once, and returns the CPU time in milliseconds.
fn measure(good: usize, verify: impl Fn() -> Verdicts) -> Result<f64> {
    let start = clock_gettime(ClockId::ThreadCPUTime);
    let verdicts = verify();
    let end = clock_gettime(ClockId::ThreadCPUTime);
    let got = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
    ensure!(verdicts.len() == 32 && got == good, "{got} of {} quorums are true, expected {good}", verdicts.len());
    Ok((end.tv_sec - start.tv_sec) as f64 * 1e3 + (end.tv_nsec - start.tv_nsec) as f64 / 1e6)
}

/// Prints the median and the best of some times, and returns the median.
fn print(what: &str, times: &mut [f64]) -> Result<f64> {
    times.sort_by(f64::total_cmp);
    let (median, best) = (*times.get(times.len() / 2).context("no rounds")?, times.first().context("no rounds")?);
    println!("{what:<56} {median:>8.2} ms {best:>8.2} ms");
    Ok(median)
}
