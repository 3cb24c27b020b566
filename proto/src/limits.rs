//! Limits and timings that both ends keep.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Versions of the protocol that this build speaks. A hub serves N-2.
pub const VERSIONS: RangeInclusive<u32> = 1..=1;

/// Bundles up to this many compressed bytes travel inside an assignment.
pub const INLINE_BUNDLE: usize = 16 << 10;
/// All inlined bundles of one assignment together; the rest is fetched.
pub const INLINE_TOTAL: usize = 1 << 20;
/// Bytes of one chunk of `Content.Fetch`: several fit an HTTP/2 window, and a cut connection loses little.
pub const CHUNK: usize = 256 << 10;
/// Largest message that either end takes: 10,000 entries of about 250 B and the inlined bundles, with room.
pub const MESSAGE: usize = 16 << 20;
/// Most bytes of the JSON of one answer to a question; a question about more is answered in part.
pub const ANSWER: usize = 512 << 10;
/// Most bytes of the texts of one fact that is a list or a map. All six of them are below 1 MiB together, which is what a
/// record of the hub's store may have; a cluster of 1,500 kinds names them in some 80 KiB.
pub const FACT: usize = 128 << 10;
/// Most bundles that one `Content.Fetch` may name.
pub const FETCH_PARTS: usize = 256;

/// HTTP/2 pings keep idle streams alive; with the time-out below a dead peer is noticed within 35 s.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How long a ping may stay unanswered.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// TCP connect, TLS handshake and the first answer, each.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A unary request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A spoke's certificate.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long after its end a certificate still renews itself.
pub const RENEW_EXPIRED: Duration = Duration::from_secs(90 * 24 * 3600);
/// How far apart the clocks of hub and spoke may be when a certificate is new.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
/// What a renewal signs before the hub's nonce.
pub const RENEW_CONTEXT: &[u8] = b"nave.renew.v1";

/// The name that every hub's certificate carries beside its own addresses, so that spokes and operators can check it
/// whatever address they reached it by. `.internal` is reserved for private use by ICANN (2024).
pub const HUB_SERVER_NAME: &str = "hub.nave.internal";
