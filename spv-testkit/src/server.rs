//! Versions of Dash Core, as far as their answers differ.

/// The protocol version from which on a server builds `qrinfo` the efficient way (Dash Core's
/// `EFFICIENT_QRINFO_VERSION`).
const EFFICIENT_PROTOCOL_VERSION: i32 = 70236;

/// A version of Dash Core that answers requests.
///
/// The versions agree on everything but the bases that they choose for the diffs of a `qrinfo`, and what they need
/// before they answer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerVersion {
    /// Versions before 22.1.2. Only the client's bases are used, and only those below a diff's target: where there is
    /// none, the base is the all-zero hash.
    V22_1,
    /// Versions 22.1.2 to 23.0. The target of each diff is a base for the diffs built later, `H-4C` is built first, and
    /// must exist even where it is not asked for.
    V23_0,
    /// Versions 23.1 and later. As 23.0, but the trailing lists are built first, and `H-4C` must exist only where it is
    /// asked for.
    V23_1,
}

/// A server's version and the protocol version of one of its sessions.
///
/// ```
/// use spv_testkit::{ServerSession, ServerVersion};
///
/// // A client that announces 70237 connects to a node of each version.
/// let protocols = ServerVersion::ALL.map(|server| ServerSession::new(server, 70237).protocol());
/// assert_eq!(protocols, [70237, 70237, 70230]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerSession {
    server: ServerVersion,
    protocol: i32,
}

// === impl ServerVersion ===

impl ServerVersion {
    /// Every version, the newest first.
    pub const ALL: [Self; 3] = [Self::V23_1, Self::V23_0, Self::V22_1];

    /// The newest version.
    pub const NEWEST: Self = Self::V23_1;

    /// The protocol version that the server announces.
    pub const fn protocol(self) -> i32 {
        match self {
            Self::V22_1 => 70230,
            Self::V23_0 => 70237,
            Self::V23_1 => 70240,
        }
    }
}

// === impl ServerSession ===

impl ServerSession {
    /// The session of a server with a client that announces this protocol version: the lower of both counts.
    pub fn new(server: ServerVersion, client_protocol: i32) -> Self {
        Self { server, protocol: server.protocol().min(client_protocol) }
    }

    /// The server's version.
    pub const fn server(self) -> ServerVersion {
        self.server
    }

    /// The protocol version of the session.
    pub const fn protocol(self) -> i32 {
        self.protocol
    }

    /// Returns true if the target of a diff becomes a base for the diffs that are built later.
    pub(crate) fn is_efficient(self) -> bool {
        self.server != ServerVersion::V22_1 && self.protocol >= EFFICIENT_PROTOCOL_VERSION
    }
}

/// The session of the newest server with a client that announces this protocol version.
impl From<i32> for ServerSession {
    fn from(client_protocol: i32) -> Self {
        Self::new(ServerVersion::NEWEST, client_protocol)
    }
}
