use qrinfo_core::{
    message::GetQRInfo,
    wire::{
        Wire,
        frame::{Command, Frame},
    },
};

use super::{NETWORK, PeerNumbers, Run, Timeline, job};
use crate::{
    ServerSession,
    answers::{Answers, Cost, NodeFacts, Response},
};

/// One peer of a run.
#[derive(Debug)]
pub(super) struct JobAnswers {
    peer: usize,
    jobs: Vec<Job>,
}

#[derive(Debug)]
struct Job {
    cost: Cost,
    reply_bytes: u64,
    refused: bool,
}

// === impl JobAnswers ===

impl JobAnswers {
    pub(super) fn new(run: &Run, numbers: &PeerNumbers, peer: usize, timeline: Timeline) -> Self {
        let refused = run.refused.get(peer).map(Vec::as_slice).unwrap_or_default();
        let times = numbers.compute_us.iter().zip(&numbers.transfer_us).zip(&run.reply_bytes);
        let job = |(number, ((&compute, &transfer), &reply_bytes))| Job {
            cost: Cost { compute: timeline.duration(compute), transfer: timeline.duration(transfer) },
            reply_bytes,
            refused: refused.contains(&number),
        };
        Self { peer, jobs: times.enumerate().map(job).collect() }
    }

    fn asked(&self, request: &Frame) -> Option<(usize, &Job)> {
        let number = job::asked(&GetQRInfo::from_wire(request.payload.clone()).ok()?)?;
        Some((number, self.jobs.get(number)?))
    }
}

impl Answers for JobAnswers {
    fn node(&self) -> NodeFacts {
        let behind_all_jobs = job::request(self.jobs.len()).cycle.height();
        NodeFacts {
            network: NETWORK,
            user_agent: format!("/scenario peer {}/", self.peer),
            start_height: behind_all_jobs,
            time: 0,
        }
    }

    fn answer(&self, request: &Frame, _session: ServerSession) -> Response {
        match self.asked(request) {
            _ if request.command != Command::GET_QR_INFO => Response::Ignore,
            Some((number, job)) if !job.refused => Response::Reply(reply(number, job)),
            _ => Response::Refuse,
        }
    }

    fn cost(&self, request: &Frame) -> Option<Cost> {
        self.asked(request).map(|(_, job)| job.cost)
    }

    fn other(&self, request: &Frame, _session: ServerSession) -> Option<Frame> {
        let (number, _) = self.asked(request)?;
        let other = if number == 0 { 1 } else { 0 };
        self.jobs.get(other).map(|job| reply(other, job))
    }
}

fn reply(number: usize, job: &Job) -> Frame {
    Frame { command: Command::QR_INFO, payload: job::reply(number, job.reply_bytes).to_wire() }
}
