use super::*;
use futures::FutureExt;
use std::future::poll_fn;

fn publish_queues(messages: usize, bytes: usize) -> Arc<PublishQueues> {
    let limits = DeliveryConfig {
        publish_queue_messages_max: messages,
        publish_queue_bytes_max: bytes,
        ..DeliveryConfig::default()
    };
    Arc::new(PublishQueues::new(limits))
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

/// What is taken at once when so many messages and bytes may be.
fn pop(publish_queue: &PublishQueue, most: (usize, usize)) -> Vec<Submission> {
    let mut taken = Vec::new();
    publish_queue.pop(most, &mut taken);
    taken
}

/// The payloads that are taken at once.
fn texts(publish_queue: &PublishQueue, most: (usize, usize)) -> Vec<Bytes> {
    let taken = pop(publish_queue, most).into_iter();
    taken.map(|submission| submission.payload).collect()
}

/// Whether there is room right now.
fn has_room(permit: &mut Permit) -> bool {
    poll_fn(|context| permit.poll(context)).now_or_never() == Some(Ok(()))
}

#[tokio::test]
async fn publishers_wait_for_room_and_are_woken() {
    let publish_queues = publish_queues(2, usize::MAX);
    let sink = Arc::default();
    let mut permit = publish_queues.permit(&news());
    for text in ["one", "two"] {
        assert!(has_room(&mut permit));
        permit.push(submission(text, &sink));
    }
    assert!(!has_room(&mut permit));
    let waiting = tokio::spawn(async move { poll_fn(|context| permit.poll(context)).await });
    tokio::task::yield_now().await;
    let [publish_queue] = &publish_queues.take_listed()[..] else {
        panic!("one queue has work")
    };
    assert_eq!(texts(publish_queue, (1, 100)), ["one"]);
    assert_eq!(waiting.await.expect("is woken"), Ok(()));
}

#[tokio::test]
async fn who_gives_up_hands_the_room_to_the_next() {
    let publish_queues = publish_queues(1, usize::MAX);
    let sink = Arc::default();
    let [mut full, mut first, mut second] = [(), (), ()].map(|()| publish_queues.permit(&news()));
    assert!(has_room(&mut full));
    full.push(submission("one", &sink));
    assert!(!has_room(&mut first));
    let waiting = tokio::spawn(async move { poll_fn(|context| second.poll(context)).await });
    tokio::task::yield_now().await;
    let [publish_queue] = &publish_queues.take_listed()[..] else {
        panic!("one queue has work")
    };
    drop(pop(publish_queue, (1, 100)));
    // The first was woken, but has gone.
    drop(first);
    assert_eq!(waiting.await.expect("is woken"), Ok(()));
}

#[test]
fn bytes_are_bounded_too_and_what_is_put_back_comes_first() {
    let publish_queues = publish_queues(100, 2 * MESSAGE_BYTES + 5);
    let sink = Arc::default();
    let mut permit = publish_queues.permit(&news());
    permit.push(submission("first", &sink));
    assert!(has_room(&mut permit));
    permit.push(submission("second", &sink));
    assert!(!has_room(&mut permit));
    let [publish_queue] = &publish_queues.take_listed()[..] else {
        panic!("one queue has work")
    };
    let mut first = pop(publish_queue, (1, 100));
    publish_queue.requeue(&mut first);
    assert!(!has_room(&mut permit));
    assert_eq!(texts(publish_queue, (1, 100)), ["first"]);
    let mut second = pop(publish_queue, (1, 100));
    publish_queue.requeue(&mut second);
    assert_eq!(texts(publish_queue, (1, 100)), ["second"]);
    assert!(pop(publish_queue, (1, 100)).is_empty());
    assert!(has_room(&mut permit));
}

#[test]
fn what_waits_is_taken_together_up_to_the_limits() {
    let publish_queues = publish_queues(100, usize::MAX);
    let sink = Arc::default();
    let permit = publish_queues.permit(&news());
    for text in ["one", "two", "three", "four", "a long one", "five"] {
        permit.push(submission(text, &sink));
    }
    let (reply, _answer) = oneshot::channel();
    permit.push(Submission {
        payload: "told".into(),
        options: PublishOptions {
            acknowledge: true,
            ..PublishOptions::default()
        },
        reply: Reply::Acknowledged(reply),
    });
    permit.push(submission("six", &sink));
    let [publish_queue] = &publish_queues.take_listed()[..] else {
        panic!("one queue has work")
    };
    assert_eq!(texts(publish_queue, (2, 9)), ["one", "two"], "by number");
    assert_eq!(texts(publish_queue, (9, 9)), ["three", "four"], "by bytes");
    assert_eq!(
        texts(publish_queue, (9, 9)),
        ["a long one"],
        "larger ones alone"
    );
    let mut taken = pop(publish_queue, (9, 9));
    publish_queue.requeue(&mut taken);
    assert_eq!(texts(publish_queue, (9, 9)), ["five"], "order is kept");
    assert_eq!(
        texts(publish_queue, (9, 9)),
        ["told"],
        "acknowledged ones alone"
    );
    assert_eq!(texts(publish_queue, (9, 9)), ["six"]);
}

#[test]
fn a_queue_with_work_is_listed_once() {
    let publish_queues = publish_queues(100, usize::MAX);
    let sink = Arc::default();
    let permit = publish_queues.permit(&news());
    permit.push(submission("one", &sink));
    permit.push(submission("two", &sink));
    assert!(publish_queues.work().now_or_never().is_some());
    assert_eq!(publish_queues.take_listed().len(), 1);
    assert!(publish_queues.take_listed().is_empty());
    permit.push(submission("three", &sink));
    assert_eq!(publish_queues.take_listed().len(), 1);
}

#[test]
fn a_sink_is_idle_when_all_is_taken_and_told_of_errors() {
    let publish_queues = publish_queues(100, usize::MAX);
    let sink = Arc::default();
    let permit = publish_queues.permit(&news());
    let idle = || poll_fn(|context| SinkState::poll_idle(&sink, context)).now_or_never();
    assert_eq!(idle(), Some(Ok(())));
    permit.push(submission("one", &sink));
    permit.push(submission("two", &sink));
    assert_eq!(idle(), None);
    sink.finish(1, None);
    assert_eq!(idle(), None);
    sink.finish(1, Some(PublishError::Busy));
    assert_eq!(idle(), Some(Err(PublishError::Busy)));
    assert_eq!(idle(), Some(Ok(())));
}

#[test]
fn closing_refuses_what_waits_and_what_comes() {
    let publish_queues = publish_queues(100, usize::MAX);
    let sink: Arc<SinkState> = Arc::default();
    let mut permit = publish_queues.permit(&news());
    permit.push(submission("one", &sink));
    publish_queues.close();
    assert_eq!(sink.take_error(), Some(PublishError::Stopped));
    assert!(!has_room(&mut permit));
    permit.push(submission("two", &sink));
    assert_eq!(sink.take_error(), Some(PublishError::Stopped));
    let other = GroupName::new("other").expect("valid");
    publish_queues
        .permit(&other)
        .push(submission("three", &sink));
    assert_eq!(sink.take_error(), Some(PublishError::Stopped));
}
