//! `GET /v1/groups/GROUP/messages`: joins, and streams what is delivered.

use super::error::ApiError;
use super::extract::{Path, Query};
use super::held::{CutOff, Held, HeldMessages};
use super::membership::Attachment;
use super::pieces::{Pieces, WHOLE_BYTES};
use super::server::{Api, Shutdown};
use super::stream::{CHUNK_BYTES, ndjson_pieces, write_line};
use super::types::{MessageLine, SettingsConflict, SubscribeQuery, SubscriptionLine};
use crate::{Events, Gap, Node, Subscription};
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use futures::{FutureExt, Stream, StreamExt, stream};
use hedgerow_protocol::{Delivery, Event, GroupName};

impl From<SettingsConflict> for ApiError {
    fn from(conflict: SettingsConflict) -> Self {
        Self::bad_request(
            conflict,
            "overlay tree goes with redundancy 1, mesh with 2 to 8",
        )
    }
}

pub(super) async fn open(
    State(api): State<Api>,
    Path(group): Path<GroupName>,
    Query(query): Query<SubscribeQuery>,
) -> Result<Response, ApiError> {
    if query.since.is_some() && query.last.is_some() {
        return Err(ApiError::bad_request(
            "since and last exclude each other",
            "give one of them",
        ));
    }
    let options = query.options()?;
    let slot = api.streams.take()?;
    // Before joining, so that no event is missed.
    let events = api.node.events();
    let (subscription, attachment) = api.memberships.attach(&group, options).await?;
    let feed = Feed {
        node: api.node.clone(),
        shutdown: api.shutdown(),
        group,
        subscription,
        events,
        held: api.held,
        writing: None,
        joined: false,
        ended: false,
        _attachment: attachment,
    };
    Ok(ndjson_pieces(feed.chunks(), slot))
}

/// A subscription being streamed.
struct Feed {
    node: Node,
    shutdown: Shutdown,
    group: GroupName,
    subscription: Subscription,
    events: Events,
    held: HeldMessages,
    /// The large message whose line is being written.
    writing: Option<Held>,
    joined: bool,
    ended: bool,
    _attachment: Attachment,
}

enum Next {
    Item(Option<Result<Delivery, Gap>>),
    Event(Event),
}

impl Feed {
    fn chunks(self) -> impl Stream<Item = Result<Bytes, CutOff>> + Send + 'static {
        stream::unfold(self, |mut feed| async move {
            let chunk = feed.next_chunk().await?;
            Some((chunk, feed))
        })
    }

    /// Waits for something, then takes what else is there, up to a chunk's size. It is called when
    /// there is room to write a chunk, so a client that does not read costs a few of them.
    async fn next_chunk(&mut self) -> Option<Result<Bytes, CutOff>> {
        let mut buffer = Vec::new();
        while buffer.len() < CHUNK_BYTES {
            if let Some(message) = &mut self.writing {
                match message.write_next(&mut buffer) {
                    Ok(false) => {}
                    Ok(true) => self.writing = None,
                    Err(cut_off) => {
                        self.writing = None;
                        self.ended = true;
                        return Some(Err(cut_off));
                    }
                }
            } else if self.ended {
                break;
            } else if buffer.is_empty() {
                self.note_joined(&mut buffer);
                if buffer.is_empty() {
                    match self.next().await {
                        Next::Item(item) => self.write_item(&mut buffer, item),
                        Next::Event(event) => self.write_event(&mut buffer, event),
                    }
                }
            } else {
                let Some(item) = self.subscription.recv().now_or_never() else {
                    break;
                };
                self.write_item(&mut buffer, item);
            }
        }
        // The chunk waits in the connection as long as the client does not read.
        if buffer.capacity() - buffer.len() > CHUNK_BYTES / 4 {
            buffer.shrink_to_fit();
        }
        (!buffer.is_empty()).then(|| Ok(buffer.into()))
    }

    async fn next(&mut self) -> Next {
        let Self {
            subscription,
            events,
            ..
        } = self;
        loop {
            tokio::select! {
                item = subscription.recv() => return Next::Item(item),
                Some(event) = events.next() => match event {
                    Ok(event) => return Next::Event(event),
                    // What is missed are notices; `joined` is also looked up directly.
                    Err(missed) => tracing::debug!(%missed, "a subscription's notices"),
                },
            }
        }
    }

    fn note_joined(&mut self, buffer: &mut Vec<u8>) {
        if !self.joined && self.subscription.joined().now_or_never() == Some(true) {
            self.joined = true;
            write_line(
                buffer,
                &SubscriptionLine::Joined {
                    group: self.group.clone(),
                },
            );
        }
    }

    fn write_item(&mut self, buffer: &mut Vec<u8>, item: Option<Result<Delivery, Gap>>) {
        let group = || self.group.clone();
        let line = match item {
            Some(Ok(delivery)) if delivery.payload.len() > WHOLE_BYTES => {
                self.writing = Some(self.held.begin(Pieces::new(&delivery)));
                return;
            }
            Some(Ok(delivery)) => SubscriptionLine::Message(MessageLine::from(&delivery)),
            Some(Err(Gap::Lost {
                origin,
                epoch,
                from,
                to,
            })) => SubscriptionLine::Gap {
                group: group(),
                origin,
                epoch,
                from,
                to,
            },
            Some(Err(Gap::Lagged { messages })) => SubscriptionLine::Lagged {
                group: group(),
                messages,
            },
            None => {
                let gone = self.node.ended().now_or_never().is_some();
                let stopped = gone || self.shutdown.is_requested();
                self.ended = true;
                let reason = if stopped { "stopped" } else { "left" };
                SubscriptionLine::End {
                    group: group(),
                    reason: reason.to_owned(),
                }
            }
        };
        write_line(buffer, &line);
    }

    fn write_event(&mut self, buffer: &mut Vec<u8>, event: Event) {
        match event {
            Event::Settings {
                group,
                settings,
                lost,
            } if group == self.group => {
                write_line(
                    buffer,
                    &SubscriptionLine::Settings {
                        group,
                        settings,
                        lost,
                    },
                );
            }
            _ => self.note_joined(buffer),
        }
    }
}
