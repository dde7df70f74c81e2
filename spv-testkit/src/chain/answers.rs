//! A chain as a node that answers from it.

use std::sync::Arc;

use qrinfo_core::{
    BlockHash, PeerId,
    header::BlockHeader,
    message::{GetQRInfo, Headers, MAX_HEADERS, NetworkMessage},
    wire::{
        Wire,
        frame::{Command, Frame},
    },
};
use qrinfo_core::Reply;

use super::{Chain, Place};
use crate::{Answers, NodeFacts, Response, builder};
