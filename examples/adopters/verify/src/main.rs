//! Verification only: the client has its own network, requests and list engine.
use qrinfo_core::{BlockHash, MnListDiffRequestSpec, Network, Reply, Request, message::MnListDiff};
use qrinfo_verify::{HeaderMap, Level, ListStage, VerifyError};

/// Returns true if the client's list engine may take the reply.
fn may_be_taken(stage: &mut ListStage, headers: &HeaderMap, request: &Request, reply: &Reply) -> bool {
    match stage.apply(request, reply, |hash| headers.find(hash)) {
        Ok(verified) => {
            println!("proven, but for {:?}", verified.unproven);
            true
        }
        Err(VerifyError::False(why)) => {
            println!("false, disconnect the peer: {why}");
            false
        }
        Err(missing) => {
            println!("our side lacks something, keep the peer: {missing}");
            false
        }
    }
}

fn main() {
    let headers = HeaderMap::default();
    let mut stage = ListStage::new(Network::Mainnet, Level::Full);
    let wanted = BlockHash::from_bytes([3; 32]);
    let request =
        Request::from(MnListDiffRequestSpec { base_block_hash: Network::Mainnet.genesis_hash(), block_hash: wanted });
    // A reply to another question, and one to a block that the headers do not have.
    for block in [BlockHash::from_bytes([4; 32]), wanted] {
        let reply = Reply::MnListDiff(Box::new(MnListDiff::empty(Network::Mainnet.genesis_hash(), block)));
        assert!(!may_be_taken(&mut stage, &headers, &request, &reply));
    }
}
