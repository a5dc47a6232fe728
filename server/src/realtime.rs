//! The doorbell: clients with a socket are told that something was committed, never what. They pull, as they always do, so a
//! ring that is lost, late or one too many costs time and nothing else.
//!
//! Nothing is queued for a client: each socket watches one value, the last commit. However slowly a client reads, there is one
//! frame under way to it at most, and however many commits come meanwhile, one more follows.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::Error as SocketError;
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, close_code};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use objectql_sync_protocol::ClientId;
use objectql_sync_protocol::realtime::{BEAT_INTERVAL, HELLO_TIMEOUT, Hello, SILENCE, ServerFrame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// How long a client may take to read one frame.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of a socket may take: the close frame, and then the client's answer to it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Rings for the clients with a socket.
#[derive(Debug)]
pub(crate) struct Doorbell {
    commits: watch::Sender<Commits>,
    is_leaving: watch::Sender<bool>,
    places: Arc<Semaphore>,
    max_sockets: u32,
}

/// How far the change log has come, as clients need to know.
#[derive(Debug, Clone, Default)]
struct Commits {
    position: u64,
    /// Who wrote last, and after which position nobody else has.
    author: Option<ClientId>,
    alone_since: u64,
}

impl Commits {
    /// Whether there is something in it for a client that was rung for when the log was at `seen`. A client's own changes
    /// came to it with the answer to its push.
    fn concern(&self, client: &ClientId, seen: u64) -> bool {
        self.author.as_ref() != Some(client) || self.alone_since > seen
    }
}

/// The right to have a socket open; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Doorbell {
    pub(crate) fn new(max_sockets: u32) -> Self {
        Self {
            commits: watch::Sender::new(Commits::default()),
            is_leaving: watch::Sender::new(false),
            places: Arc::new(Semaphore::new(max_sockets as usize)),
            max_sockets,
        }
    }

    /// Rings: `author` appended to the change log what comes after the first position, up to the second.
    pub(crate) fn ring(&self, author: &ClientId, written: Range<u64>) {
        if written.is_empty() {
            return;
        }
        self.commits.send_modify(|commits| {
            if commits.author.as_ref() != Some(author) {
                commits.author = Some(author.clone());
                commits.alone_since = written.start;
            }
            commits.position = written.end;
        });
    }

    /// A place for one more socket, if there is one.
    pub(crate) fn enter(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(Place)
    }

    /// Ends all sockets.
    pub(crate) fn hang_up(&self) {
        self.is_leaving.send_replace(true);
    }

    /// Waits until the sockets have ended, but for those that do not listen.
    pub(crate) async fn hung_up(&self) {
        let _ = timeout(CLOSE_TIMEOUT, self.places.acquire_many(self.max_sockets)).await;
    }

    /// Serves one socket to its end.
    pub(crate) async fn serve(&self, mut socket: impl Socket, place: Place) {
        let mut is_leaving = self.is_leaving.subscribe();
        let end = tokio::select! {
            end = self.talk(&mut socket) => end,
            _ = is_leaving.wait_for(|is_leaving| *is_leaving) => End::LEAVING,
        };
        tracing::debug!(code = end.code, reason = end.reason, "a socket ended");
        if end == End::GONE {
            return;
        }
        if end != End::CLOSED {
            let frame = CloseFrame { code: end.code, reason: Utf8Bytes::from_static(end.reason) };
            let _ = timeout(CLOSE_TIMEOUT, socket.send(Message::Close(Some(frame)))).await;
        }
        drop(place);
        // Where something was not read yet, closing at once would reset the connection, and the client might not see why. This
        // also sends the answer to its own close frame.
        let _ = timeout(CLOSE_TIMEOUT, async { while let Some(Ok(_)) = socket.next().await {} }).await;
    }

    async fn talk(&self, socket: &mut impl Socket) -> End {
        let client = match timeout(HELLO_TIMEOUT, hear_hello(socket)).await {
            Ok(Ok(hello)) => hello.client_id,
            Ok(Err(end)) => return end,
            Err(_) => return End::NO_HELLO,
        };
        match self.keep_telling(socket, &client).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn keep_telling(
        &self,
        socket: &mut impl Socket,
        client: &ClientId,
    ) -> Result<std::convert::Infallible, End> {
        // From here on, before the client is told that it is: what is committed in between is told of.
        let mut commits = self.commits.subscribe();
        let mut seen = commits.borrow_and_update().position;
        say(socket, ServerFrame::Ready).await?;
        let mut said = Instant::now();
        let mut heard = said;
        let mut pinged = said;
        loop {
            tokio::select! {
                _ = commits.changed() => {
                    let commits = commits.borrow_and_update().clone();
                    if commits.concern(client, seen) {
                        say(socket, ServerFrame::Poke).await?;
                        said = Instant::now();
                    }
                    seen = commits.position;
                }
                frame = socket.next() => {
                    hear(frame)?;
                    heard = Instant::now();
                }
                () = sleep_until(said + BEAT_INTERVAL) => {
                    say(socket, ServerFrame::Beat).await?;
                    said = Instant::now();
                }
                // Browsers answer pings by themselves, and have no other way to say that they are there.
                () = sleep_until(pinged + BEAT_INTERVAL) => {
                    send(socket, Message::Ping(Bytes::new())).await?;
                    pinged = Instant::now();
                }
                () = sleep_until(heard + SILENCE) => return Err(End::SILENT),
            }
        }
    }
}

/// A socket, as far as it is used here.
pub(crate) trait Socket:
    Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError> + Unpin + Send
{
}

impl<S> Socket for S where
    S: Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError> + Unpin + Send
{
}

/// Why a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    code: u16,
    reason: &'static str,
}

impl End {
    const LEAVING: Self = Self { code: close_code::AWAY, reason: "the server stops" };
    const NO_HELLO: Self = Self { code: close_code::POLICY, reason: "no hello came in time" };
    const NO_SUCH_HELLO: Self =
        Self { code: close_code::POLICY, reason: "the hello has not the right shape" };
    const SILENT: Self = Self { code: close_code::POLICY, reason: "nothing was heard for too long" };
    const BINARY: Self = Self { code: close_code::UNSUPPORTED, reason: "only text is understood" };
    const TOO_LARGE: Self = Self { code: close_code::SIZE, reason: "the frame is too large" };
    const NO_TEXT: Self = Self { code: close_code::INVALID, reason: "the text is not UTF-8" };
    const NO_FRAME: Self = Self { code: close_code::PROTOCOL, reason: "that is no WebSocket frame" };
    const CLOSED: Self = Self { code: close_code::STATUS, reason: "the client closed it" };
    /// The connection is gone, or nobody reads at its other end: there is nothing to say.
    const GONE: Self = Self { code: close_code::ABNORMAL, reason: "the connection is gone" };
}

impl From<SocketError> for End {
    fn from(error: SocketError) -> Self {
        use tungstenite::Error;
        match std::error::Error::source(&error).and_then(<dyn std::error::Error>::downcast_ref) {
            Some(Error::Capacity(_)) => Self::TOO_LARGE,
            Some(Error::Utf8(_)) => Self::NO_TEXT,
            Some(Error::Protocol(error))
                if *error != tungstenite::error::ProtocolError::ResetWithoutClosingHandshake =>
            {
                Self::NO_FRAME
            }
            _ => Self::GONE,
        }
    }
}

async fn hear_hello(socket: &mut impl Socket) -> Result<Hello, End> {
    loop {
        if let Some(text) = hear(socket.next().await)?
            && let Some(hello) = Hello::parse(&text).map_err(|_| End::NO_SUCH_HELLO)?
        {
            return Ok(hello);
        }
    }
}

/// The text of a frame that has some.
fn hear(frame: Option<Result<Message, SocketError>>) -> Result<Option<Utf8Bytes>, End> {
    match frame.ok_or(End::GONE)?? {
        Message::Text(text) => Ok(Some(text)),
        Message::Ping(_) | Message::Pong(_) => Ok(None),
        Message::Binary(_) => Err(End::BINARY),
        Message::Close(_) => Err(End::CLOSED),
    }
}

async fn say(socket: &mut impl Socket, frame: ServerFrame) -> Result<(), End> {
    send(socket, Message::Text(Utf8Bytes::from_static(frame.as_json()))).await
}

async fn send(socket: &mut impl Socket, message: Message) -> Result<(), End> {
    match timeout(WRITE_TIMEOUT, socket.send(message)).await {
        Ok(sent) => Ok(sent?),
        Err(_) => Err(End::GONE),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::sync::mpsc;

    use super::*;

    /// The server's end of a socket in memory. What is sent arrives at once, or never.
    struct Wire {
        incoming: mpsc::UnboundedReceiver<Message>,
        outgoing: mpsc::UnboundedSender<Message>,
        is_stuck: watch::Receiver<bool>,
    }

    impl Stream for Wire {
        type Item = Result<Message, SocketError>;

        fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.incoming.poll_recv(context).map(|message| message.map(Ok))
        }
    }

    impl Sink<Message> for Wire {
        type Error = SocketError;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
            if *self.is_stuck.borrow() { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), SocketError> {
            self.outgoing.send(message).map_err(SocketError::new)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
            Poll::Ready(Ok(()))
        }
    }

    struct Client {
        to: mpsc::UnboundedSender<Message>,
        from: mpsc::UnboundedReceiver<Message>,
        is_stuck: watch::Sender<bool>,
    }

    impl Client {
        fn connect(doorbell: &Arc<Doorbell>) -> Self {
            let (to, incoming) = mpsc::unbounded_channel();
            let (outgoing, from) = mpsc::unbounded_channel();
            let is_stuck = watch::Sender::new(false);
            let wire = Wire { incoming, outgoing, is_stuck: is_stuck.subscribe() };
            let (doorbell, place) = (Arc::clone(doorbell), doorbell.enter().unwrap());
            tokio::spawn(async move { doorbell.serve(wire, place).await });
            Self { to, from, is_stuck }
        }

        /// A client that has been greeted.
        async fn ready(doorbell: &Arc<Doorbell>, name: &str) -> Self {
            let mut client = Self::connect(doorbell);
            client.say(&format!(r#"{{"type":"hello","clientId":"{name}"}}"#));
            client.hears(ServerFrame::Ready).await;
            client
        }

        fn say(&self, text: &str) {
            self.to.send(Message::text(text)).unwrap();
        }

        /// The next frame that is no ping; pings are answered.
        async fn next(&mut self) -> Option<Message> {
            loop {
                match self.from.recv().await {
                    Some(Message::Ping(data)) => drop(self.to.send(Message::Pong(data))),
                    other => return other,
                }
            }
        }

        async fn hears(&mut self, frame: ServerFrame) {
            assert_eq!(self.next().await, Some(Message::text(frame.as_json())));
        }

        async fn is_closed_with(&mut self, end: End) {
            match self.next().await {
                Some(Message::Close(Some(frame))) => assert_eq!(frame.code, end.code, "{}", frame.reason),
                other => panic!("{other:?}"),
            }
            assert_eq!(self.next().await, None);
        }
    }

    fn doorbell() -> Arc<Doorbell> {
        Arc::new(Doorbell::new(10))
    }

    fn name(text: &str) -> ClientId {
        ClientId::new(text).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_without_a_hello_is_closed_in_time() {
        let doorbell = doorbell();
        let began = Instant::now();
        let mut silent = Client::connect(&doorbell);
        let mut talking = Client::connect(&doorbell);
        talking.say(r#"{"type":"news"}"#);
        silent.is_closed_with(End::NO_HELLO).await;
        talking.is_closed_with(End::NO_HELLO).await;
        assert_eq!(began.elapsed().as_secs(), (HELLO_TIMEOUT + CLOSE_TIMEOUT).as_secs());
        let mut wrong = Client::connect(&doorbell);
        wrong.say(r#"{"type":"hello"}"#);
        wrong.is_closed_with(End::NO_SUCH_HELLO).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_server_beats_and_pings() {
        let doorbell = doorbell();
        let mut client = Client::ready(&doorbell, "a").await;
        let began = Instant::now();
        for beats in 1..=20 {
            client.hears(ServerFrame::Beat).await;
            assert_eq!(began.elapsed(), BEAT_INTERVAL * beats);
        }
        tokio::time::advance(BEAT_INTERVAL / 3).await;
        doorbell.ring(&name("b"), 0..1);
        client.hears(ServerFrame::Poke).await;
        let poked = Instant::now();
        client.hears(ServerFrame::Beat).await;
        assert_eq!(poked.elapsed(), BEAT_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_of_which_nothing_is_heard_is_closed() {
        let doorbell = doorbell();
        let mut client = Client::ready(&doorbell, "a").await;
        let began = Instant::now();
        let mut last = None;
        // Not with `next`, which answers the pings.
        while let Some(message) = client.from.recv().await {
            last = Some((message, began.elapsed()));
        }
        let Some((Message::Close(Some(frame)), after)) = last else { panic!("{last:?}") };
        assert_eq!((frame.code, after), (End::SILENT.code, SILENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_dropped_and_holds_nobody_up() {
        let doorbell = doorbell();
        let stuck = Client::ready(&doorbell, "stuck").await;
        stuck.is_stuck.send_replace(true);
        let mut other = Client::ready(&doorbell, "other").await;
        let began = Instant::now();
        for position in 0..1000 {
            doorbell.ring(&name("b"), position..position + 1);
        }
        other.hears(ServerFrame::Poke).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(doorbell.places.available_permits(), 8);
        stuck.to.closed().await;
        assert_eq!(began.elapsed(), WRITE_TIMEOUT);
        assert_eq!(doorbell.places.available_permits(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn commits_are_told_together_and_none_is_lost() {
        let doorbell = doorbell();
        let mut client = Client::ready(&doorbell, "a").await;
        for position in 0..50 {
            doorbell.ring(&name("b"), position..position + 1);
        }
        client.hears(ServerFrame::Poke).await;
        // Nothing else is waiting: the next is the beat.
        client.hears(ServerFrame::Beat).await;
        doorbell.ring(&name("b"), 50..51);
        client.hears(ServerFrame::Poke).await;
        // What wrote nothing is not told.
        doorbell.ring(&name("b"), 51..51);
        client.hears(ServerFrame::Beat).await;
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_told_of_what_they_did_alone() {
        let doorbell = doorbell();
        let mut a = Client::ready(&doorbell, "a").await;
        let mut b = Client::ready(&doorbell, "b").await;
        doorbell.ring(&name("a"), 0..1);
        b.hears(ServerFrame::Poke).await;
        a.hears(ServerFrame::Beat).await;
        b.hears(ServerFrame::Beat).await;
        doorbell.ring(&name("a"), 1..3);
        doorbell.ring(&name("b"), 3..4);
        doorbell.ring(&name("a"), 4..5);
        a.hears(ServerFrame::Poke).await;
        b.hears(ServerFrame::Poke).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_client_should_send_closes_the_socket() {
        let doorbell = doorbell();
        let mut client = Client::ready(&doorbell, "a").await;
        client.to.send(Message::binary(vec![1])).unwrap();
        client.is_closed_with(End::BINARY).await;
        // Text that nobody understands is passed over.
        let mut client = Client::ready(&doorbell, "a").await;
        for text in ["", "{}", "[[[[[[", r#"{"type":"hello"}"#, r#"{"type":"news"}"#] {
            client.say(text);
        }
        doorbell.ring(&name("b"), 0..1);
        client.hears(ServerFrame::Poke).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_says_so_and_waits_for_nobody_long() {
        let doorbell = doorbell();
        let mut client = Client::ready(&doorbell, "a").await;
        let mut new = Client::connect(&doorbell);
        let stuck = Client::ready(&doorbell, "stuck").await;
        stuck.is_stuck.send_replace(true);
        doorbell.hang_up();
        let began = Instant::now();
        doorbell.hung_up().await;
        assert_eq!(began.elapsed(), CLOSE_TIMEOUT);
        client.is_closed_with(End::LEAVING).await;
        new.is_closed_with(End::LEAVING).await;
        // Whoever comes now hears it as well.
        Client::connect(&doorbell).is_closed_with(End::LEAVING).await;
    }
}
