//! The network: requests and answers on their way, and what happens to them there.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use objectql_offline::engine::{Answer, RetryAfter};
use objectql_offline::error::Error;
use objectql_sync_protocol::{MutationId, ReceivedMutation, ReceivedPush};

use crate::action::{CarryFate, Cut};
use crate::coverage::Sight;
use crate::invariants;
use crate::server::Trouble;
use crate::world::World;

/// A proxy keeps no more copies than this.
const MAX_COPIES: usize = 20;

/// What is on its way.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) requests: Vec<Request>,
    pub(crate) answers: Vec<Answered>,
    /// The mutations whose verdict was given and never arrived.
    lost_verdicts: BTreeSet<MutationId>,
    /// Whether what is given up never arrives.
    is_prompt: bool,
    /// How many requests the server handled.
    pub(crate) handled: u64,
    /// A mutation that makes whatever is in front of the server refuse whole requests.
    pub(crate) poison: Option<Poison>,
}

/// A mutation for which whole requests are refused.
#[derive(Debug)]
pub(crate) struct Poison {
    pub(crate) mutation: MutationId,
    pub(crate) status: u16,
    /// How many requests with mutations came since.
    pub(crate) pushes: usize,
}

/// A request on its way.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) client: usize,
    pub(crate) tab: usize,
    pub(crate) send: u64,
    body: Rc<[u8]>,
    mutations: Rc<[MutationId]>,
    /// A copy that a proxy kept: nobody waits for the answer.
    pub(crate) is_copy: bool,
}

/// An answer on its way.
#[derive(Debug)]
pub(crate) struct Answered {
    request: Request,
    answer: Answer,
}

impl Network {
    pub(crate) fn new(is_prompt: bool) -> Self {
        Self { is_prompt, ..Self::default() }
    }

    /// A tab is gone: what it sent may still arrive, and no answer finds it.
    pub(crate) fn forget_tab(&mut self, client: usize, tab: usize) {
        let is_its = |request: &Request| request.client == client && request.tab == tab;
        self.give_up(is_its);
        let lost = self.answers.iter().filter(|answered| is_its(&answered.request));
        let lost: Vec<MutationId> = lost.flat_map(|it| it.request.mutations.iter().copied()).collect();
        self.lost_verdicts.extend(lost);
        self.answers.retain(|answered| !is_its(&answered.request));
    }

    /// A shell gave a request up: what is on its way may still arrive.
    pub(crate) fn abort(&mut self, client: usize, tab: usize, send: u64) {
        let is_it =
            |request: &Request| request.client == client && request.tab == tab && request.send == send;
        self.give_up(is_it);
        self.answers.retain(|answered| !is_it(&answered.request));
    }
}

impl Network {
    fn give_up(&mut self, is_given_up: impl Fn(&Request) -> bool) {
        if self.is_prompt {
            self.requests.retain(|request| !is_given_up(request));
        }
        for request in self.requests.iter_mut().filter(|request| is_given_up(request)) {
            request.is_copy = true;
        }
    }
}

impl World {
    /// A request leaves a tab.
    pub(crate) fn send(&mut self, at: usize, tab: usize, send: u64, body: Vec<u8>) {
        if let Some((other, _)) = self.clients[at].tabs[tab].sending {
            self.violate(format!("S20: request {send} leaves while {other} is under way"));
        }
        self.clients[at].tabs[tab].sending = Some((send, self.now));
        let mutations: Vec<MutationId> = match ReceivedPush::parse(&body) {
            Ok(push) => {
                let checked = invariants::check_request(self, at, tab, &push);
                checked.unwrap_or_else(|violation| self.violate(violation));
                self.note_sent(at, tab, &push);
                let valid = |mutation: &ReceivedMutation| match mutation {
                    ReceivedMutation::Valid(mutation) => Some(mutation.id),
                    ReceivedMutation::Invalid { .. } => None,
                };
                push.mutations.iter().filter_map(valid).collect()
            }
            Err(error) => return self.violate(format!("a request that no server reads: {error}")),
        };
        if !mutations.is_empty() && mutations.iter().all(|id| self.network.lost_verdicts.contains(id)) {
            self.coverage.saw(Sight::BatchResent);
        }
        let request =
            Request { client: at, tab, send, body: body.into(), mutations: mutations.into(), is_copy: false };
        self.network.requests.push(request);
    }

    fn note_sent(&mut self, at: usize, tab: usize, push: &ReceivedPush) {
        let life = self.clients[at].tabs[tab].life;
        for mutation in &push.mutations {
            if let ReceivedMutation::Valid(mutation) = mutation {
                let numbered = (mutation.client_id.clone(), mutation.sequence);
                self.clients[at].lives[life].ledger.sent.insert(numbered, mutation.id);
            }
        }
    }

    /// Something happens to a request.
    pub(crate) fn carry(&mut self, packet: usize, fate: CarryFate, fuse: usize, crashes: bool) {
        if self.network.requests.is_empty() {
            return;
        }
        let place = packet % self.network.requests.len();
        let is_cut = {
            let request = &self.network.requests[place];
            self.clients[request.client].is_cut(self.now, [Cut::Up, Cut::Both])
        };
        if fate == CarryFate::Copied && self.network.requests.len() < MAX_COPIES {
            let copy = Request { is_copy: true, ..self.network.requests[place].clone() };
            self.network.requests.push(copy);
        }
        let mut request = self.network.requests.swap_remove(place);
        match fate {
            _ if is_cut && !request.is_copy => self.lose_request(&request),
            CarryFate::Lost => self.lose_request(&request),
            CarryFate::Hangs => self.coverage.saw(Sight::Hang),
            CarryFate::Held => {
                self.lose_request(&request);
                request.is_copy = true;
                if self.network.requests.len() < MAX_COPIES {
                    self.network.requests.push(request);
                }
            }
            _ => match status_of(fate) {
                // Nobody waits for the answer to a copy.
                Some(_) if request.is_copy => {}
                Some(status) => {
                    let answer = self.refusal(status);
                    self.network.answers.push(Answered { request, answer });
                }
                None => self.handle(request, fate, Trouble { fuse, crashes }),
            },
        }
    }

    fn lose_request(&mut self, request: &Request) {
        self.coverage.saw(Sight::RequestLost);
        self.tell_failed(request);
    }

    fn tell_failed(&mut self, request: &Request) {
        if !request.is_copy {
            let error = Error::Network("the connection broke".to_owned());
            self.fail_send(request.client, request.tab, request.send, error);
        }
    }

    /// The server handles a request, and something may happen to the answer.
    fn handle(&mut self, request: Request, fate: CarryFate, trouble: Trouble) {
        if let Some(poison) = &mut self.network.poison {
            poison.pushes += usize::from(!request.mutations.is_empty());
            if request.mutations.contains(&poison.mutation) {
                let status = poison.status;
                let answer = self.refusal(status);
                return self.network.answers.push(Answered { request, answer });
            }
        }
        if request.mutations.len() > self.setup.proxy_takes {
            let answer = self.refusal(413);
            if !request.is_copy {
                self.network.answers.push(Answered { request, answer });
            }
            return;
        }
        if request.is_copy {
            self.coverage.saw(Sight::LateDuplicate);
        }
        let known = self.server.history().map_or(0, |history| {
            request.mutations.iter().filter(|id| history.verdicts.contains_key(id)).count()
        });
        self.steps += 1;
        self.network.handled += 1;
        let now = self.server_now();
        let answer = self.server.answer(&request.body, now, trouble, &mut self.coverage);
        let text = answer.as_ref().map(|it| self.server.without_chance(&String::from_utf8_lossy(&it.body)));
        self.trace.note(&text);
        self.trace
            .tell(|| format!("           server answers {:?} {text:?}", answer.as_ref().map(|it| it.status)));
        let is_down = self.clients[request.client].is_cut(self.now, [Cut::Down, Cut::Both]);
        let is_lost = is_down || matches!(fate, CarryFate::AnswerLost | CarryFate::AnswerHangs);
        let Some(mut answer) = answer.filter(|_| !is_lost && !request.is_copy) else {
            self.network.lost_verdicts.extend(request.mutations.iter());
            return match fate {
                CarryFate::AnswerHangs => self.coverage.saw(Sight::Hang),
                _ => {
                    self.coverage.saw(Sight::AnswerLost);
                    self.tell_failed(&request);
                }
            };
        };
        if known > 0 && answer.status == 200 {
            self.coverage.saw(Sight::VerdictRepeated);
        }
        match fate {
            CarryFate::Html => {
                self.coverage.saw(Sight::Portal);
                answer.content_type = "text/html".to_owned();
                answer.body = b"<html>Please log in</html>".to_vec();
            }
            CarryFate::Redirected => {
                self.coverage.saw(Sight::Portal);
                answer.is_redirected = true;
            }
            CarryFate::Truncated => {
                self.coverage.saw(Sight::Damaged);
                answer.body.truncate(answer.body.len() / 2);
            }
            CarryFate::Corrupted => {
                self.coverage.saw(Sight::Damaged);
                let place = answer.body.len() / 2;
                if let Some(byte) = answer.body.get_mut(place) {
                    // No text has this byte: what else changes on the way, TLS finds.
                    *byte = 0xff;
                }
            }
            _ => {}
        }
        if answer.status == 200 && matches!(fate, CarryFate::Html | CarryFate::Redirected) {
            self.network.lost_verdicts.extend(request.mutations.iter());
        }
        self.network.answers.push(Answered { request, answer });
    }

    fn refusal(&mut self, status: u16) -> Answer {
        match status {
            401 | 403 => self.coverage.saw(Sight::Unauthorized),
            413 => self.coverage.saw(Sight::TooLarge),
            429 => self.coverage.saw(Sight::RetryAfter),
            _ => {}
        }
        let retry_after = match status {
            429 => Some(RetryAfter::In(Duration::from_secs(3))),
            503 => Some(RetryAfter::At(self.server_now())),
            _ => None,
        };
        Answer {
            status,
            content_type: "text/html".to_owned(),
            retry_after,
            body: b"<html>no</html>".to_vec(),
            ..Answer::default()
        }
    }

    /// The first answer whose tab is awake.
    pub(crate) fn next_answer(&self) -> Option<usize> {
        let is_heard =
            |Answered { request, .. }: &Answered| self.clients[request.client].is_awake(request.tab);
        self.network.answers.iter().position(is_heard)
    }

    /// An answer reaches its tab, if it is there; a frozen one gets it later.
    pub(crate) fn deliver_answer(&mut self, packet: usize) {
        if self.network.answers.is_empty() {
            return;
        }
        let place = packet % self.network.answers.len();
        let request = &self.network.answers[place].request;
        let (client, tab, send) = (request.client, request.tab, request.send);
        if !self.clients[client].is_awake(tab) {
            return;
        }
        let Answered { answer, request } = self.network.answers.swap_remove(place);
        if answer.status == 200 {
            for id in request.mutations.iter() {
                self.network.lost_verdicts.remove(id);
            }
        }
        self.answer_send(client, tab, send, answer);
    }
}

/// The status a proxy answers with, if it does.
const fn status_of(fate: CarryFate) -> Option<u16> {
    match fate {
        CarryFate::Status400 => Some(400),
        CarryFate::Status401 => Some(401),
        CarryFate::Status403 => Some(403),
        CarryFate::Status408 => Some(408),
        CarryFate::Status413 => Some(413),
        CarryFate::Status429 => Some(429),
        CarryFate::Status500 => Some(500),
        CarryFate::Status503 => Some(503),
        CarryFate::Arrives
        | CarryFate::Lost
        | CarryFate::AnswerLost
        | CarryFate::AnswerHangs
        | CarryFate::Hangs
        | CarryFate::Copied
        | CarryFate::Held
        | CarryFate::Html
        | CarryFate::Redirected
        | CarryFate::Truncated
        | CarryFate::Corrupted => None,
    }
}
