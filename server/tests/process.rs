//! The command as it is run: a real process, real sockets, real signals.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let objects = folder.join("objects");
        std::fs::create_dir_all(&objects).unwrap();
        std::fs::write(objects.join("story.object.yml"), "sync: { enabled: true }").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_objectql-sync-server"))
            .args(["--listen", "127.0.0.1:0", "--log-format", "json"])
            .env("OBJECTQL_SYNC_DB", folder.join("sync.db"))
            .env("OBJECTQL_SYNC_OBJECTS", &objects)
            .env("OBJECTQL_SYNC_REALTIME", "true")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for the end: how it ended, and the log.
    fn wait(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap(), log)
    }
}

fn head(length: usize) -> String {
    format!(
        "POST /api/sync HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

fn body(sequence: u64) -> String {
    // The id's time is the test's: the server refuses what is older than its retention.
    let millis = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let hex = format!("{millis:012x}");
    let (high, low) = hex.split_at(8);
    format!(
        r#"{{"clientId":"a","mutations":[{{"id":"{high}-{low}-7000-8000-{sequence:012x}","objectName":"story","recordId":{sequence},
           "operation":"create","data":{{"secret":"MARKER"}},"timestamp":"2026-11-22T00:00:00Z","clientId":"a",
           "sequence":{sequence},"baseVersion":null}}],"lastCheckpoint":null}}"#
    )
}

fn answer(mut socket: TcpStream) -> String {
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn what_was_begun_is_finished_and_the_database_closed_when_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path());
    let body = body(1);
    let mut socket = server.connect();
    socket.write_all(head(body.len()).as_bytes()).unwrap();
    let (begin, end) = body.split_at(20);
    socket.write_all(begin.as_bytes()).unwrap();
    socket.flush().unwrap();
    // A second request that is answered shows that the first has been accepted.
    let mut other = server.connect();
    other.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    assert!(answer(other).starts_with("HTTP/1.1 200"));
    server.signal("-TERM");
    while TcpStream::connect(&server.address).is_ok() {
        std::thread::yield_now();
    }
    socket.write_all(end.as_bytes()).unwrap();
    let answer = answer(socket);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""status":"applied""#), "{answer}");

    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
    assert!(!folder.path().join("sync.db-wal").exists(), "the log was not folded into the database");
    assert!(log.lines().all(|line| line.starts_with('{')), "{log}");
    assert!(log.contains("pushed") && !log.contains("MARKER"), "{log}");
}

#[test]
fn sockets_are_told_that_the_server_stops_and_do_not_hold_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path());
    let mut socket = server.connect();
    let key = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let head = "GET /api/sync/realtime HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    socket.write_all(format!("{head}{key}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    server.signal("-TERM");
    // A close frame with 1001, and a reason of the length that is left.
    let mut frame = [0; 4];
    socket.read_exact(&mut frame).unwrap();
    assert_eq!((frame[0], u16::from_be_bytes([frame[2], frame[3]])), (0x88, 1001));
    // The socket is still open at this end.
    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
    drop(socket);
}

#[test]
fn what_was_answered_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    for sequence in 1..=5 {
        let server = Running::start(folder.path());
        let body = body(sequence);
        let mut socket = server.connect();
        socket.write_all((head(body.len()) + &body).as_bytes()).unwrap();
        let answer = answer(socket);
        assert!(
            answer.contains(&format!(r#"{{"status":"applied","serverVersion":{sequence}}}"#)),
            "{answer}"
        );
        assert_eq!(answer.matches("MARKER").count(), usize::try_from(sequence).unwrap(), "{answer}");
        server.signal("-KILL");
        assert!(!server.wait().0.success());
    }
}

#[test]
fn what_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("story.object.yml");
    std::fs::write(&bad, "label: Story\nsync: { enabled: perhaps }\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_objectql-sync-server"))
        .args(["--listen", "127.0.0.1:0", "--db"])
        .arg(folder.path().join("sync.db"))
        .arg("--objects")
        .arg(folder.path())
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && log.contains("story.object.yml:2: "), "{log}");
}
