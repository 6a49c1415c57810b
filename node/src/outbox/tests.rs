use super::*;
use futures::FutureExt;
use std::future::poll_fn;

fn outboxes(messages: usize, bytes: usize) -> Arc<Outboxes> {
    let limits = DeliveryConfig {
        outbox_messages_max: messages,
        outbox_bytes_max: bytes,
        ..DeliveryConfig::default()
    };
    Arc::new(Outboxes::new(limits))
}

fn news() -> GroupName {
    GroupName::new("news").expect("valid")
}

fn submission(text: &'static str, sink: &Arc<SinkState>) -> Submission {
    sink.begin();
    Submission {
        payload: Bytes::from_static(text.as_bytes()),
        options: PublishOptions::default(),
        reply: Reply::Sink(sink.clone()),
    }
}

/// What is taken at once when so many messages and bytes may share a bundle.
fn pop(outbox: &Outbox, most: (usize, usize)) -> Vec<Submission> {
    let mut taken = Vec::new();
    outbox.pop(most, &mut taken);
    taken
}

/// The payloads that are taken at once.
fn texts(outbox: &Outbox, most: (usize, usize)) -> Vec<Bytes> {
    let taken = pop(outbox, most).into_iter();
    taken.map(|submission| submission.payload).collect()
}

/// Whether there is room right now.
fn has_room(room: &mut Room) -> bool {
    poll_fn(|context| room.poll(context)).now_or_never() == Some(Ok(()))
}

#[tokio::test]
async fn publishers_wait_for_room_and_are_woken() {
    let outboxes = outboxes(2, usize::MAX);
    let sink = Arc::default();
    let mut room = outboxes.room(&news());
    for text in ["one", "two"] {
        assert!(has_room(&mut room));
        room.push(submission(text, &sink));
    }
    assert!(!has_room(&mut room));
    let waiting = tokio::spawn(async move { poll_fn(|context| room.poll(context)).await });
    tokio::task::yield_now().await;
    let [outbox] = &outboxes.take_listed()[..] else {
        panic!("one outbox has work")
    };
    assert_eq!(texts(outbox, (1, 100)), ["one"]);
    assert_eq!(waiting.await.expect("is woken"), Ok(()));
}

#[tokio::test]
async fn who_gives_up_hands_the_room_to_the_next() {
    let outboxes = outboxes(1, usize::MAX);
    let sink = Arc::default();
    let [mut full, mut first, mut second] = [(), (), ()].map(|()| outboxes.room(&news()));
    assert!(has_room(&mut full));
    full.push(submission("one", &sink));
    assert!(!has_room(&mut first));
    let waiting = tokio::spawn(async move { poll_fn(|context| second.poll(context)).await });
    tokio::task::yield_now().await;
    let [outbox] = &outboxes.take_listed()[..] else {
        panic!("one outbox has work")
    };
    drop(pop(outbox, (1, 100)));
    // The first was woken, but has gone.
    drop(first);
    assert_eq!(waiting.await.expect("is woken"), Ok(()));
}

#[test]
fn bytes_are_bounded_too_and_what_is_put_back_comes_first() {
    let outboxes = outboxes(100, 2 * MESSAGE_BYTES + 5);
    let sink = Arc::default();
    let mut room = outboxes.room(&news());
    room.push(submission("first", &sink));
    assert!(has_room(&mut room));
    room.push(submission("second", &sink));
    assert!(!has_room(&mut room));
    let [outbox] = &outboxes.take_listed()[..] else {
        panic!("one outbox has work")
    };
    let mut first = pop(outbox, (1, 100));
    outbox.unpop(&mut first);
    assert!(!has_room(&mut room));
    assert_eq!(texts(outbox, (1, 100)), ["first"]);
    let mut second = pop(outbox, (1, 100));
    outbox.unpop(&mut second);
    assert_eq!(texts(outbox, (1, 100)), ["second"]);
    assert!(pop(outbox, (1, 100)).is_empty());
    assert!(has_room(&mut room));
}

#[test]
fn what_waits_is_taken_together_up_to_the_limits() {
    let outboxes = outboxes(100, usize::MAX);
    let sink = Arc::default();
    let room = outboxes.room(&news());
    for text in ["one", "two", "three", "four", "a long one", "five"] {
        room.push(submission(text, &sink));
    }
    let (reply, _answer) = oneshot::channel();
    room.push(Submission {
        payload: "told".into(),
        options: PublishOptions {
            acknowledge: true,
            ..PublishOptions::default()
        },
        reply: Reply::Acknowledged(reply),
    });
    room.push(submission("six", &sink));
    let [outbox] = &outboxes.take_listed()[..] else {
        panic!("one outbox has work")
    };
    assert_eq!(texts(outbox, (2, 9)), ["one", "two"], "by number");
    assert_eq!(texts(outbox, (9, 9)), ["three", "four"], "by bytes");
    assert_eq!(texts(outbox, (9, 9)), ["a long one"], "larger ones alone");
    let mut taken = pop(outbox, (9, 9));
    outbox.unpop(&mut taken);
    assert_eq!(texts(outbox, (9, 9)), ["five"], "order is kept");
    assert_eq!(texts(outbox, (9, 9)), ["told"], "acknowledged ones alone");
    assert_eq!(texts(outbox, (9, 9)), ["six"]);
}

#[test]
fn an_outbox_with_work_is_listed_once() {
    let outboxes = outboxes(100, usize::MAX);
    let sink = Arc::default();
    let room = outboxes.room(&news());
    room.push(submission("one", &sink));
    room.push(submission("two", &sink));
    assert!(outboxes.work().now_or_never().is_some());
    assert_eq!(outboxes.take_listed().len(), 1);
    assert!(outboxes.take_listed().is_empty());
    room.push(submission("three", &sink));
    assert_eq!(outboxes.take_listed().len(), 1);
}

#[test]
fn what_waits_for_the_engine_fills_no_bundle_of_other_groups() {
    let outboxes = outboxes(100, usize::MAX);
    let sink = Arc::default();
    let [busy, other] =
        ["busy", "other"].map(|name| outboxes.room(&GroupName::new(name).expect("a name")));
    sink_bytes(&busy, FULL_BYTES, &sink);
    assert!(outboxes.is_full());
    assert!(outboxes.full().now_or_never().is_some());
    // The engine has no room for that group: it is not listed until it has.
    let [blocked] = &outboxes.take_listed()[..] else {
        panic!("one outbox has work")
    };
    other.push(submission("one", &sink));
    assert!(outboxes.has_listed());
    assert!(!outboxes.is_full());
    outboxes.relist(blocked);
    assert!(outboxes.is_full());
}

/// Pushes one message of so many bytes.
fn sink_bytes(room: &Room, bytes: usize, sink: &Arc<SinkState>) {
    sink.begin();
    room.push(Submission {
        payload: vec![0; bytes].into(),
        options: PublishOptions::default(),
        reply: Reply::Sink(sink.clone()),
    });
}

#[test]
fn a_sink_is_idle_when_all_is_taken_and_told_of_errors() {
    let outboxes = outboxes(100, usize::MAX);
    let sink = Arc::default();
    let room = outboxes.room(&news());
    let idle = || poll_fn(|context| SinkState::poll_idle(&sink, context)).now_or_never();
    assert_eq!(idle(), Some(Ok(())));
    room.push(submission("one", &sink));
    room.push(submission("two", &sink));
    assert_eq!(idle(), None);
    sink.finish(1, None);
    assert_eq!(idle(), None);
    sink.finish(1, Some(PublishError::Busy));
    assert_eq!(idle(), Some(Err(PublishError::Busy)));
    assert_eq!(idle(), Some(Ok(())));
}

#[test]
fn closing_refuses_what_waits_and_what_comes() {
    let outboxes = outboxes(100, usize::MAX);
    let sink: Arc<SinkState> = Arc::default();
    let mut room = outboxes.room(&news());
    room.push(submission("one", &sink));
    outboxes.close();
    assert_eq!(sink.take_error(), Some(PublishError::Stopped));
    assert!(!has_room(&mut room));
    room.push(submission("two", &sink));
    assert_eq!(sink.take_error(), Some(PublishError::Stopped));
    let other = GroupName::new("other").expect("valid");
    outboxes.room(&other).push(submission("three", &sink));
    assert_eq!(sink.take_error(), Some(PublishError::Stopped));
}
