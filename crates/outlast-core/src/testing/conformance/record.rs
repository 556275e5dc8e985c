//! Small records that belong to no task.

use std::time::Duration;

use super::rig::Rig;
use crate::clock::Clock;

pub(super) async fn records_are_put_replaced_and_expire(rig: Rig) -> Rig {
    let store = &rig.store;
    assert_eq!(store.record_get("a", "k").await.unwrap(), None);
    let bytes = vec![0, 255, 7];
    store
        .record_put("a", "k", bytes.clone(), None)
        .await
        .unwrap();
    store.record_put("b", "k", vec![], None).await.unwrap();
    assert_eq!(store.record_get("a", "k").await.unwrap(), Some(bytes));
    assert_eq!(store.record_get("b", "k").await.unwrap(), Some(vec![]));
    assert_eq!(store.record_get("a", "K").await.unwrap(), None);
    let expires_at = Some(rig.clock.now() + Duration::from_secs(1));
    store
        .record_put("a", "k", vec![1], expires_at)
        .await
        .unwrap();
    rig.advance(Duration::from_millis(999));
    assert_eq!(store.record_get("a", "k").await.unwrap(), Some(vec![1]));
    rig.advance(Duration::from_millis(1));
    assert_eq!(store.record_get("a", "k").await.unwrap(), None);
    rig.tick().await;
    assert_eq!(store.record_get("a", "k").await.unwrap(), None);
    assert_eq!(store.record_get("b", "k").await.unwrap(), Some(vec![]));
    rig
}

pub(super) async fn the_first_to_init_wins(rig: Rig) -> Rig {
    let store = &rig.store;
    let init = async |value| store.record_init("a", "key", vec![value]).await.unwrap();
    assert_eq!(init(1).await, [1]);
    assert_eq!(init(2).await, [1]);
    store.record_put("a", "key", vec![3], None).await.unwrap();
    assert_eq!(init(4).await, [3]);
    assert_eq!(store.record_get("a", "key").await.unwrap(), Some(vec![3]));
    rig
}

pub(super) async fn an_expired_record_is_no_record(rig: Rig) -> Rig {
    let store = &rig.store;
    let expires_at = Some(rig.clock.now() + Duration::from_secs(1));
    store
        .record_put("a", "k", vec![1], expires_at)
        .await
        .unwrap();
    rig.advance(Duration::from_secs(1));
    let there = store.record_init("a", "k", vec![2]).await.unwrap();
    assert_eq!(there, [2]);
    rig.advance(Duration::from_secs(100));
    rig.tick().await;
    assert_eq!(store.record_get("a", "k").await.unwrap(), Some(vec![2]));
    rig
}
