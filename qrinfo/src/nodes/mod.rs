//! The nodes that a client is connected to, in one ledger: for the command's sync and for [`follow`](crate::follow).

mod causes;
mod ledger;
mod open;

use tokio::runtime::{Handle, RuntimeFlavor};

pub use self::{
    causes::on_one_line,
    ledger::{Ledger, NodeLog, unix_time},
    open::{Announcements, NodesError, OpenNodes, open_nodes},
};

/// Runs something that waits for the disk, without holding up other tasks where the runtime has threads for it.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
