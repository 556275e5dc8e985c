//! `--stdio=inline`: the server is the process that the client started.

use serde_json::json;

use crate::rig::{Pipes, Place, eventually};

#[test]
fn tasks_pause_with_the_client_and_go_on_with_the_next() {
    let place = Place::new();
    let ledger = place.file("ledger");
    let inline = || place.command(&["--stdio=inline", "--shutdown-grace", "0s"]);
    let mut client = Pipes::legacy(inline());
    let arguments = json!({"count": 20, "step_ms": 20, "ledger": ledger});
    let task = client.task("steps", &arguments);
    eventually("a step", || {
        let text = std::fs::read_to_string(&ledger).unwrap_or_default();
        (text.lines().count() >= 2).then_some(())
    });
    assert_eq!(client.close(), Some(0));
    assert_eq!(place.server_pid(), None, "nothing stays behind");

    let mut client = Pipes::legacy(inline());
    let result = client.result(&task);
    assert_eq!(
        result["structuredContent"]["result"]
            .as_array()
            .unwrap()
            .len(),
        20
    );
    assert_eq!(client.close(), Some(0));
}

#[test]
fn what_handlers_print_stays_out_of_the_protocol() {
    for mode in ["--stdio=inline", "--stdio=bridge"] {
        let place = Place::new();
        let mut client = Pipes::legacy(place.command(&[mode]));
        let task = client.task("noisy", &json!({}));
        // The pipes refuse every line that is no message.
        assert_eq!(client.result(&task)["content"][0]["text"], "printed");
        assert_eq!(client.close(), Some(0));
    }
}
