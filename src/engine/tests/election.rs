//! Which tab syncs where there are no Web Locks.

use super::*;
use crate::engine::random::Random;

/// As long as an election may take.
const SOON: Duration = Duration::from_millis(500);
/// As long as it may take until a leader is missed that went without a word.
const MISSED: Duration = Duration::from_secs(25);

/// A database that so many tabs open at once, in a browser without Web Locks.
fn lockless(config: Config, tabs: usize) -> World {
    let mut world = World { is_lockless: true, ..World::empty(config) };
    for _ in 0..tabs {
        world.open_tab();
    }
    world
}

/// The tab is frozen: it hears nothing, and what is said to it is lost.
fn freeze(world: &mut World, tab: usize) {
    world.tabs[tab].is_alive = false;
}

fn wake(world: &mut World, tab: usize) {
    world.tabs[tab].is_alive = true;
    world.give(tab, Input::Nudge);
    world.settle();
}

#[test]
fn a_tab_that_is_alone_leads_soon() {
    let mut world = lockless(automatic(), 1);
    assert!(world.leaders().is_empty());
    world.advance(SOON);
    assert_eq!(world.leader(), 0);
    assert!(world.is_sending(0), "it syncs");
}

#[test]
fn of_tabs_that_are_opened_at_once_one_leads() {
    let mut world = lockless(automatic(), 8);
    world.advance(SOON);
    let first = world.leader();
    world.answer(first, json!({ "results": [], "serverChanges": [], "checkpoint": "c0" }));
    world.advance(Duration::from_secs(50));
    assert_eq!(world.leader(), first, "and goes on");
}

#[test]
fn a_tab_that_is_opened_later_follows() {
    let mut world = lockless(local(), 1);
    world.advance(SOON);
    world.open_tab();
    world.advance(MISSED);
    assert_eq!(world.leader(), 0);
}

/// Goal: what a page without a server writes is made compact as well, which is the leader's work.
#[test]
fn a_database_that_is_not_synced_has_a_leader() {
    let mut world = lockless(local(), 2);
    world.advance(SOON);
    world.leader();
}

#[test]
fn where_tabs_cannot_talk_each_of_them_leads() {
    let mut world = World::empty(local());
    for _ in 0..2 {
        let (tab, _) = world.start_tab();
        world.give(tab, Input::Lockless { has_channel: false });
        world.settle();
    }
    assert_eq!(world.leaders(), [0, 1]);
}

#[test]
fn a_leader_that_goes_is_replaced_soon() {
    let mut world = lockless(local(), 5);
    world.advance(SOON);
    for left in (1..5).rev() {
        let old = world.leader();
        world.give(old, Input::Leaving);
        world.crash(old);
        world.settle();
        world.advance(SOON);
        assert_ne!(world.leader(), old, "{left} are left");
    }
}

#[test]
fn a_leader_that_crashes_is_missed() {
    let mut world = lockless(local(), 3);
    world.advance(SOON);
    let old = world.leader();
    world.crash(old);
    world.advance(MISSED);
    assert_ne!(world.leader(), old);
}

#[test]
fn a_call_of_sync_waits_for_the_election() {
    let mut world = lockless(by_hand(), 2);
    let call = world.start_sync(1);
    world.advance(SOON);
    let leader = world.leader();
    if leader != 1 {
        // The other tab did not lead when it was asked.
        world.crash(leader);
        world.advance(MISSED);
    }
    world.apply_all(1, 1, json!([]), "c1");
    assert_eq!(world.report(1, call).requests, 1);
}

/// Goal: a leader that was frozen, so that another one was elected, gives way when it wakes, though it heard nothing of it.
#[test]
fn a_leader_that_wakes_gives_way() {
    let mut world = lockless(automatic(), 3);
    world.advance(SOON);
    let old = world.leader();
    world.answer(old, json!({ "results": [], "serverChanges": [], "checkpoint": "c0" }));
    world.write(old, create("story", json!({ "id": "a", "title": "t" }))).unwrap();
    world.start_sync(old);
    freeze(&mut world, old);
    world.advance(MISSED);
    let new = world.leader();
    world.answer_probe(new);
    world.apply_all(new, 1, json!([]), "c1");
    wake(&mut world, old);
    assert_eq!(world.leader(), new);
    let rows = world.disk.len();
    let stale = json!({ "results": [rejected("stale")], "serverChanges": [], "checkpoint": "old" });
    world.answer(old, stale);
    assert_eq!(
        (world.disk.len(), world.rejected(old).len()),
        (rows, 0),
        "what it had in hand is worth nothing"
    );
    assert_eq!(world.tabs[old].engine.state(), world.tabs[new].engine.state());
}

/// Goal: a page that is kept to come back goes on where it was, when nobody took its place.
#[test]
fn a_page_that_comes_back_leads_still_if_nobody_took_its_place() {
    let mut world = lockless(local(), 1);
    world.advance(SOON);
    world.give(0, Input::Leaving);
    freeze(&mut world, 0);
    world.now += Duration::from_secs(3600);
    wake(&mut world, 0);
    assert_eq!(world.leader(), 0);
}

/// Goal: two that were elected without hearing of each other are one as soon as anything is heard.
#[test]
fn of_two_leaders_that_hear_of_each_other_one_stays() {
    let mut world = lockless(local(), 0);
    for _ in 0..2 {
        let tab = world.open_tab();
        world.advance(SOON);
        if tab == 0 {
            freeze(&mut world, 0);
        }
    }
    world.tabs[0].is_alive = true;
    assert_eq!(world.leaders(), [0, 1]);
    world.open_tab();
    world.leader();
    world.advance(MISSED);
    world.leader();
}

/// Goal: whatever happens to tabs and to what they say, there is one leader once it has stopped.
#[test]
fn after_any_faults_one_tab_leads() {
    for seed in 0..300_u64 {
        let mut seeds = [0; 32];
        seeds[..8].copy_from_slice(&seed.to_le_bytes());
        let mut random = Random::new(seeds);
        let mut world = lockless(local(), 2);
        let mut frozen = Vec::new();
        for _ in 0..60 {
            let alive: Vec<usize> = (0..world.tabs.len()).filter(|tab| world.tabs[*tab].is_alive).collect();
            let tab = alive.get(usize::try_from(random.up_to(9)).unwrap()).copied();
            match (random.up_to(7), tab) {
                (0, _) if alive.len() < 6 => {
                    world.open_tab();
                }
                (1, Some(tab)) => {
                    world.give(tab, Input::Leaving);
                    if random.up_to(1) == 0 {
                        frozen.push(tab);
                    }
                    freeze(&mut world, tab);
                }
                (2, Some(tab)) => world.crash(tab),
                (3, Some(tab)) => {
                    freeze(&mut world, tab);
                    frozen.push(tab);
                }
                (4, _) => {
                    if let Some(tab) = frozen.pop() {
                        wake(&mut world, tab);
                    }
                }
                (5, Some(tab)) => {
                    // What waits there is lost.
                    world.give(tab, Input::Wake);
                    for tab in &mut world.tabs {
                        tab.inbox.clear();
                    }
                }
                _ => world.advance(Duration::from_millis(random.up_to(9_000))),
            }
        }
        while let Some(tab) = frozen.pop() {
            wake(&mut world, tab);
        }
        world.settle();
        world.open_tab();
        world.advance(MISSED);
        assert_eq!(world.leaders().len(), 1, "seed {seed}: {:?}", world.leaders());
    }
}
