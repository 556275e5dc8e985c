//! Commands under their shim: one execution, the whole log, the right status, nothing left behind.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use outlast_cli::command::limits::Limits;
use outlast_cli::command::runs as folders;
use outlast_cli::command::{
    End, Followed, Inherited, Launcher, ProcessIdentity, RunFolder, RunState, Started, StopCause,
    orphans,
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::rig::{Rig, ended, eventually, follow, outlast, runs};

#[tokio::test]
async fn the_status_and_both_streams_are_kept() {
    let rig = Rig::new();
    let folder = rig
        .start("echo out; echo err >&2; printf unfinished; exit 7")
        .await;
    let (output, end) = follow(&folder, 0).await;
    assert_eq!(output, b"out\nerr\nunfinished");
    let Followed::Ended(status) = end else {
        panic!("{end:?}")
    };
    assert_eq!(
        (status.end, status.stopped, status.leftovers),
        (End::Exited(7), None, 0)
    );
}

/// A process keeps its peak when it becomes another program.
#[tokio::test]
async fn what_the_shim_held_is_not_taken_for_the_commands_memory() {
    for (script, least) in [
        ("exit 0", None),
        (
            "x=$(head -c 90000000 /dev/zero | tr '\\000' a)",
            Some(90_000_000),
        ),
    ] {
        let rig = Rig::new();
        let folder = rig.start(script).await;
        let used = ended(&folder).await.used.unwrap();
        assert_eq!(
            used.peak_memory.is_some(),
            least.is_some(),
            "{script}: {used:?}"
        );
        assert!(used.peak_memory >= least, "{script}: {used:?}");
    }
}

#[tokio::test]
async fn a_signal_is_told_from_an_exit() {
    let rig = Rig::new();
    let folder = rig.start("kill -SEGV $$").await;
    assert_eq!(ended(&folder).await.end, End::Signalled(11));
}

#[tokio::test]
async fn a_killed_parent_changes_nothing() {
    let rig = Rig::new();
    let folder = rig.script(
        "echo one >> ledger; echo begin; while ! [ -e go ]; do sleep 0.01; done; echo end; exit 5",
    );
    // A stand-in for a server, with a process group of its own, that dies with all of its group.
    let mut server = Command::new("/bin/sh")
        .args(["-c", "\"$0\" __exec \"$1\" & wait"])
        .args([outlast(), folder.path()])
        .process_group(0)
        .spawn()
        .unwrap();
    eventually("the command begins", || {
        (!rig.lines("ledger").is_empty()).then_some(())
    })
    .await;
    let group = Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
    kill_process_group(group, Signal::KILL).unwrap();
    server.wait().unwrap();

    assert_eq!(folder.state().unwrap(), RunState::Running);
    std::fs::write(rig.file("go"), "").unwrap();
    let (output, end) = follow(&folder, 0).await;
    assert_eq!(output, b"begin\nend\n");
    assert!(matches!(end, Followed::Ended(status) if status.end == End::Exited(5)));
    assert_eq!(rig.lines("ledger"), ["one"]);
}

#[tokio::test]
async fn racing_shims_execute_once() {
    let rig = Rig::new();
    let folder = rig.script("echo once >> ledger; while ! [ -e go ]; do sleep 0.01; done");
    let launcher = Launcher::program(outlast());
    let mut shims: Vec<_> = (0..8)
        .map(|_| launcher.launch(&folder, &[]).unwrap())
        .collect();
    // All but one give up by themselves while the command still runs.
    let mut refused = 0;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while refused < 7 {
        assert!(
            std::time::Instant::now() < deadline,
            "only {refused} of 7 gave up"
        );
        for shim in &mut shims {
            if let Some(status) = shim.try_wait().unwrap() {
                assert_eq!(status.code(), Some(3));
                refused += 1;
            }
        }
        shims.retain(|shim| shim.id().is_some());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(folder.state().unwrap(), RunState::Running);
    std::fs::write(rig.file("go"), "").unwrap();
    assert_eq!(ended(&folder).await.end, End::Exited(0));

    let late = launcher.launch(&folder, &[]).unwrap().wait().await.unwrap();
    assert_eq!(
        late.code(),
        Some(3),
        "a run that is over is not started again"
    );
    assert_eq!(rig.lines("ledger"), ["once"]);
}

/// Kills shims at random moments of their start, and does what a restarted server does.
#[tokio::test]
async fn a_start_that_is_killed_anywhere_executes_at_most_once_and_is_told() {
    let seed: u64 = std::env::var("OUTLAST_TEST_SEED").map_or_else(
        |_| u64::from(std::process::id()),
        |seed| seed.parse().expect("OUTLAST_TEST_SEED is a number"),
    );
    println!("seed {seed}; repeat with OUTLAST_TEST_SEED={seed}");
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let (mut finished, mut vanished) = (0, 0);
    for round in 0..40 {
        let rig = Rig::new();
        let folder = rig.script("echo once >> ledger; echo done");
        let launcher = Launcher::program(outlast());
        for _ in 0..3 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut shim = launcher.launch(&folder, &[]).unwrap();
            tokio::time::sleep(Duration::from_micros(random % 20_000)).await;
            shim.kill().await.unwrap();
        }
        let state = loop {
            match folder.state().unwrap() {
                RunState::NotStarted => {
                    assert!(
                        rig.lines("ledger").is_empty(),
                        "round {round}: executed, not told"
                    );
                    launcher.launch(&folder, &[]).unwrap().wait().await.unwrap();
                }
                RunState::Running => tokio::time::sleep(Duration::from_millis(5)).await,
                state => break state,
            }
        };
        match state {
            RunState::Ended(status) => {
                assert_eq!(status.end, End::Exited(0), "round {round}");
                assert_eq!(rig.lines("ledger"), ["once"], "round {round}");
                assert_eq!(std::fs::read(folder.log_path()).unwrap(), b"done\n");
                finished += 1;
            }
            RunState::Vanished(started) => {
                orphans::kill(&folder, &started).await.unwrap();
                assert!(rig.lines("ledger").len() <= 1, "round {round}");
                vanished += 1;
            }
            state => panic!("{state:?}"),
        }
    }
    println!("{finished} finished, {vanished} vanished");
}

#[tokio::test]
async fn cancel_reaches_descendants_that_left_group_and_session() {
    let rig = Rig::new();
    // A daemon by the book: a session of its own, forked twice, deaf to polite signals, silent.
    let folder = rig
        .start(
            "setsid sh -c 'trap \"\" INT TERM HUP; (echo $$ > daemon; while :; do sleep 0.05; done) & \
             wait' > /dev/null 2>&1 &
             sh -c 'echo $$ > child; sleep 1000' &
             echo $$ > command; wait",
        )
        .await;
    let mut pids = Vec::new();
    for name in ["daemon", "child", "command"] {
        pids.push(
            eventually(name, || {
                rig.lines(name).first().and_then(|pid| pid.parse().ok())
            })
            .await,
        );
    }
    assert!(pids.iter().all(|pid| runs(*pid)));
    folder.request_cancel().unwrap();
    let status = ended(&folder).await;
    assert_eq!(status.stopped, Some(StopCause::Cancel));
    assert!(
        matches!(status.end, End::Signalled(_) | End::Exited(_)),
        "{status:?}"
    );
    assert!(
        !pids.iter().any(|pid| runs(*pid)),
        "somebody is left of {pids:?}"
    );
}

#[tokio::test]
async fn a_command_that_falls_silent_is_stopped() {
    let rig = Rig::new();
    let mut spec = rig.spec(&["/bin/sh", "-c", "echo one; sleep 0.2; echo two; sleep 600"]);
    spec.idle_timeout_ms = Some(1500);
    let folder = rig.run(&spec);
    rig.launch(&folder).await;
    let status = ended(&folder).await;
    assert_eq!(status.stopped, Some(StopCause::IdleTimeout));
    assert_eq!(std::fs::read(folder.log_path()).unwrap(), b"one\ntwo\n");
    assert!(status.duration_ms >= 1500, "{status:?}");
}

#[tokio::test]
async fn a_cancelled_command_may_end_in_its_own_way() {
    let rig = Rig::new();
    let mut spec = rig.spec(&[
        "/bin/sh",
        "-c",
        "trap 'echo int >> signals; echo tidied; exit 9' INT; trap 'echo term >> signals' TERM; \
         echo ready > ready; while :; do sleep 0.02; done",
    ]);
    spec.interrupt_grace_ms = 60_000;
    let folder = rig.run(&spec);
    rig.launch(&folder).await;
    eventually("the trap is set", || {
        (!rig.lines("ready").is_empty()).then_some(())
    })
    .await;
    folder.request_cancel().unwrap();
    folder.request_cancel().unwrap();
    let status = ended(&folder).await;
    assert_eq!(
        (status.end, status.stopped),
        (End::Exited(9), Some(StopCause::Cancel))
    );
    assert_eq!(rig.lines("signals"), ["int"], "one signal, once");
    assert_eq!(std::fs::read(folder.log_path()).unwrap(), b"tidied\n");
}

#[tokio::test]
async fn a_cancel_before_the_start_prevents_it() {
    let rig = Rig::new();
    let folder = rig.script("echo once >> ledger");
    folder.request_cancel().unwrap();
    rig.launch(&folder).await;
    let status = ended(&folder).await;
    assert!(matches!(status.end, End::NotRun(_)), "{status:?}");
    assert_eq!(status.stopped, Some(StopCause::Cancel));
    assert!(rig.lines("ledger").is_empty());
}

#[tokio::test]
async fn a_cancel_that_no_signal_announces_is_seen() {
    let rig = Rig::new();
    let folder = rig.start("sleep 1000").await;
    std::fs::write(folder.path().join("cancel"), "").unwrap();
    assert_eq!(ended(&folder).await.stopped, Some(StopCause::Cancel));
}

#[tokio::test]
async fn time_runs_out_without_a_server() {
    let rig = Rig::new();
    let mut spec = rig.spec(&[
        "/bin/sh",
        "-c",
        "trap '' INT TERM; echo $$ > pid; sleep 1000",
    ]);
    spec.timeout_ms = Some(300);
    let folder = rig.run(&spec);
    rig.launch(&folder).await;
    let status = ended(&folder).await;
    assert_eq!(
        (&status.end, status.stopped),
        (&End::Signalled(9), Some(StopCause::Timeout))
    );
    assert!(status.duration_ms >= 300, "{status:?}");
    assert!(!runs(rig.lines("pid")[0].parse().unwrap()));
}

#[tokio::test]
async fn a_signal_from_elsewhere_is_no_cancellation() {
    let rig = Rig::new();
    let folder = rig.start("sleep 1000").await;
    folder
        .started()
        .unwrap()
        .unwrap()
        .shim
        .signal(Signal::TERM)
        .unwrap();
    assert_eq!(ended(&folder).await.stopped, Some(StopCause::Signal));
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_ended() {
    let rig = Rig::new();
    let folder = rig
        .start("setsid sh -c 'trap \"\" TERM; echo $$ > left; sleep 1000' & while ! [ -s left ]; do sleep 0.01; done; exit 4")
        .await;
    let status = ended(&folder).await;
    assert_eq!((&status.end, status.stopped), (&End::Exited(4), None));
    assert!(status.leftovers >= 1, "{status:?}");
    assert!(!runs(rig.lines("left")[0].parse().unwrap()));
}

#[tokio::test]
async fn a_killed_shim_takes_its_command_along_and_is_noticed() {
    let rig = Rig::new();
    let folder = rig
        .start(
            "setsid sh -c 'echo $$ > silent; exec sleep 1000' > /dev/null 2>&1 &
             setsid sh -c 'echo $$ > speaking; exec sleep 1000' &
             sh -c 'echo $$ > member; exec sleep 1000' > /dev/null 2>&1 &
             echo before; echo $$ > command; wait",
        )
        .await;
    let mut pids = Vec::new();
    for name in ["silent", "speaking", "member", "command"] {
        let pid: i32 = eventually(name, || {
            rig.lines(name).first().and_then(|pid| pid.parse().ok())
        })
        .await;
        pids.push(pid);
    }
    let started = folder.started().unwrap().unwrap();
    assert_eq!(
        started.command.pid, pids[3],
        "recorded before the command ran, and still true"
    );
    assert!(started.command.is_alive());
    kill_process(Pid::from_raw(started.shim.pid).unwrap(), Signal::KILL).unwrap();

    let (output, end) = follow(&folder, 0).await;
    assert_eq!(output, b"before\n");
    assert_eq!(end, Followed::Vanished(started.clone()));
    // What is left does not keep the lock.
    orphans::kill(&folder, &started).await.unwrap();
    assert!(
        !runs(pids[1]) && !runs(pids[2]) && !runs(pids[3]),
        "of {pids:?}"
    );
    // This one changed its session and its output: the stated limit.
    assert!(runs(pids[0]));
    kill_process(Pid::from_raw(pids[0]).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_recycled_process_id_is_nobody_of_ours() {
    let rig = Rig::new();
    let folder = rig.script("true");
    let me = ProcessIdentity::current().unwrap();
    let recycled = ProcessIdentity {
        start_time: "1".into(),
        ..me.clone()
    };
    let earlier = ProcessIdentity {
        boot_id: "another-boot".into(),
        ..me
    };
    for identity in [recycled, earlier] {
        let started = Started {
            command: identity.clone(),
            shim: identity,
            at_ms: 1,
            forks: None,
        };
        std::fs::write(
            folder.path().join("started.json"),
            serde_json::to_vec(&started).unwrap(),
        )
        .unwrap();
        // The process with that id is this test, alive and well.
        assert_eq!(folder.state().unwrap(), RunState::Vanished(started.clone()));
        folder.request_cancel().unwrap();
        // Its session may be this test's: only the start time and the boot tell them apart.
        assert_eq!(orphans::kill(&folder, &started).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_status_that_cannot_be_written_is_written_later() {
    let rig = Rig::new();
    let folder = rig
        .start("while ! [ -e go ]; do sleep 0.01; done; exit 7")
        .await;
    // As a full disk does, and for root too: what is to be written cannot be.
    let shim = folder.started().unwrap().unwrap().shim;
    let in_the_way = folder.path().join(format!("status.json.{}", shim.pid));
    std::fs::create_dir(&in_the_way).unwrap();
    std::fs::write(rig.file("go"), "").unwrap();
    eventually("the shim complains", || {
        (!folder.shim_says().is_empty()).then_some(())
    })
    .await;
    assert_eq!(folder.state().unwrap(), RunState::Running);
    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(ended(&folder).await.end, End::Exited(7));
}

#[tokio::test]
async fn a_chatty_command_is_followed_whole_over_restarts() {
    // As much as is kept whole.
    const BYTES: u64 = 60_000_000;
    let rig = Rig::new();
    let folder = rig
        .start(&format!("yes 0123456789abcdef | head -c {BYTES}; exit 3"))
        .await;
    let pattern: Vec<u8> = b"0123456789abcdef\n".repeat(16 * 1024);
    let mut offset = 0;
    let mut restarts = 0;
    let end = loop {
        // A server that reads a little and is gone; the next one goes on where its record ends.
        let mut follower = outlast_cli::command::Follower::new(folder.clone(), offset);
        let mut taken = 0;
        let end = loop {
            match follower.next().await.unwrap() {
                Followed::Output(piece) => {
                    let at = usize::try_from(offset % 17).unwrap();
                    assert!(pattern[at..].starts_with(&piece), "wrong bytes at {offset}");
                    offset = follower.offset();
                    taken += piece.len();
                    if taken > 10_000_000 {
                        break None;
                    }
                }
                end => break Some(end),
            }
        };
        if let Some(end) = end {
            break end;
        }
        restarts += 1;
    };
    assert_eq!(offset, BYTES);
    assert!(restarts >= 5);
    assert!(matches!(end, Followed::Ended(status) if status.end == End::Exited(3)));
}

#[tokio::test]
async fn a_silent_command_is_waited_for() {
    let rig = Rig::new();
    let folder = rig.start("sleep 0.5; exit 2").await;
    let (output, end) = follow(&folder, 0).await;
    assert_eq!(output, b"");
    assert!(
        matches!(end, Followed::Ended(status) if status.end == End::Exited(2) && status.duration_ms >= 500)
    );
}

#[tokio::test]
async fn what_cannot_be_run_says_so() {
    let rig = Rig::new();
    let mut spec = rig.spec(&["/does/not/exist"]);
    let folder = rig.run(&spec);
    rig.launch(&folder).await;
    let End::NotRun(reason) = ended(&folder).await.end else {
        panic!("it ran")
    };
    assert!(
        reason.contains("/does/not/exist cannot be run: No such file"),
        "{reason}"
    );

    folder.remove().unwrap();
    spec.argv = vec!["/bin/true".into()];
    spec.working_dir = rig.file("nowhere");
    let folder = rig.run(&spec);
    rig.launch(&folder).await;
    let End::NotRun(reason) = ended(&folder).await.end else {
        panic!("it ran")
    };
    assert!(reason.contains("nowhere does not exist"), "{reason}");
}

#[tokio::test]
async fn the_surroundings_are_clean() {
    let rig = Rig::new();
    let mut spec = rig.spec(&[
        "/bin/sh",
        "-c",
        // Standard input is empty, the folder is the one asked for, and the command leads a
        // session without a terminal.
        "cat; pwd; env | grep -c ^OUTLAST_ || true; echo $MINE; cut -d ' ' -f 1,5,6 /proc/$$/stat; \
         exec ls /proc/self/fd",
    ]);
    spec.env.push(("MINE".into(), "a b".into()));
    let folder = rig.run(&spec);
    // Started by somebody who left a file open.
    let status = Command::new("/bin/sh")
        .args(["-c", "exec 7> leak; exec \"$0\" __exec \"$1\""])
        .args([outlast(), folder.path()])
        .current_dir(rig.file(""))
        .env("OUTLAST_TOKEN", "secret")
        .env("OUTLAST_", "x")
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0), "{}", folder.shim_says());
    let (output, _) = follow(&folder, 0).await;
    let text = String::from_utf8(output).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        rig.file("").canonicalize().unwrap().to_str().unwrap()
    );
    assert_eq!(lines[1], "0", "OUTLAST_ variables came through: {text}");
    assert_eq!(lines[2], "a b");
    let ids: Vec<&str> = lines[3].split(' ').collect();
    assert!(
        ids[0] == ids[1] && ids[0] == ids[2],
        "not a leader: {}",
        lines[3]
    );
    // The three streams and the folder that `ls` reads: no lock, nothing inherited.
    assert_eq!(lines[4..], ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn a_wrong_call_is_refused() {
    let run = |arguments: &[&str]| {
        Command::new(outlast())
            .args(arguments)
            .output()
            .expect("the program starts")
    };
    let output = run(&["__exec"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage"));
    assert_eq!(run(&["__exec", "/does/not/exist"]).status.code(), Some(1));
}

/// A run of a shell script under limits.
fn limited(rig: &Rig, script: &str, limits: Limits) -> RunFolder {
    let mut spec = rig.spec(&["/bin/sh", "-c", script]);
    spec.limits = limits;
    rig.run(&spec)
}

#[tokio::test]
async fn processor_time_that_is_used_up_is_named() {
    let limits = Limits {
        cpu_seconds: Some(1),
        ..Limits::default()
    };
    // The command itself, a child of it, and one that does not heed the first signal.
    for script in [
        "while :; do :; done",
        "sh -c 'while :; do :; done'; exit $?",
        "trap '' XCPU; while :; do :; done",
    ] {
        let rig = Rig::new();
        let folder = limited(&rig, script, limits);
        rig.launch(&folder).await;
        let status = ended(&folder).await;
        assert_eq!(
            status.stopped,
            Some(StopCause::CpuTime),
            "{script}: {status:?}"
        );
        assert!(status.used.unwrap().cpu_ms >= 500, "{status:?}");
    }
}

#[tokio::test]
async fn memory_beyond_the_limit_is_refused() {
    let rig = Rig::new();
    let limits = Limits {
        memory: Some(64 << 20),
        ..Limits::default()
    };
    let folder = limited(
        &rig,
        "head -c 200000000 /dev/zero | tail -c 150000000 | wc -c",
        limits,
    );
    rig.launch(&folder).await;
    let (output, end) = follow(&folder, 0).await;
    let output = String::from_utf8_lossy(&output).into_owned();
    assert!(!output.contains("150000000"), "{output}");
    assert!(matches!(end, Followed::Ended(_)));
    // The same under a limit that suffices.
    let rig = Rig::new();
    let folder = limited(
        &rig,
        "head -c 20000000 /dev/zero | tail -c 15000000 | wc -c",
        limits,
    );
    rig.launch(&folder).await;
    assert_eq!(follow(&folder, 0).await.0, b"15000000\n");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn too_many_processes_are_killed() {
    let limits = Limits {
        processes: Some(5),
        ..Limits::default()
    };
    let rig = Rig::new();
    let folder = limited(
        &rig,
        "trap '' INT TERM; for i in 1 2 3 4 5 6 7 8; do sleep 600 & done; echo $! > last; wait",
        limits,
    );
    rig.launch(&folder).await;
    let status = ended(&folder).await;
    assert_eq!(status.stopped, Some(StopCause::Processes), "{status:?}");
    assert!(!runs(rig.lines("last")[0].parse().unwrap()));
    let rig = Rig::new();
    let folder = limited(&rig, "sleep 0.1 & sleep 0.5 & wait; exit 7", limits);
    rig.launch(&folder).await;
    assert_eq!(ended(&folder).await.end, End::Exited(7));
}

#[tokio::test]
async fn output_beyond_the_limit_ends_the_command() {
    let rig = Rig::new();
    let limits = Limits {
        output: Some(1 << 20),
        ..Limits::default()
    };
    let folder = limited(&rig, "yes | head -c 100000000; sleep 600", limits);
    rig.launch(&folder).await;
    let status = ended(&folder).await;
    assert_eq!(status.stopped, Some(StopCause::Output), "{status:?}");
    let kept = std::fs::metadata(folder.log_path()).unwrap();
    assert!(kept.len() > 1 << 20);
    assert!(kept.blocks() * 512 < 64 << 20, "{} blocks", kept.blocks());
}

#[tokio::test]
async fn a_limit_that_cannot_be_set_starts_nothing() {
    let rig = Rig::new();
    let mut spec = rig.spec(&["/bin/sh", "-c", "echo ran > ledger"]);
    spec.limits.cpu_seconds = Some(100);
    let folder = rig.run(&spec);
    // A shim whose own limit is lower.
    let shim = Command::new("/bin/sh")
        .args(["-c", "ulimit -t 50; \"$0\" __exec \"$1\""])
        .args([outlast(), folder.path()])
        .status();
    assert!(shim.unwrap().success());
    let status = ended(&folder).await;
    let permitted = rustix::process::geteuid().is_root();
    match status.end {
        // Root may raise its own limits.
        End::Exited(0) if permitted => assert_eq!(rig.lines("ledger"), ["ran"]),
        End::NotRun(reason) => assert!(reason.contains("max_cpu_time cannot be set"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_that_the_command_writes_is_in_its_log() {
    let rig = Rig::new();
    std::fs::write(rig.file("build.log"), "of an earlier run\n").unwrap();
    let script = "echo printed; i=0; while [ $i -lt 500 ]; do echo \"line $i\"; i=$((i+1)); done \
                  >> build.log; mv build.log build.log.1; echo after >> build.log";
    let mut spec = rig.spec(&["/bin/sh", "-c", script]);
    spec.log_file = Some(rig.file("build.log"));
    let folder = rig.run(&spec);
    rig.launch(&folder).await;
    let (output, _) = follow(&folder, 0).await;
    let lines: String = (0..500).map(|i| format!("line {i}\n")).collect();
    assert_eq!(
        String::from_utf8(output).unwrap(),
        format!("printed\n{lines}after\n")
    );
}

#[tokio::test]
async fn a_command_inherits_what_it_may() {
    let rig = Rig::new();
    let script = "env | sed 's/=.*//' | grep -E '^(SEEN|SECRET|UNSEEN|OUTLAST_X|PATH)' | sort";
    let mut spec = rig.spec(&["/bin/sh", "-c", script]);
    spec.inherited = Inherited::these(vec!["SE*".into(), "PATH".into()]);
    spec.inherited.never = vec!["SECRET".into()];
    let folder = rig.run(&spec);
    let shim = Command::new(outlast())
        .arg("__exec")
        .arg(folder.path())
        .envs([
            ("SEEN", "1"),
            ("SECRET", "1"),
            ("UNSEEN", "1"),
            ("OUTLAST_X", "1"),
        ])
        .status();
    assert!(shim.unwrap().success());
    assert_eq!(follow(&folder, 0).await.0, b"PATH\nSEEN\n");
}

#[tokio::test]
async fn a_store_is_not_copied_while_a_command_is_under_way() {
    let rig = Rig::new();
    let (database, task) = (rig.file("tasks.db"), outlast_core::TaskId::random());
    std::fs::write(&database, "").unwrap();
    let root = folders::beside(&database);
    assert_eq!(folders::unsettled(&root).unwrap(), []);
    let spec = rig.spec(&["/bin/sh", "-c", "until [ -e done ]; do sleep 0.05; done"]);
    let runs = root.join(task.to_string());
    std::fs::create_dir_all(&runs).unwrap();
    let folder = RunFolder::create(&runs.join("1"), &spec).unwrap();
    assert_eq!(folders::unsettled(&root).unwrap(), [], "it was not started");
    rig.launch(&folder).await;
    let copies = || {
        let copied = Command::new(outlast())
            .args(["store", "copy", "--name", "test"])
            .arg(format!("sqlite:{}", database.display()))
            .arg(format!("sqlite:{}", rig.file("copy.db").display()))
            .output()
            .unwrap();
        (
            copied.status.code(),
            String::from_utf8(copied.stderr).unwrap(),
        )
    };
    let (code, said) = copies();
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("under way") && said.contains(&task.to_string()),
        "{said}"
    );
    assert!(!rig.file("copy.db").exists(), "nothing was begun");
    // Its end is not enough: somebody has to take it in.
    std::fs::write(rig.file("done"), "").unwrap();
    ended(&folder).await;
    assert_eq!(folders::unsettled(&root).unwrap(), [task]);
    std::fs::remove_dir_all(&root).unwrap();
    assert_eq!(folders::unsettled(&root).unwrap(), []);
}
