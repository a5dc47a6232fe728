//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::HeaderValue;
use clap::{Parser, ValueEnum};

/// The sync endpoint of ObjectQL offline databases, over one SQLite file.
///
/// Browsers write offline and send what they wrote to this server when they are online; the server settles what happened
/// at the same time in several places, and tells every client of every change.
///
/// Try it: objectql-sync-server --objects ./objects --static ./www
///
/// Every option may also be given as the environment variable named with it. To back the database up while the server runs:
/// sqlite3 objectql-sync.db ".backup copy.db".
#[derive(Debug, Clone, Parser)]
#[command(version, max_term_width = 100)]
pub struct Config {
    /// The database file; it is made when there is none
    #[arg(long, value_name = "PATH", env = "OBJECTQL_SYNC_DB", default_value = "objectql-sync.db")]
    pub db: PathBuf,

    /// The folder with the object definitions: one NAME.object.yml for each object
    #[arg(long, value_name = "DIR", env = "OBJECTQL_SYNC_OBJECTS")]
    pub objects: PathBuf,

    /// A folder with a web app to serve beside the endpoint; paths that are no file get its index.html
    #[arg(long = "static", value_name = "DIR", env = "OBJECTQL_SYNC_STATIC")]
    pub static_dir: Option<PathBuf>,

    /// The address to listen on; port 0 takes a free one. The address is printed as "listening on http://..."
    #[arg(long, value_name = "ADDRESS", env = "OBJECTQL_SYNC_LISTEN", default_value = "127.0.0.1:8787")]
    pub listen: SocketAddr,

    /// The path of the endpoint
    #[arg(long, env = "OBJECTQL_SYNC_PATH", default_value = "/api/sync", value_parser = parse_path)]
    pub path: String,

    /// The most mutations in one request
    #[arg(long, value_name = "COUNT", env = "OBJECTQL_SYNC_MAX_MUTATIONS", default_value = "100",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_mutations: u32,

    /// The most bytes in one request
    #[arg(long, value_name = "BYTES", env = "OBJECTQL_SYNC_MAX_BODY_BYTES", default_value = "8388608",
          value_parser = clap::value_parser!(u32).range(1024..=1_073_741_824))]
    pub max_body_bytes: u32,

    /// The most changes in one answer; clients ask for the rest
    #[arg(long, value_name = "COUNT", env = "OBJECTQL_SYNC_PAGE_SIZE", default_value = "1000",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub page_size: u32,

    /// How long changes are kept. A client that was away for longer takes a fresh copy of all records, and what it wrote more
    /// than so long ago is refused
    #[arg(long, value_name = "DAYS", env = "OBJECTQL_SYNC_RETENTION_DAYS", default_value = "30",
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub retention_days: u32,

    /// Tell clients of changes at once, over a WebSocket at the endpoint's path and /realtime
    #[arg(long, env = "OBJECTQL_SYNC_REALTIME")]
    pub realtime: bool,

    /// The most clients that are told of changes at once at a time; more are refused and go on asking
    #[arg(long, value_name = "COUNT", env = "OBJECTQL_SYNC_MAX_SOCKETS", default_value = "1000",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_sockets: u32,

    /// An origin, such as `https://app.example.com`, whose pages may call the endpoint (CORS) and open sockets; may be given several times, or
    /// separated by commas. Pages that this server serves itself need none
    #[arg(long, value_name = "ORIGIN", env = "OBJECTQL_SYNC_ALLOW_ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<HeaderValue>,

    /// How the log on stderr is written. RUST_LOG sets what is logged; the default is info
    #[arg(long, value_name = "FORMAT", env = "OBJECTQL_SYNC_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Give this when the database was restored from a backup, once: every client then takes a fresh copy of all records
    #[arg(long)]
    pub restored: bool,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

fn parse_path(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if text.starts_with('/') && text.len() > 1 && text.chars().all(is_plain) && text != "/health" {
        return Ok(text.to_owned());
    }
    Err("a path begins with / and has letters, digits and -_.~ in it; /health is taken".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Config::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_wire_format() {
        let config = Config::parse_from(["server", "--objects", "o"]);
        let endpoint = objectql_sync_protocol::EndpointConfig::default();
        assert_eq!(config.path, endpoint.path);
        assert_eq!(config.max_mutations, endpoint.max_mutations_per_request);
        assert_eq!(config.retention_days, endpoint.change_log_retention_days);
        assert_eq!(config.realtime, endpoint.realtime);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (option, value) in [
            ("--path", "api"),
            ("--path", "/"),
            ("--path", "/{x}"),
            ("--path", "/health"),
            ("--max-mutations", "0"),
            ("--retention-days", "0"),
            ("--max-sockets", "0"),
            ("--listen", "nowhere"),
        ] {
            assert!(
                Config::try_parse_from(["server", "--objects", "o", option, value]).is_err(),
                "{option} {value}"
            );
        }
    }
}
