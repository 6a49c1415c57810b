//! Where a joiner begins: whose answer counts, how long others are waited for, and what an answer says.

use super::{ANSWERS_MAX, BaselineState, GATHER_MS};
use crate::base::interface::{Event, LinkId};
use crate::base::message::{History, JoinOptions};
use crate::base::status::Role;
use crate::multicast::fixture::{
    EPOCH, ME, ORIGIN, OWN_EPOCH, Peer, WALL_MS, bundle_frame, key, log_key, news, sign,
    signed_header,
};
use crate::wire::Bundle;
use crate::wire::frame::{Baseline, BaselineOrigin, Frame, Subscribe};

/// What a neighbour answers of an origin, proven by `proof`.
fn origin(number: u8, settled: u64, proof: Option<&Bundle>, past: &[u64]) -> BaselineOrigin {
    BaselineOrigin {
        origin: key(number).peer(),
        epoch: EPOCH,
        settled,
        proof: proof.map(signed_header),
        age_ms: 0,
        past: past.iter().map(|seq| (*seq, WALL_MS + seq)).collect(),
    }
}

fn answer(peer: &Peer, origins: Vec<BaselineOrigin>) -> Baseline {
    Baseline {
        group: peer.id,
        older_ms: 0,
        alone: false,
        origins,
        last: true,
    }
}

/// Whether the member was told that it has joined, and if so whether a neighbour gave the baseline.
fn joined(peer: &mut Peer) -> Option<bool> {
    let events = std::mem::take(&mut peer.events);
    let mut joined = events.into_iter().filter_map(|event| match event {
        Event::Joined { from_neighbour, .. } => Some(from_neighbour),
        _ => None,
    });
    joined.next()
}

#[test]
fn a_joiner_that_wants_no_past_takes_the_first_answer() {
    let mut peer = Peer::joiner(History::None);
    let (first, second) = (peer.subscriber(2), peer.subscriber(3));
    let all = peer.messages(ORIGIN, 3);
    let said = answer(&peer, vec![origin(ORIGIN, 3, Some(&all[2]), &[])]);
    peer.say(first, said);
    assert_eq!(joined(&mut peer), Some(true));
    assert!(matches!(peer.group().baseline, BaselineState::Taken));
    assert_eq!(peer.log(ORIGIN).settled(), 3);
    let said = answer(&peer, vec![origin(ORIGIN, 1, Some(&all[0]), &[])]);
    peer.say(second, said);
    assert_eq!(peer.counted("baselines_unasked"), 1);
}

#[test]
fn with_the_past_asked_for_others_are_waited_for_a_moment() {
    let mut peer = Peer::joiner(History::Last(2));
    let (first, second) = (peer.subscriber(2), peer.subscriber(3));
    let (nine, ten) = (peer.messages(9, 4), peer.messages(10, 4));
    let told = |settled: usize, past: &[u64]| {
        let (nine, ten) = (&nine[settled - 1], &ten[settled - 1]);
        let settled = settled as u64;
        vec![
            origin(9, settled, Some(nine), past),
            origin(10, settled, Some(ten), &[]),
        ]
    };
    let said = answer(&peer, told(4, &[4]));
    peer.say(first, said.clone());
    peer.wait_ms(GATHER_MS - 1);
    peer.run_timers();
    // The same neighbour a second time is not another one.
    peer.say(first, said);
    assert_eq!(joined(&mut peer), None);
    // What the second has settled does not count; the past that it holds does.
    let said = answer(&peer, told(2, &[2]));
    peer.say(second, said);
    assert_eq!(joined(&mut peer), Some(true));
    assert_eq!(peer.log(9).settled(), 1, "2 and 4 are the last two");
    assert_eq!(peer.log(10).settled(), 4);
}

#[test]
fn a_neighbour_that_does_not_answer_is_not_waited_for_longer() {
    let mut peer = Peer::joiner(History::Last(2));
    let first = peer.subscriber(2);
    peer.subscriber(3);
    let all = peer.messages(ORIGIN, 3);
    let said = answer(&peer, vec![origin(ORIGIN, 3, Some(&all[2]), &[3])]);
    peer.say(first, said);
    peer.wait_ms(GATHER_MS);
    peer.run_timers();
    assert_eq!(joined(&mut peer), Some(true));
    assert_eq!(peer.log(ORIGIN).settled(), 2);
}

#[test]
fn an_answer_in_several_frames_is_taken_with_the_last() {
    let mut peer = Peer::joiner(History::None);
    let link = peer.subscriber(2);
    let (nine, ten) = (peer.messages(9, 2), peer.messages(10, 1));
    let mut said = answer(&peer, vec![origin(9, 2, Some(&nine[1]), &[])]);
    said.last = false;
    peer.say(link, said);
    assert_eq!(joined(&mut peer), None);
    let said = answer(&peer, vec![origin(10, 1, Some(&ten[0]), &[])]);
    peer.say(link, said);
    assert_eq!(joined(&mut peer), Some(true));
    assert_eq!([9, 10].map(|origin| peer.log(origin).settled()), [2, 1]);
}

#[test]
fn without_an_answer_in_time_the_joiner_goes_on_alone() {
    let mut peer = Peer::joiner(History::None);
    peer.subscriber(2);
    let wait_ms = peer.core.config.groups.baseline_ms;
    peer.wait_ms(wait_ms - 1);
    peer.run_timers();
    assert_eq!(joined(&mut peer), None);
    peer.wait_ms(1);
    peer.run_timers();
    assert_eq!(joined(&mut peer), Some(false));
    assert!(peer.group().baseline.is_alone());
}

#[test]
fn an_answer_of_a_member_that_is_alone_itself_makes_nobody_less_alone() {
    let mut peer = Peer::joiner(History::None);
    let link = peer.subscriber(2);
    let mut said = answer(&peer, vec![]);
    said.alone = true;
    peer.say(link, said);
    assert_eq!(joined(&mut peer), Some(true));
    assert!(peer.group().baseline.is_alone());
}

#[test]
fn nobody_tells_a_peer_what_it_has_published_itself() {
    let mut peer = Peer::joiner(History::None);
    let link = peer.subscriber(2);
    let mut header = peer.header(ME, 1);
    header.epoch = OWN_EPOCH;
    let own = sign(ME, header);
    let mut told = origin(ME, 1, Some(&own), &[]);
    told.epoch = OWN_EPOCH;
    let said = answer(&peer, vec![told]);
    peer.say(link, said);
    assert_eq!(joined(&mut peer), Some(true));
    assert!(peer.group().logs.is_empty());
}

/// A member that has joined alone, and a neighbour that comes then.
fn alone(history: History) -> (Peer, LinkId) {
    let mut peer = Peer::joiner(history);
    let wait_ms = peer.core.config.groups.baseline_ms;
    peer.wait_ms(wait_ms);
    peer.run_timers();
    assert_eq!(joined(&mut peer), Some(false));
    let link = peer.subscriber(2);
    (peer, link)
}

/// An answer to what is asked now.
fn older(peer: &Peer, origins: Vec<BaselineOrigin>) -> Baseline {
    let mut said = answer(peer, origins);
    said.older_ms = peer.group().baseline.older_ms(peer.core.now.mono);
    said
}

#[test]
fn after_four_answers_that_knew_of_something_older_a_member_has_met_the_group() {
    let (mut peer, link) = alone(History::None);
    let all = peer.messages(ORIGIN, 1);
    for known in 1..=ANSWERS_MAX {
        assert!(peer.group().baseline.is_alone());
        // One that knows nothing does not count.
        let said = older(&peer, vec![]);
        peer.say(link, said);
        assert!(peer.group().baseline.is_alone(), "{known}");
        let said = older(&peer, vec![origin(ORIGIN, 1, Some(&all[0]), &[])]);
        peer.say(link, said);
    }
    assert!(matches!(peer.group().baseline, BaselineState::Taken));
}

#[test]
fn an_answer_that_calls_old_what_may_be_due_is_asked_for_again() {
    let (mut peer, link) = alone(History::None);
    let all = peer.messages(ORIGIN, 1);
    peer.wait_ms(1_000);
    for (origins, asks) in [
        (vec![origin(ORIGIN, 1, Some(&all[0]), &[])], true),
        (vec![], false),
    ] {
        let mut said = answer(&peer, origins);
        said.older_ms = 999;
        peer.say(link, said);
        let heard = peer.heard(link);
        let question = |frame: &Frame| matches!(frame, Frame::Subscribe(it) if it.baseline);
        assert_eq!(heard.iter().any(question), asks);
    }
    assert_eq!(peer.counted("baselines_late"), 2);
    assert!(peer.group().logs.is_empty());
}

#[test]
fn the_past_comes_from_the_first_answer_and_later_ones_do_not_take_it_away() {
    let (mut peer, link) = alone(History::Last(2));
    let all = peer.messages(ORIGIN, 3);
    let said = older(&peer, vec![origin(ORIGIN, 3, Some(&all[2]), &[2, 3])]);
    peer.say(link, said);
    assert_eq!(peer.log(ORIGIN).settled(), 1);
    let said = older(&peer, vec![origin(ORIGIN, 3, Some(&all[2]), &[])]);
    peer.say(link, said);
    assert_eq!(peer.log(ORIGIN).settled(), 1, "2 and 3 are still due");
}

#[test]
fn what_was_pushed_is_not_old_and_what_was_pulled_may_be() {
    for (is_pushed, settled) in [(true, 1), (false, 2)] {
        let (mut peer, link) = alone(History::None);
        let all = peer.messages(ORIGIN, 3);
        peer.say(link, bundle_frame(&all[1], 1, !is_pushed));
        let said = older(&peer, vec![origin(ORIGIN, 2, Some(&all[1]), &[])]);
        peer.say(link, said);
        // Either way the second is settled; the gap before it is due only where it was pushed.
        let lost = peer.log(ORIGIN).lost();
        assert_eq!(lost.last(), Some(settled), "pushed: {is_pushed}");
        assert_eq!(peer.seqs(), if is_pushed { vec![2] } else { vec![] });
        let before = peer.counted("messages_before_join");
        assert_eq!(before, u64::from(!is_pushed));
    }
}

#[test]
fn a_sender_that_joins_is_given_what_it_holds_of_the_past_that_it_asks_for() {
    for (history, seqs) in [(History::Last(2), vec![2, 3]), (History::None, vec![])] {
        let mut peer = Peer::member();
        let link = peer.subscriber(2);
        peer.group_mut().role = Role::Sender;
        peer.group_mut().delivering = false;
        let all = peer.messages_with(ORIGIN, 4, |header| header.published_at += header.seq);
        for bundle in &all[..3] {
            peer.push(link, bundle);
        }
        assert_eq!(peer.seqs(), []);
        let options = JoinOptions {
            history,
            ..JoinOptions::default()
        };
        let joins = peer.call(|groups, cx| groups.join_group(cx, news(), options));
        joins.expect("joins");
        peer.wait_ms(GATHER_MS);
        let wait_ms = peer.core.config.groups.baseline_ms;
        peer.wait_ms(wait_ms);
        peer.run_timers();
        assert_eq!(peer.seqs(), seqs);
        peer.push(link, &all[3]);
        assert_eq!(peer.seqs(), [4]);
    }
}

/// Joining, a neighbour asks where to begin.
fn ask(peer: &mut Peer, link: LinkId, history: History, older_ms: u64) -> Vec<Baseline> {
    peer.say(
        link,
        Subscribe {
            baseline: true,
            history,
            older_ms,
            ..Peer::subscribe(1)
        },
    );
    answers(peer, link)
}

/// The answers that a neighbour got since the last look.
fn answers(peer: &mut Peer, link: LinkId) -> Vec<Baseline> {
    let frames = peer.heard(link).into_iter();
    let answers = frames.filter_map(|frame| match frame {
        Frame::Baseline(answer) => Some(answer),
        _ => None,
    });
    answers.collect()
}

#[test]
fn a_member_tells_what_it_has_settled_and_proves_it() {
    let mut peer = Peer::member();
    let (link, joiner) = (peer.subscriber(2), peer.subscriber(3));
    let all = peer.messages(ORIGIN, 4);
    for at in [0, 1, 3] {
        peer.push(link, &all[at]);
    }
    peer.wait_ms(1_500);
    let mut told = origin(ORIGIN, 2, Some(&all[3]), &[]);
    told.age_ms = 1_500;
    let expected = answer(&peer, vec![told]);
    assert_eq!(ask(&mut peer, joiner, History::None, 0), [expected]);
}

#[test]
fn a_relay_answers_nobody() {
    let mut peer = Peer::member();
    let joiner = peer.subscriber(2);
    peer.group_mut().role = Role::Relay;
    assert_eq!(ask(&mut peer, joiner, History::None, 0), []);
}

#[test]
fn a_peer_that_has_not_begun_itself_answers_when_it_has() {
    for (older_ms, then_ms) in [(0, 0), (500, 3_500)] {
        let mut peer = Peer::joiner(History::None);
        let joiner = peer.subscriber(2);
        assert_eq!(ask(&mut peer, joiner, History::None, older_ms), []);
        peer.wait_ms(3_000);
        peer.run_timers();
        let mut expected = answer(&peer, vec![]);
        expected.alone = true;
        expected.older_ms = then_ms;
        assert_eq!(answers(&mut peer, joiner), [expected], "once");
        peer.run_timers();
        assert_eq!(answers(&mut peer, joiner), []);
    }
}

#[test]
fn to_a_question_for_what_is_older_only_what_is_older_is_told() {
    let mut peer = Peer::member();
    let (link, joiner) = (peer.subscriber(2), peer.subscriber(3));
    let (nine, ten) = (peer.messages(9, 2), peer.messages(10, 1));
    peer.push(link, &nine[0]);
    peer.wait_ms(5_000);
    peer.push(link, &nine[1]);
    peer.push(link, &ten[0]);
    let told = ask(&mut peer, joiner, History::None, 4_999);
    let settled: Vec<_> = told[0]
        .origins
        .iter()
        .map(|it| (it.origin, it.settled))
        .collect();
    assert_eq!(settled, [(log_key(9).0, 1)]);
    assert_eq!(told[0].older_ms, 4_999, "so that a late answer is known");
    let told = ask(&mut peer, joiner, History::None, 5_000);
    assert_eq!(told[0].origins, []);
}

#[test]
fn the_last_messages_are_the_last_of_all_logs_together() {
    let mut peer = Peer::member();
    let (link, joiner) = (peer.subscriber(2), peer.subscriber(3));
    let nine = peer.messages_with(9, 3, |header| header.published_at -= 100 - header.seq);
    let ten = peer.messages_with(10, 1, |header| header.published_at -= 97);
    for bundle in nine.iter().chain(&ten) {
        peer.push(link, bundle);
    }
    let past = |told: &[Baseline]| {
        let all = told[0].origins.iter().flat_map(|it| &it.past);
        let mut seqs: Vec<u64> = all.map(|(_, at)| at - (WALL_MS - 100)).collect();
        seqs.sort_unstable();
        seqs
    };
    // Published at 1, 2, 3 and, by the other origin, 3.
    let told = ask(&mut peer, joiner, History::Last(3), 0);
    assert_eq!(past(&told), [2, 3, 3]);
    let told = ask(&mut peer, joiner, History::None, 0);
    assert_eq!(past(&told), []);
}
