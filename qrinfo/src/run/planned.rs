use qrinfo_core::{MnListDiffRequestSpec, QRInfoRequestSpec, Request, RequestPriority};

/// A request of a plan, and its priority. A plan takes everything that converts into one.
///
/// Replies are delivered in the order of the plan whatever the priorities; a parallel sync sends requests of a greater
/// priority first. A sequential sync asks in the order of the plan.
///
/// ```
/// use qrinfo::PlannedRequest;
/// use qrinfo_core::{BlockHash, MnListDiffRequestSpec, RequestPriority};
///
/// let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
/// let planned = PlannedRequest::from((spec, RequestPriority::High));
/// assert_eq!(planned.priority, RequestPriority::High);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRequest {
    /// The request.
    pub request: Request,
    /// Its priority.
    pub priority: RequestPriority,
}

// === impl PlannedRequest ===

impl<R: Into<Request>> From<(R, RequestPriority)> for PlannedRequest {
    fn from((request, priority): (R, RequestPriority)) -> Self {
        Self { request: request.into(), priority }
    }
}

impl From<Request> for PlannedRequest {
    fn from(request: Request) -> Self {
        (request, RequestPriority::default()).into()
    }
}

impl From<QRInfoRequestSpec> for PlannedRequest {
    fn from(spec: QRInfoRequestSpec) -> Self {
        Request::from(spec).into()
    }
}

impl From<MnListDiffRequestSpec> for PlannedRequest {
    fn from(spec: MnListDiffRequestSpec) -> Self {
        Request::from(spec).into()
    }
}
