//! The demonstration from outside: its transcript, and that its claims hold.

use std::process::Command;

#[test]
fn the_transcript_is_complete_and_its_claims_hold() {
    let demo = Command::new(env!("CARGO_BIN_EXE_tasks_demo"))
        .arg("--fast")
        .output()
        .unwrap();
    let transcript = String::from_utf8(demo.stdout).unwrap();
    let errors = String::from_utf8_lossy(&demo.stderr);
    assert!(demo.status.success(), "{transcript}\n{errors}");
    for line in [
        "[SERVER] Task 'A' starting, will run for 3s",
        "sequential calls took:",
        "(Expected: max(3,2,1) = ~3 seconds)",
        "Speed-up:",
        "status: working",
        "processed: ALPHA, BETA, GAMMA",
        "completion order: C, B, A",
        "\"quick: hello\"",
        "Everything held",
    ] {
        assert!(
            transcript.contains(line),
            "{line:?} is not in\n{transcript}"
        );
    }
}
