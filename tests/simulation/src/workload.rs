//! What happens next: one generator draws people's deeds, the steps of the machinery in any order, and the faults of this world.

use crate::action::{Action, CarryFate, Choice, Cut, DiskFate, Harm, SocketWord, Stored, WriteKind};
use crate::random::Random;
use crate::setup::{Faults, OBJECTS, PRICE, RELEASES};
use crate::world::World;

const HOUR_MS: i64 = 3_600_000;
const YEAR_MS: i64 = 31_536_000_000;
/// How many tries to find something that can happen, before time passes.
const TRIES: usize = 8;

const CHOICES: [Choice; 6] =
    [Choice::Mine, Choice::Theirs, Choice::Record, Choice::Retry, Choice::RetryMended, Choice::Discard];

const SOCKET_WORDS: [SocketWord; 7] = [
    SocketWord::Opened,
    SocketWord::Ready,
    SocketWord::Poke,
    SocketWord::Poke,
    SocketWord::Beat,
    SocketWord::Unknown,
    SocketWord::Closed,
];

/// Draws actions.
pub(crate) struct Workload {
    random: Random,
    backups: usize,
}

impl Workload {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed ^ 0x00ac_7105), backups: 0 }
    }

    /// The next thing to happen.
    pub(crate) fn next(&mut self, world: &World) -> Action {
        if let Some(fault) = self.fault(world) {
            return fault;
        }
        if self.random.chance(world.setup.writing)
            && let Some(action) = self.deed(world)
        {
            return action;
        }
        for _ in 0..TRIES {
            let client = self.random.below(world.clients.len());
            let found = match self.random.below(10) {
                0..5 => self.machinery(world, client),
                5..9 => self.traffic(world),
                _ => None,
            };
            if let Some(action) = found {
                return action;
            }
        }
        Action::Time { ms: self.random.pick(&[1, 10, 100, 300, 1000, 5000, 20_000]) }
    }

    fn tab(&mut self, world: &World, client: usize) -> Option<usize> {
        let tabs: Vec<usize> = world.clients[client].alive().collect();
        (!tabs.is_empty()).then(|| self.random.pick(&tabs))
    }

    /// One of the steps that a client's machinery has to take.
    fn machinery(&mut self, world: &World, client: usize) -> Option<Action> {
        let Some(tab) = self.tab(world, client) else {
            return self.random.chance(300).then_some(Action::Open { client });
        };
        let place = &world.clients[client].tabs[tab];
        if place.store.is_some() || !place.reading.is_empty() {
            if world.clients[client].is_store_away(world.now) {
                return None;
            }
            return Some(Action::Disk { client, tab, fate: self.disk_fate(&world.setup.faults) });
        }
        if place.step.is_some() && self.random.chance(600) {
            return Some(Action::Compact { client, tab, fate: self.disk_fate(&world.setup.faults) });
        }
        if place.is_frozen {
            return self.random.chance(100).then_some(Action::Thaw { client, tab });
        }
        let is_done = place.done.is_some() || !place.read_done.is_empty() || place.step_done.is_some();
        if is_done && self.random.chance(800) {
            return Some(Action::Report { client, tab });
        }
        if !place.lock_news.is_empty() && self.random.chance(700) {
            return Some(Action::Lock { client, tab });
        }
        if world.setup.faults.release > 0 && world.can_migrate(client, tab) && self.random.chance(700) {
            let most = self.random.pick(&[0, 1, 1, 2, 5, 1000]);
            return Some(Action::Migrate { client, tab, most });
        }
        if place.socket.is_some() && self.random.chance(200) {
            return Some(Action::Socket { client, tab, word: self.random.pick(&SOCKET_WORDS) });
        }
        if !place.inbox.is_empty() {
            let place = if self.random.chance(200) { self.random.below(4) } else { 0 };
            return Some(match self.random.chance(world.setup.faults.announcement_lost) {
                true => Action::Miss { client, tab, place },
                false => Action::Hear { client, tab, place },
            });
        }
        None
    }

    fn disk_fate(&mut self, faults: &Faults) -> DiskFate {
        if self.random.chance(faults.quota) {
            DiskFate::Quota
        } else if self.random.chance(faults.disk_failed) {
            DiskFate::Failed
        } else if self.random.chance(faults.unknown) {
            self.random.pick(&[DiskFate::UnknownMade, DiskFate::UnknownNotMade])
        } else {
            DiskFate::Done
        }
    }

    fn traffic(&mut self, world: &World) -> Option<Action> {
        let (requests, answers) = (world.network.requests.len(), world.network.answers.len());
        if answers > 0 && self.random.chance(600) {
            return Some(Action::Answer { packet: self.random.below(answers) });
        }
        if requests == 0 {
            return None;
        }
        let packet = self.random.below(requests);
        // A copy waits for long, so that it comes late.
        if world.network.requests[packet].is_copy && self.random.chance(900) {
            return None;
        }
        let faults = &world.setup.faults;
        let (fuse, crashes) = if self.random.chance(faults.server_failed) {
            (self.random.below(14), self.random.chance(500))
        } else {
            (0, false)
        };
        Some(Action::Carry {
            packet,
            fate: self.carry_fate(faults, world.setup.has_late_requests()),
            fuse,
            crashes,
        })
    }

    fn carry_fate(&mut self, faults: &Faults, has_late_requests: bool) -> CarryFate {
        use CarryFate as Fate;
        const STATUSES: [Fate; 9] = [
            Fate::Status401,
            Fate::Status401,
            Fate::Status403,
            Fate::Status408,
            Fate::Status413,
            Fate::Status429,
            Fate::Status500,
            Fate::Status503,
            Fate::Status400,
        ];
        let copies: &[Fate] = if has_late_requests { &[Fate::Copied, Fate::Held] } else { &[Fate::Lost] };
        let menu: [(usize, &[Fate]); 7] = [
            (faults.request_lost, &[Fate::Lost]),
            (faults.answer_lost, &[Fate::AnswerLost]),
            (faults.hang, &[Fate::Hangs, Fate::AnswerHangs]),
            (faults.copied, copies),
            (faults.status, &STATUSES),
            (faults.portal, &[Fate::Html, Fate::Redirected]),
            (faults.damaged, &[Fate::Truncated, Fate::Corrupted]),
        ];
        for (rate, fates) in menu {
            if self.random.chance(rate) {
                return self.random.pick(fates);
            }
        }
        Fate::Arrives
    }

    /// Something that a person does.
    fn deed(&mut self, world: &World) -> Option<Action> {
        let client = self.random.below(world.clients.len());
        let tab = self.tab(world, client)?;
        Some(match self.random.below(100) {
            0..4 => Action::Sync { client, tab },
            4..8 => Action::Nudge { client, tab },
            8..10 => Action::Open { client },
            10 => Action::Load { client, tab, object: self.random.below(OBJECTS.len()) },
            11..25 => {
                let (place, choice) = (self.random.below(8), self.random.pick(&CHOICES));
                Action::Decide { client, tab, place, choice }
            }
            _ => self.write(world, client, tab),
        })
    }

    fn write(&mut self, world: &World, client: usize, tab: usize) -> Action {
        let object = self.random.pick(&world.setup.objects);
        let record = if self.random.chance(80) {
            1000 + world.next_token * 10
        } else {
            self.random.below(world.setup.hot_records)
        };
        let tabs = &world.clients[client].tabs;
        let has_undone = tabs.get(tab).is_some_and(|tab| tab.engine.status().redoable > 0);
        let kind = match self.random.below(100) {
            // Before the next write, or never.
            0..20 if has_undone => WriteKind::Redo,
            0..30 => WriteKind::Create,
            30..65 => WriteKind::Update,
            65..75 => WriteKind::Upsert,
            75..87 => WriteKind::Delete,
            87..90 => WriteKind::Early,
            90..92 => WriteKind::Bulk,
            92 => WriteKind::Transaction,
            93 => self.random.pick(&[
                WriteKind::Transaction,
                WriteKind::UpdateAll,
                WriteKind::DeleteSome,
                WriteKind::Undo,
                WriteKind::Undo,
                WriteKind::Redo,
            ]),
            94..97 => WriteKind::BadCreate,
            _ => WriteKind::BadUpdate,
        };
        let value = self.random.below(56);
        if object == PRICE && !self.random.chance(100) {
            return Action::ServerWrite { record, kind, value };
        }
        Action::Write { client, tab, object, record, kind, value }
    }

    /// One of the faults that this world knows, at its rate.
    fn fault(&mut self, world: &World) -> Option<Action> {
        let faults = world.setup.faults;
        let client = self.random.below(world.clients.len());
        if self.random.chance(faults.crash) {
            return Some(Action::Crash { client, tab: self.tab(world, client)? });
        }
        if self.random.chance(faults.crash_browser) {
            return Some(Action::CrashBrowser { client });
        }
        if self.random.chance(faults.freeze) {
            // The tab that leads, more often than not: that is where it hurts.
            let leader = world.clients[client].lock.filter(|_| self.random.chance(600));
            return Some(Action::Freeze { client, tab: leader.or_else(|| self.tab(world, client))? });
        }
        if self.random.chance(faults.steal) {
            return Some(Action::Steal { client, tab: self.tab(world, client)? });
        }
        if self.random.chance(faults.partition) {
            // Durations are about exponential: many short ones, a few that last.
            let ms = 100 << self.random.below(11);
            return Some(Action::Partition {
                client,
                cut: self.random.pick(&[Cut::Up, Cut::Down, Cut::Both]),
                ms,
            });
        }
        if self.random.chance(faults.client_clock) {
            let ms = self.random.pick(&[YEAR_MS, -YEAR_MS, -HOUR_MS, HOUR_MS, 60_000]);
            return Some(Action::ClientClock { client, ms });
        }
        if self.random.chance(faults.server_clock) {
            return Some(Action::ServerClock { ms: self.random.pick(&[-HOUR_MS, HOUR_MS, 5000, -5000]) });
        }
        if self.random.chance(faults.prune) {
            return Some(Action::Prune { age_ms: self.random.pick(&[0, 1000, 30_000, 600_000]) });
        }
        if self.random.chance(faults.restore) {
            if self.backups == 0 || self.random.chance(600) {
                self.backups += 1;
                return Some(Action::Backup { number: self.backups });
            }
            return Some(Action::Restore { number: self.random.within(1, self.backups) });
        }
        if self.random.chance(faults.store_closed) {
            const FATES: [DiskFate; 3] = [DiskFate::Failed, DiskFate::UnknownMade, DiskFate::UnknownNotMade];
            // Up to some minutes: an upgrade in another tab, or a browser that does not answer.
            let ms = 50 << self.random.below(13);
            return Some(Action::CloseStore { client, fate: self.random.pick(&FATES), ms });
        }
        if self.random.chance(faults.deploy) {
            let edition = self.random.below(world.editions.len());
            return Some(Action::Deploy { client, edition });
        }
        if world.setup.has_late_requests() && self.random.chance(faults.clone) {
            return Some(Action::Clone { client });
        }
        self.store_fault(world, client)
    }

    /// One of the faults of what is stored.
    fn store_fault(&mut self, world: &World, client: usize) -> Option<Action> {
        const HARMS: [Harm; 4] = [Harm::Flip, Harm::Truncated, Harm::Empty, Harm::Gone];
        const STORED: [Stored; 5] =
            [Stored::Row, Stored::Row, Stored::Segment, Stored::Segment, Stored::Root];
        let faults = world.setup.faults;
        if self.random.chance(faults.damage) {
            let (what, harm) = (self.random.pick(&STORED), self.random.pick(&HARMS));
            let (place, bit) = (self.random.below(1000), self.random.below(100_000));
            return Some(Action::Damage { client, what, place, harm, bit });
        }
        if self.random.chance(faults.clear) {
            return Some(Action::Clear { client });
        }
        if world.setup.has_late_requests() && self.random.chance(faults.put_back) {
            if world.clients[client].saved.is_none() || self.random.chance(500) {
                return Some(Action::Save { client });
            }
            return Some(Action::PutBack { client });
        }
        if self.random.chance(faults.release) {
            // Forwards as a rule.
            let latest = world.clients[client].latest_release;
            let number = if self.random.chance(600) {
                RELEASES.min(latest + 1)
            } else {
                self.random.below(latest + 1)
            };
            return Some(Action::Release { client, number });
        }
        None
    }
}
