//! What a store says when it cannot be opened, and that it has written nothing then.

use outlast_core::Store;
use outlast_core::testing::block_on;
use outlast_redis::{Options, RedisStore};

use crate::server::Server;

fn refused(address: &str) -> String {
    refused_as(address, "test")
}

fn refused_as(address: &str, server: &str) -> String {
    let opened = RedisStore::open(Options::new(address, server));
    opened.expect_err("it cannot be opened").to_string()
}

fn keys(server: &Server) -> String {
    format!("{:?}", server.call(&["KEYS", "*"]))
}

#[test]
fn an_address_that_is_none_is_refused() {
    for (address, advice) in [
        ("redis://", "no address"),
        ("http://host/", "no address"),
        ("redis://host/0?prefx=a", "\"prefx\""),
        ("redis://host/0?prefix=a b", "letters, digits"),
    ] {
        let text = refused(address);
        assert!(text.contains(advice), "{address}: {text}");
    }
    let text = refused("redis://user:secret@host/0?what=1");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let mut server = Server::volatile();
    let address = server.next_address();
    server.kill();
    let opened = RedisStore::open(Options::new(&address, "test"));
    let error = opened.expect_err("nobody is there");
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert!(error.is_retryable());
}

#[test]
fn a_password_is_asked_for() {
    let server = Server::volatile();
    server.call(&["CONFIG", "SET", "requirepass", "right"]);
    let address = server.next_address();
    let text = refused(&address);
    assert!(text.contains("wants a password"), "{text}");
    let text = refused(&format!("{address}&pass=wrong"));
    assert!(
        text.contains("refuses the user name or the password"),
        "{text}"
    );
    assert!(!text.contains("wrong"), "{text}");
    let store = RedisStore::open(Options::new(format!("{address}&pass=right"), "test")).unwrap();
    assert!(!store.info().location.contains("right"));
}

#[test]
fn a_server_that_loses_tasks_is_refused() {
    let server = Server::volatile();
    let address = server.next_address().replace("&volatile=true", "");
    let text = refused(&address);
    assert!(text.contains("appendonly yes"), "{text}");
    server.call(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let text = refused(&server.next_address());
    assert!(text.contains("maxmemory-policy noeviction"), "{text}");
    assert_eq!(keys(&server), "array([])", "nothing was written");
    server.call(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let store = RedisStore::open(Options::new(server.next_address(), "test")).unwrap();
    assert!(!store.info().durable);
    let durable = Server::durable();
    let address = durable.next_address().replace("&volatile=true", "");
    let store = RedisStore::open(Options::new(address, "test")).unwrap();
    assert!(store.info().durable);
}

#[test]
fn a_replica_is_refused() {
    let server = Server::volatile();
    server.call(&["REPLICAOF", "127.0.0.1", "1"]);
    let text = refused(&server.next_address());
    assert!(text.contains("name the primary"), "{text}");
}

#[test]
fn keys_of_others_are_left_alone() {
    let server = Server::volatile();
    server.call(&["SET", "{shop}:cart", "7"]);
    server.call(&["SET", "unrelated", "7"]);
    let text = refused(&server.address("shop"));
    assert!(text.contains("{shop}:cart"), "{text}");
    let before = keys(&server);
    assert_eq!(keys(&server), before);
    let store = RedisStore::open(Options::new(server.address("mine"), "test")).unwrap();
    block_on(store.close()).unwrap();
    // A second opening finds its own keys.
    let store = RedisStore::open(Options::new(server.address("mine"), "test")).unwrap();
    let text = refused_as(&server.address("mine"), "other");
    assert!(
        text.contains("\"test\"") && text.contains("\"other\""),
        "{text}"
    );
    drop(store);
    server.call(&[
        "HSET",
        "{mine}:meta",
        "version",
        "9",
        "compatible_from",
        "9",
    ]);
    let text = refused(&server.address("mine"));
    assert!(
        text.contains("newer version") && text.contains("layout 9"),
        "{text}"
    );
}

#[test]
fn of_many_that_begin_at_once_none_takes_another_for_a_stranger() {
    let server = Server::volatile();
    for _ in 0..20 {
        let address = server.next_address();
        let start = std::sync::Barrier::new(8);
        let open = |name: &'static str| {
            start.wait();
            RedisStore::open(Options::new(&address, name))
        };
        let opened = std::thread::scope(|scope| {
            let names = ["one", "one", "one", "one", "one", "one", "one", "other"];
            let threads = names.map(|name| scope.spawn(move || (name, open(name).err())));
            threads.map(|thread| thread.join().unwrap())
        });
        let mut refused: Vec<_> = opened
            .into_iter()
            .filter_map(|(name, error)| Some((name, error?.to_string())))
            .collect();
        assert!(!refused.is_empty(), "it belongs to one of them");
        refused.dedup_by_key(|(name, _)| *name);
        let [(name, text)] = &refused[..] else {
            panic!("only the other server's are refused: {refused:?}");
        };
        let owner = if *name == "one" { "other" } else { "one" };
        assert!(
            text.contains(&format!("belongs to the server \"{owner}\"")),
            "{text}"
        );
    }
}

#[test]
fn what_somebody_can_mend_beside_it_may_be_tried_again() {
    let server = Server::volatile();
    let store = open_plain(&server);
    block_on(async {
        let create = async || store.create(crate::cost::spec(), None).await;
        server.call(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        let error = create().await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().contains("replicas"), "{error}");
        server.call(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
        create().await.unwrap();
    });
    server.call(&["CONFIG", "SET", "maxclients", "1"]);
    let opened = RedisStore::open(Options::new(server.next_address(), "test"));
    let error = opened.expect_err("no further client is taken");
    assert!(error.is_retryable(), "{error}");
}

fn open_plain(server: &Server) -> RedisStore {
    RedisStore::open(Options::new(server.next_address(), "test")).unwrap()
}
