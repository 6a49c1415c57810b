//! Who goes first, and how much fits.

use super::*;

const NEWS: Option<FrameContents> = Some(contents(1, 1));
const CHAT: Option<FrameContents> = Some(contents(2, 1));

const fn contents(flow: u8, last: u64) -> FrameContents {
    FrameContents {
        flow: FlowId([flow; 48]),
        part: 1,
        last,
    }
}

fn pop(queue: &mut SendQueue) -> Option<[Bytes; 2]> {
    queue.pop(false)
}

fn frame(text: &'static [u8]) -> [Bytes; 2] {
    [Bytes::from_static(text), Bytes::new()]
}

fn queue() -> SendQueue {
    SendQueue::new(&FlowConfig {
        unsent_bytes: 4,
        data_queue_bytes: 10,
        ..FlowConfig::default()
    })
}

fn wide_queue() -> SendQueue {
    SendQueue::new(&FlowConfig {
        unsent_bytes: usize::MAX,
        ..FlowConfig::default()
    })
}

/// The first letters of all that comes out.
fn order(queue: &mut SendQueue) -> String {
    let mut order = String::new();
    while let Some(chunks) = pop(queue) {
        queue.written(length(&chunks));
        order.push(char::from(chunks[0][0]));
    }
    order
}

#[test]
fn control_overtakes_repair_overtakes_data_overtakes_bulk() {
    let mut queue = queue();
    for (priority, text) in [
        (Priority::Bulk, &b"bulk"[..]),
        (Priority::BulkRepair, b"piece"),
        (Priority::Data, b"data"),
        (Priority::Repair, b"mend"),
    ] {
        queue.push(priority, NEWS, frame(text)).expect("room");
    }
    queue
        .push(Priority::Control, None, frame(b"ctrl"))
        .expect("room");
    assert_eq!(order(&mut queue), "cmdpb");
}

#[test]
fn the_transport_gets_no_more_than_its_credit() {
    let mut queue = queue();
    queue
        .push(Priority::Data, NEWS, frame(b"aaaa"))
        .expect("room");
    queue
        .push(Priority::Data, NEWS, frame(b"bbbb"))
        .expect("room");
    assert!(pop(&mut queue).is_some());
    assert!(pop(&mut queue).is_none(), "four bytes are out");
    queue.written(4);
    assert!(pop(&mut queue).is_some());
}

#[test]
fn a_full_lane_refuses_but_one_frame_always_fits() {
    let mut queue = queue();
    queue
        .push(Priority::Data, NEWS, frame(b"a frame over the limit"))
        .expect("empty lane");
    assert_eq!(queue.push(Priority::Data, CHAT, frame(b"x")), Err(Full));
    assert!(queue.is_full(Priority::Data, 1));
    assert_eq!(queue.queued(), [0, 0, 22, 0]);
}

#[test]
fn flows_of_a_class_take_turns_by_bytes_and_keep_their_order() {
    let mut queue = wide_queue();
    for text in [&b"AAAA"[..], b"BBBB", b"CCCC"] {
        queue.push(Priority::Data, NEWS, frame(text)).expect("room");
    }
    for text in [&b"uu"[..], b"vv", b"ww", b"xx", b"yy"] {
        queue.push(Priority::Data, CHAT, frame(text)).expect("room");
    }
    // Two small ones for each large one.
    assert_eq!(order(&mut queue), "AuvBwxCy");
}

#[test]
fn a_flow_that_comes_late_waits_for_nobodys_backlog() {
    let mut queue = wide_queue();
    for _ in 0..100 {
        queue
            .push(Priority::Data, NEWS, frame(b"long"))
            .expect("room");
    }
    for _ in 0..50 {
        pop(&mut queue);
    }
    queue.push(Priority::Data, CHAT, frame(b"!")).expect("room");
    assert!(order(&mut queue).find('!').expect("sent") <= 1);
}

#[test]
fn bulk_gets_its_share_beside_any_amount_of_data() {
    let mut queue = wide_queue();
    for _ in 0..20 {
        queue
            .push(Priority::Bulk, NEWS, frame(b"bulk"))
            .expect("room");
    }
    for _ in 0..60 {
        queue
            .push(Priority::Data, CHAT, frame(b"data"))
            .expect("room");
    }
    let order = order(&mut queue);
    assert!(order.starts_with("ddd"), "data first: {order}");
    let served = order[..40].chars().filter(|&c| c == 'b').count();
    assert_eq!(served, 40 / BULK_SHARE, "{order}");
}

#[test]
fn what_bulk_was_owed_is_forgotten_when_none_waits() {
    let mut queue = wide_queue();
    for _ in 0..1_000 {
        queue
            .push(Priority::Data, CHAT, frame(b"data"))
            .expect("room");
    }
    for _ in 0..500 {
        pop(&mut queue);
    }
    queue
        .push(Priority::Bulk, NEWS, frame(b"bulk"))
        .expect("room");
    assert_eq!(order(&mut queue).find('b'), Some(BULK_SHARE - 1));
}

#[test]
fn what_the_other_end_has_by_now_is_not_pushed() {
    let mut queue = wide_queue();
    for (last, text) in [(1, &b"a"[..]), (2, b"b"), (3, b"c")] {
        let bring = Some(contents(1, last));
        queue
            .push(Priority::Data, bring, frame(text))
            .expect("room");
        queue
            .push(Priority::Repair, bring, frame(text))
            .expect("room");
    }
    let FrameContents { flow, part, .. } = contents(1, 0);
    queue.settle(flow, part + 1, 3);
    queue.settle(flow, part, 2);
    let mut order = String::new();
    while let Some(chunks) = queue.pop(true) {
        order.push(char::from(chunks[0][0]));
    }
    assert_eq!(order, "abcc", "answers are given, whatever was said before");
    assert_eq!(queue.take_withdrawn(), 2);
    assert_eq!(queue.total(), 0);
    assert!(
        queue.settled.is_empty(),
        "nothing waits that it could be asked for"
    );
}

#[test]
fn what_is_settled_is_remembered_of_flows_that_wait() {
    let mut queue = wide_queue();
    let FrameContents { flow, part, .. } = contents(1, 0);
    queue.settle(flow, part, 2);
    assert!(queue.settled.is_empty());
    queue.push(Priority::Data, NEWS, frame(b"a")).expect("room");
    for part in 0..2 * SETTLED_MAX as u64 {
        queue.settle(flow, part, 2);
    }
    assert_eq!(queue.settled.len(), SETTLED_MAX);
}
