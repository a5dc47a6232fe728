//! The loop around the engine: inputs in, outputs done.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use gloo_timers::callback::{Interval, Timeout};
use js_sys::{Function, Promise, Reflect};
use objectql_sync_protocol::ClientId;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::calls::{Calls, Wants};
use super::channel::Channel;
use super::environment::{now, seed};
use super::leader::Leader;
use super::listener::{Listener, global_target, is_visible, page};
use super::log::{Beginning, NewRoot, Outcome};
use super::realtime::{Happening, Socket};
use super::store::{Storage, Store};
use super::transport::Transport;
use crate::engine::{Announcement, Command, Config, Engine, Input, Notice, Output, RequestId};
use crate::error::Error;

/// A browser may fire a timer a little early: without this the engine would be woken twice.
const TIMER_SLACK_MS: u32 = 1;
/// How often a page without `BroadcastChannel` looks whether other tabs wrote: every second.
const POLL_MS: u32 = 1000;
/// `setTimeout` takes 31 bits of milliseconds.
const LONGEST_TIMER_MS: u32 = i32::MAX.unsigned_abs();

/// One open database in this page.
pub(crate) struct Shell {
    /// None once it is closed: the app may hold on to a closed driver until its garbage is collected, and what comes late has
    /// nobody to go to. In a box, so that a closed driver holds none of its kilobytes.
    engine: RefCell<Option<Box<Engine>>>,
    /// Inputs that came while one was being handled: an app's callback may call the driver.
    inputs: RefCell<VecDeque<Input>>,
    is_busy: Cell<bool>,
    name: String,
    log: Store,
    /// None once it is closed: the functions lead to the app's objects and these to the driver, a circle through the wasm that
    /// no collector of garbage sees.
    hooks: RefCell<Option<Rc<Hooks>>>,
    calls: Calls,
    timer: RefCell<Option<Timeout>>,
    channel: RefCell<Option<Channel>>,
    /// Looks for rows of other tabs, where there is no channel.
    poll: RefCell<Option<Interval>>,
    leader: RefCell<Option<Leader>>,
    socket: RefCell<Option<Socket>>,
    listeners: RefCell<Vec<Listener>>,
    /// No further calls are taken.
    is_closed: Cell<bool>,
    /// Who waits for the writes under way before the database is closed.
    closing: RefCell<Vec<Function>>,
}

/// What the shell is started with.
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) storage: Storage,
    pub(crate) config: Config,
    pub(crate) hooks: Hooks,
}

/// What calls the facade's functions.
pub(crate) struct Hooks {
    pub(crate) transport: Option<Transport>,
    /// Opens a socket for realtime.
    pub(crate) connect: Option<Function>,
    pub(crate) on_event: Function,
    /// Says whether anybody wants to know which records changed.
    pub(crate) wants_changes: Option<Function>,
}

impl Shell {
    /// Starts an engine; the promise is kept when the database can be used.
    pub(crate) fn open(settings: Settings) -> Result<(Rc<Self>, Promise), Error> {
        let Settings { name, storage, config, hooks } = settings;
        let calls = Calls::default();
        let (open, opened) = calls.add(Wants::Outcome, 1);
        let shell = Rc::new(Self {
            engine: RefCell::new(Some(Box::new(Engine::new(config, seed()?, open)))),
            inputs: RefCell::default(),
            is_busy: Cell::new(false),
            log: Store::open(&name, storage),
            name,
            hooks: RefCell::new(Some(Rc::new(hooks))),
            calls,
            timer: RefCell::default(),
            channel: RefCell::default(),
            poll: RefCell::default(),
            leader: RefCell::default(),
            socket: RefCell::default(),
            listeners: RefCell::default(),
            is_closed: Cell::new(false),
            closing: RefCell::default(),
        });
        shell.join();
        shell.handle(Input::Wake);
        Ok((shell, opened))
    }

    /// Listens to the other tabs and to the page.
    fn join(self: &Rc<Self>) {
        self.listen_to_tabs();
        self.stand(false);
        let mut listeners = Vec::new();
        if let Some(global) = global_target() {
            for event in ["online", "pageshow", "focus"] {
                let weak = Rc::downgrade(self);
                listeners.push(Listener::new(global.clone(), event, move |event| {
                    if let Some(shell) = weak.upgrade() {
                        if is_persisted(&event) {
                            shell.come_back();
                        }
                        shell.handle(Input::Nudge);
                    }
                }));
            }
            let weak = Rc::downgrade(self);
            listeners.push(Listener::new(global, "pagehide", move |event| {
                if let Some(shell) = weak.upgrade() {
                    shell.go(is_persisted(&event));
                }
            }));
        }
        if let Some(page) = page() {
            let weak = Rc::downgrade(self);
            listeners.push(Listener::new(page, "visibilitychange", move |_| {
                handle_in(&weak, Input::Visible(is_visible()));
            }));
            if !is_visible() {
                self.handle(Input::Visible(false));
            }
        }
        self.listeners.replace(listeners);
    }

    fn listen_to_tabs(self: &Rc<Self>) {
        // Nobody else has a log in memory: there is nobody to talk to, and in Node.js a channel would keep the process alive.
        if !self.log.is_shared() {
            return;
        }
        let weak = Rc::downgrade(self);
        let channel = Channel::open(&self.name, move |announcement| {
            handle_in(&weak, Input::Announced(announcement));
        });
        if channel.is_none() {
            // Nobody will say that there are rows to read.
            let weak = Rc::downgrade(self);
            let look = move || handle_in(&weak, Input::Announced(Announcement::look()));
            self.poll.replace(Some(Interval::new(POLL_MS, look)));
        }
        self.channel.replace(channel);
    }

    /// The page goes. One that the browser keeps, to show it again at once when somebody goes back, is frozen from here on, and Chromium
    /// throws it away as soon as another one waits for its lock, or there is a message for it on the channel. So it lets go of these, and
    /// keeps the connection: a page whose database was deleted is better thrown away than shown again with what was in it.
    fn go(self: &Rc<Self>, is_kept: bool) {
        self.handle(Input::Leaving);
        // No further task of this page may run.
        if let Some(channel) = &*self.channel.borrow() {
            channel.post_waiting();
        }
        if is_kept && self.log.is_shared() {
            self.hint();
            self.leader.take();
            // With the lead goes the socket.
            self.handle(Input::Leader(false));
            self.channel.take();
        }
    }

    /// The page is shown again as it was. What happened meanwhile is in the log.
    fn come_back(self: &Rc<Self>) {
        if !self.is_closed.get() && self.log.is_shared() {
            self.listen_to_tabs();
            self.hint();
            self.stand(false);
        }
    }

    /// Has the other tabs look at the log: what is under way while the page goes may end without a word.
    fn hint(&self) {
        if let Some(channel) = &*self.channel.borrow() {
            channel.announce(&Announcement::look());
            channel.post_waiting();
        }
    }

    /// Waits for the lock of the tab that syncs, or takes it; who is robbed of it waits in line again.
    fn stand(self: &Rc<Self>, steals: bool) {
        // The wish that there was is given up first: won later, it would be a second one.
        self.leader.take();
        if !self.log.is_shared() {
            return self.handle(Input::Leader(true));
        }
        let weak = Rc::downgrade(self);
        let leader = Leader::stand(&self.name, steals, move |is_leader| {
            handle_in(&weak, Input::Leader(is_leader));
            if let Some(shell) = weak.upgrade().filter(|shell| !is_leader && !shell.is_closed.get()) {
                shell.stand(false);
            }
        });
        if leader.is_none() {
            let has_channel = self.channel.borrow().is_some();
            self.handle(Input::Lockless { has_channel });
        }
        self.leader.replace(leader);
    }

    /// Looks at the engine.
    ///
    /// # Errors
    /// `CLOSED`
    pub(crate) fn read<T>(&self, look: impl FnOnce(&mut Engine) -> Result<T, Error>) -> Result<T, Error> {
        match &mut *self.engine.borrow_mut() {
            Some(engine) if !self.is_closed.get() => look(engine),
            _ => Err(Error::Closed),
        }
    }

    /// Makes a call; the promise is kept when the engine replies.
    pub(crate) fn call(
        self: &Rc<Self>,
        wants: Wants,
        input: impl FnOnce(RequestId) -> Input,
    ) -> Result<Promise, Error> {
        self.check_open()?;
        let (request, promise) = self.calls.add(wants, 1);
        self.handle(input(request));
        Ok(promise)
    }

    /// Makes writes that have each its own outcome; the promise is kept when all have it.
    pub(crate) fn write_each(self: &Rc<Self>, commands: Vec<Command>) -> Result<Promise, Error> {
        self.check_open()?;
        let (first, promise) = self.calls.add(Wants::Outcomes, commands.len());
        self.handle(Input::Write((first.0..).map(RequestId).zip(commands).collect()));
        Ok(promise)
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_closed.get() { Err(Error::Closed) } else { Ok(()) }
    }

    fn hooks(&self) -> Option<Rc<Hooks>> {
        self.hooks.borrow().clone()
    }

    /// How many read-write transactions were made.
    pub(crate) fn transactions(&self) -> u32 {
        self.log.transactions()
    }

    /// Takes no further calls, waits for the writes under way, and lets go of everything but the records, of which there may be many.
    pub(crate) fn close(self: &Rc<Self>) -> Promise {
        self.is_closed.set(true);
        let promise = Promise::new(&mut |resolve, _| self.closing.borrow_mut().push(resolve));
        self.handle(Input::Leaving);
        promise
    }

    fn close_if_done(&self) {
        if !self.is_closed.get() || self.calls.has_writes() {
            return;
        }
        self.listeners.borrow_mut().clear();
        self.timer.take();
        self.leader.take();
        self.socket.take();
        self.channel.take();
        self.poll.take();
        self.log.close();
        self.hooks.take();
        if let Some(engine) = self.engine.take() {
            let_go(engine);
        }
        self.calls.close();
        for resolve in std::mem::take(&mut *self.closing.borrow_mut()) {
            let _ = resolve.call0(&JsValue::NULL);
        }
    }

    /// Gives the engine an input and does what it wants. What happens while that is done waits its turn.
    fn handle(self: &Rc<Self>, input: Input) {
        self.inputs.borrow_mut().push_back(input);
        if self.is_busy.replace(true) {
            return;
        }
        loop {
            let input = self.inputs.borrow_mut().pop_front();
            let Some(input) = input else { break };
            if let Some(engine) = &mut *self.engine.borrow_mut() {
                engine.handle_input(now(), input);
            }
            loop {
                let output = self.engine.borrow_mut().as_mut().and_then(|engine| engine.poll_output());
                let Some(output) = output else { break };
                self.perform(output);
            }
            // Not before: other tabs have to hear of the last write.
            self.close_if_done();
        }
        self.is_busy.set(false);
    }

    fn perform(self: &Rc<Self>, output: Output) {
        match output {
            output @ (Output::Append { .. }
            | Output::Begin { .. }
            | Output::Read { .. }
            | Output::ReadSegments { .. }
            | Output::ReadRoot { .. }
            | Output::WriteSegments { .. }
            | Output::Compact { .. }) => {
                let begins = matches!(output, Output::Begin { may_create: true, .. });
                self.spawn(async move |shell| {
                    let input = use_store(&shell.log, output).await;
                    if begins && shell.log.is_shared() {
                        shell.look_soon();
                    }
                    input
                });
            }
            Output::Send { send, body } => self.spawn(async move |shell| {
                let hooks = shell.hooks();
                let result = match hooks.as_ref().and_then(|hooks| hooks.transport.as_ref()) {
                    Some(transport) => transport.send(body).await,
                    None => Err(Error::SyncOff),
                };
                match result {
                    Ok(answer) => Input::Answered { send, answer },
                    Err(error) => Input::SendFailed { send, error },
                }
            }),
            Output::Connect { socket, client_id } => self.connect(socket, &client_id),
            Output::Disconnect { .. } => drop(self.socket.take()),
            Output::WakeAt(at) => self.set_timer(at),
            Output::Steal => self.stand(true),
            Output::Announce(announcement) => {
                if let Some(channel) = &*self.channel.borrow() {
                    channel.announce(&announcement);
                }
            }
            Output::Reply { request, result } => self.calls.reply(request, result),
            Output::Notice(notice) => self.tell(&notice),
        }
    }

    /// Does something that takes a while, and gives the engine what came of it.
    fn spawn(self: &Rc<Self>, task: impl AsyncFnOnce(Rc<Self>) -> Input + 'static) {
        let shell = Rc::clone(self);
        spawn_local(async move {
            let input = task(Rc::clone(&shell)).await;
            shell.handle(input);
        });
    }

    /// What a database begins with may have been read before this tab could hear of what others append. What the app asks for when the
    /// database is open comes first.
    fn look_soon(self: &Rc<Self>) {
        let weak = Rc::downgrade(self);
        Timeout::new(0, move || handle_in(&weak, Input::Announced(Announcement::look()))).forget();
    }

    fn connect(self: &Rc<Self>, number: u64, client_id: &ClientId) {
        let weak = Rc::downgrade(self);
        let on_happening = move |happening| {
            let input = match happening {
                Happening::Opened => Input::SocketOpened { socket: number },
                Happening::Said(text) => Input::SocketSaid { socket: number, text },
                Happening::Closed => Input::SocketClosed { socket: number },
            };
            handle_in(&weak, input);
        };
        let hooks = self.hooks();
        let connect = hooks.as_ref().and_then(|hooks| hooks.connect.as_ref());
        let socket = connect.and_then(|connect| Socket::open(connect, client_id.as_str(), on_happening));
        if socket.is_none() {
            self.handle(Input::SocketClosed { socket: number });
        }
        self.socket.replace(socket);
    }

    fn set_timer(self: &Rc<Self>, at: Option<Duration>) {
        let timer = at.map(|at| {
            let wait = at.saturating_sub(now().monotonic);
            let millis = u32::try_from(wait.as_millis())
                .unwrap_or(u32::MAX)
                .saturating_add(TIMER_SLACK_MS)
                .min(LONGEST_TIMER_MS);
            let weak = Rc::downgrade(self);
            Timeout::new(millis, move || handle_in(&weak, Input::Wake))
        });
        self.timer.replace(timer);
    }

    fn wants_changes(&self) -> bool {
        let hooks = self.hooks();
        let wants = hooks.and_then(|hooks| hooks.wants_changes.as_ref()?.call0(&JsValue::NULL).ok());
        wants.is_none_or(|wants| wants.is_truthy())
    }

    fn tell(&self, notice: &Notice) {
        let (kind, json) = match notice {
            Notice::Status(status) => ("status", status.to_json()),
            Notice::Error(error) => ("error", error.to_json()),
            // Thousands of ids that nobody wants take longer to write down than their records.
            Notice::Change(change) => {
                ("change", if self.wants_changes() { change.to_json() } else { String::new() })
            }
            Notice::Conflict(json) => ("conflict", json.clone()),
            Notice::Rejected(json) => ("rejected", json.clone()),
            Notice::Superseded(json) => ("superseded", json.clone()),
            Notice::Progress(progress) => ("progress", progress.to_json()),
            Notice::DataLost(json) => ("dataLost", json.clone()),
        };
        if let Some(hooks) = self.hooks() {
            // A handler that throws is the app's affair; the facade reports it.
            let _ = hooks.on_event.call2(&JsValue::NULL, &JsValue::from_str(kind), &JsValue::from_str(&json));
        }
    }
}

/// Does what an output wants of the store. One function for all of them: each future of its own is some kilobytes of code.
async fn use_store(log: &Store, output: Output) -> Input {
    let input = match output {
        Output::Append { append, key, bytes } => match log.append(key, bytes).await {
            Outcome::Appended => Input::Appended { append },
            Outcome::Behind(given) => Input::Behind { append, given },
            Outcome::Failed(error) => Input::AppendFailed { append, error },
            Outcome::Unknown(error) => Input::AppendUnknown { append, error },
        },
        Output::Begin { read, may_create } => match log.begin(may_create).await {
            Ok(Beginning { root, rows, is_last }) => Input::Begun { read, root, rows, is_last },
            Err(error) => Input::ReadFailed { read, error },
        },
        Output::Read { read, after } => match log.read(after).await {
            Ok((rows, is_last)) => Input::Rows { read, rows, is_last },
            Err(error) => Input::ReadFailed { read, error },
        },
        Output::ReadSegments { read, segments } => match log.segments(&segments).await {
            Ok(segments) => Input::Segments { read, segments },
            Err(error) => Input::ReadFailed { read, error },
        },
        Output::ReadRoot { compaction } => match log.root().await {
            Ok(root) => Input::Root { compaction, root },
            Err(error) => fail_compaction(log, compaction, &error),
        },
        Output::WriteSegments { compaction, keep, segments } => {
            match log.write_segments(keep, segments).await {
                Ok(Some(keys)) => Input::SegmentsWritten { compaction, keys },
                Ok(None) => Input::CompactionFailed { compaction },
                Err(error) => fail_compaction(log, compaction, &error),
            }
        }
        Output::Compact { compaction, replaces, root, segments, through } => {
            let new = NewRoot { replaces, root, segments, through };
            match log.compact(new).await {
                Ok(true) => Input::Compacted { compaction },
                Ok(false) => Input::CompactionFailed { compaction },
                Err(error) => fail_compaction(log, compaction, &error),
            }
        }
        // What is not the store's.
        _ => Input::Wake,
    };
    match &input {
        Input::AppendFailed { error, .. }
        | Input::AppendUnknown { error, .. }
        | Input::ReadFailed { error, .. } => {
            log.failed(error);
        }
        _ => {}
    }
    input
}

fn fail_compaction(log: &Store, compaction: u64, error: &Error) -> Input {
    log.failed(error);
    Input::CompactionFailed { compaction }
}

/// Whether a page that goes is kept, or one that is shown was.
fn is_persisted(event: &JsValue) -> bool {
    Reflect::get(event, &JsValue::from_str("persisted")).is_ok_and(|persisted| persisted.is_truthy())
}

/// Lets go of an engine and of its records, of each portion in a task of its own.
fn let_go(mut engine: Box<Engine>) {
    if engine.drop_next() {
        Timeout::new(0, move || let_go(engine)).forget();
    }
}

fn handle_in(shell: &Weak<Shell>, input: Input) {
    if let Some(shell) = shell.upgrade() {
        shell.handle(input);
    }
}
