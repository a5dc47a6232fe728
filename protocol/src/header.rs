//! The response headers by which a server says what it does beyond the plain wire format.
//!
//! A client assumes nothing that a header did not say.

/// Lists, separated by commas, the extensions a server implements: `idempotent` (a repeated mutation id gets the first
/// verdict back), `chains` (several mutations of one record in one request), `paged` (`hasMore`), `snapshot` (a null
/// checkpoint gets the live records), `strategies` (conflicts are settled by the objects' strategies: what comes back as one is for
/// a person), `echoes` (a client's own mutations are among the changes), `realtime` (a doorbell, see [`realtime`](crate::realtime)).
pub const FEATURES: &str = "objectql-sync-features";
/// The most mutations the server takes in one request.
pub const MAX_MUTATIONS: &str = "objectql-sync-max-mutations";
/// The server's clock when it answered, in milliseconds since 1970.
pub const SERVER_TIME: &str = "objectql-sync-time";
