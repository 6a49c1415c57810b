//! The wire types: what is sent can be read, in the documented form.

use super::types::*;
use hedgerow_protocol::{Arrival, Delivery, GroupName, Headers, Keypair, MessageId};
use std::time::Duration;

fn delivery(payload: &'static [u8]) -> Delivery {
    Delivery {
        group: GroupName::new("news").expect("valid"),
        id: MessageId {
            origin: Keypair::from_secret([1; 32]).peer(),
            epoch: 7,
            seq: 3,
        },
        published_at: 1_700_000_000_000,
        payload: payload.into(),
        headers: Headers::default(),
        hops: 2,
        arrival: Arrival::Pushed,
    }
}

#[test]
fn a_message_line_has_the_documented_keys_in_order() {
    let line = serde_json::to_string(&MessageLine::from(&delivery(b"hello"))).expect("writes");
    let origin = Keypair::from_secret([1; 32]).peer();
    assert_eq!(
        line,
        format!(
            "{{\"group\":\"news\",\"origin\":\"{origin}\",\"epoch\":7,\"seq\":3,\
             \"published_at\":1700000000000,\"encoding\":\"utf8\",\"payload\":\"hello\",\
             \"hops\":2,\"arrival\":\"pushed\"}}"
        )
    );
}

#[test]
fn payloads_come_back_whatever_their_bytes() {
    for payload in [
        &b""[..],
        b"text\nwith lines\n",
        "ü🌳".as_bytes(),
        b"\xff\x00\xfe",
    ] {
        let payload: &'static [u8] = payload.to_vec().leak();
        let line = SubscriptionLine::Message(MessageLine::from(&delivery(payload)));
        let text = serde_json::to_string(&line).expect("writes");
        assert!(!text.contains('\n'));
        let Ok(SubscriptionLine::Message(read)) = serde_json::from_str(&text) else {
            panic!("does not read back: {text}");
        };
        assert_eq!(&*read.bytes().expect("decodes"), payload);
    }
}

#[test]
fn overlay_and_redundancy_agree_or_are_refused() {
    let patch = |overlay, redundancy| {
        SettingsRequest {
            overlay,
            redundancy,
            ..SettingsRequest::default()
        }
        .patch()
        .map(|patch| patch.redundancy)
    };
    assert_eq!(patch(None, None), Ok(None));
    assert_eq!(patch(None, Some(3)), Ok(Some(3)));
    assert_eq!(patch(Some(OverlayKind::Tree), None), Ok(Some(1)));
    assert_eq!(patch(Some(OverlayKind::Mesh), None), Ok(Some(2)));
    assert_eq!(patch(Some(OverlayKind::Mesh), Some(4)), Ok(Some(4)));
    assert_eq!(
        patch(Some(OverlayKind::Tree), Some(2)),
        Err(SettingsConflict::TreeWith(2))
    );
    assert_eq!(
        patch(Some(OverlayKind::Mesh), Some(1)),
        Err(SettingsConflict::MeshWithOne)
    );
}

#[test]
fn durations_are_text_in_requests() {
    let text = r#"{"overlay":"mesh","retention":"10m","order":"unordered"}"#;
    let request: SettingsRequest = serde_json::from_str(text).expect("reads");
    assert_eq!(request.retention, Some(Duration::from_secs(600)));
    let again = serde_json::to_string(&request).expect("writes");
    assert_eq!(
        serde_json::from_str::<SettingsRequest>(&again).expect("reads"),
        request
    );
    let error = serde_json::from_str::<SettingsRequest>(r#"{"retention":"soon"}"#);
    assert!(
        error
            .expect_err("no duration")
            .to_string()
            .contains("500ms, 10s or 5m")
    );
    let error = serde_json::from_str::<SettingsRequest>(r#"{"overlaid":"mesh"}"#);
    assert!(
        error
            .expect_err("no such key")
            .to_string()
            .contains("unknown field `overlaid`")
    );
}
