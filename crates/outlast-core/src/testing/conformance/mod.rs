//! The conformance suite: what every store must do, by one entry point.
//!
//! [`conformance`] runs every case against a fresh store and reports all that failed by name, so no
//! store can adopt a part of it. After each case the invariants that hold for every store at every
//! moment are checked over all its tasks. A case never sleeps: time is a [`ManualClock`].

#![expect(
    clippy::unwrap_used,
    reason = "these are tests, though the compiler takes them for a library"
)]

mod artifact;
mod cancel;
mod chain;
mod child;
mod claim;
mod create;
mod event;
mod finish;
mod invariant;
mod lease;
mod limit;
mod list;
mod log;
mod no_worker;
mod notice;
mod question;
mod record;
mod recover;
mod reopen;
mod retention;
mod rig;
mod same;
mod schedule;
mod signal;
mod step;
mod undo;
mod webhook;

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;

use crate::store::Store;
use crate::testing::ManualClock;
pub use invariant::check_invariants;
pub(super) use invariant::check_record;
use rig::Rig;

/// A kind of store, to be made as often as the suite wants one.
#[async_trait]
pub trait Fixture: Send + Sync + 'static {
    /// A new, empty store that reads `clock`.
    async fn fresh(&self, clock: Arc<ManualClock>) -> Arc<dyn Store>;

    /// The same store as the next process finds it after this one ended without a word.
    ///
    /// `store` is the only reference that the suite still has. It may have been closed.
    async fn reopen(&self, store: Arc<dyn Store>, clock: Arc<ManualClock>) -> Reopened;

    /// Whether places in the order of creation are other numbers than 1, 2, 3: their order counts then.
    fn counts_by_itself(&self) -> bool {
        false
    }
}

/// What a store is after its process.
pub enum Reopened {
    /// There again, as the next process sees it.
    Next(Arc<dyn Store>),
    /// Gone with its process: the store as it was given.
    Never(Arc<dyn Store>),
}

type Case = fn(Rig) -> Pin<Box<dyn Future<Output = Rig> + Send>>;

macro_rules! cases {
    ($($module:ident { $($name:ident),+ $(,)? })+) => {
        const CASES: &[(&str, Case)] = &[$($((
            concat!(stringify!($module), "::", stringify!($name)),
            |rig| Box::pin($module::$name(rig)),
        )),+),+];
    };
}

cases! {
    create {
        a_new_task_is_queued_with_its_first_event,
        a_task_with_a_later_time_waits_for_it,
        everything_asked_for_is_kept,
        creating_twice_returns_the_task_as_it_is,
        a_repeated_creation_gives_the_lease_to_its_worker_alone,
        a_fused_creation_takes_its_turn,
        a_fused_creation_waits_behind_ready_tasks,
        a_fused_creation_passes_tasks_of_others,
        a_fused_creation_of_an_unknown_tool_stays_ready,
        a_running_creation_is_always_claimed,
        a_running_creation_with_a_later_time_is_not,
        fusing_changes_no_order,
    }
    claim {
        priority_comes_before_age,
        the_limit_is_kept,
        unknown_tools_and_versions_are_left_alone,
        nothing_ready_gives_nothing,
        a_claim_brings_journal_and_answers,
        what_comes_back_keeps_its_place,
        more_ready_tasks_than_any_page,
        claimers_at_once_never_share_a_task,
        claimers_on_threads_never_share_a_task,
        a_dropped_claim_strands_nothing,
        a_reply_that_nobody_takes_strands_nothing,
        a_dropped_creation_strands_nothing,
    }
    no_worker {
        a_task_says_that_no_worker_runs_it_until_one_does,
        a_claim_ends_it,
        a_task_fails_when_nobody_came_in_time,
        what_is_not_ready_is_left_alone,
        what_stands_ready_is_found_by_its_version,
    }
    lease {
        a_stale_lease_changes_nothing,
        a_lease_with_another_nonce_changes_nothing,
        a_heartbeat_extends_the_lease,
        a_heartbeat_answers_for_each_lease,
        an_expired_lease_is_taken_back,
        the_slow_worker_cannot_overwrite_its_successor,
        a_process_keeps_its_own_leases,
        a_lease_that_nobody_runs_expires,
    }
    limit {
        a_limit_is_never_exceeded,
        values_are_apart,
        nobody_waits_behind_another_key,
        room_comes_back_by_every_way_out,
        what_is_taken_away_holds_its_keys_as_long_as_its_lease,
        what_holds_keys_for_its_last_worker_is_not_deleted,
        keys_are_kept_for_the_undos,
        a_key_may_be_held_while_suspended,
        a_resumed_task_keeps_its_place_behind_a_limit,
        a_raised_limit_holds_at_once,
        fusing_obeys_limits,
        a_rate_delays_and_is_exact,
        a_rate_counts_starts_and_not_wakings,
        a_full_queue_refuses,
        a_repeated_creation_needs_no_room,
        a_paused_tool_is_not_claimed,
        limits_outlive_the_process,
        random_work_keeps_order_and_limits,
    }
    same {
        a_key_means_its_task,
        a_key_lasts_its_window,
        a_deleted_task_frees_its_key,
        of_many_calls_one_makes_the_task,
        a_call_joins_unfinished_work,
        a_newer_call_replaces_the_older,
        a_replacement_takes_the_place_in_the_queue,
        a_replacement_cannot_come_after_what_it_ends,
        the_last_arguments_win,
        a_delay_has_an_end,
        the_newest_call_is_taken_over_whole,
        whoever_was_taken_in_is_told_too,
        a_key_of_a_joined_call_lasts_its_window,
        a_task_that_is_being_cancelled_is_not_joined,
        what_ends_with_its_creation_takes_no_key,
        what_is_postponed_does_not_stand_ready,
        what_is_blocked_is_postponed_too,
        no_call_is_taken_in_that_waits_for_more,
    }
    finish {
        every_outcome_is_kept_to_the_letter,
        a_large_result_is_kept,
        the_same_end_may_be_reported_twice,
        finished_is_final,
        the_next_task_comes_with_the_end,
        a_retry_runs_again_at_its_time,
        a_release_counts_no_attempt,
        progress_never_goes_back,
    }
    step {
        an_entry_is_written_once,
        kinds_and_names_are_apart,
        another_input_is_a_mismatch,
        entries_keep_their_order,
        a_new_entry_ends_the_count_of_crashes,
        an_entry_that_is_too_large_is_refused,
        a_label_is_found_by_and_takes_the_place_of_another,
        labels_keep_to_their_limits,
    }
    undo {
        success_drops_the_undos,
        failure_leaves_the_task_with_its_worker_to_be_undone,
        a_tool_error_is_undone,
        the_end_may_be_reported_twice_before_the_undos,
        an_attempt_that_is_over_can_write_nothing,
        no_next_task_comes_before_the_undos,
        a_suspended_task_is_undone_by_whoever_claims_it,
        a_task_that_is_taken_away_is_undone_when_its_lease_has_run_out,
        undos_are_taken_back_from_a_worker_that_is_gone,
        undos_survive_their_process,
        undos_that_crash_are_given_up,
        undos_that_nobody_runs_are_given_up,
        a_failed_undo_fails_the_clean_up_alone,
        a_discarded_undo_does_not_run,
        a_record_is_kept_until_it_is_undone,
        a_release_hands_the_undos_back,
    }
    question {
        an_answer_before_the_suspension_resolves_it,
        an_answer_wakes_a_suspended_task,
        some_answers_are_enough_and_others_stay_open,
        the_first_answer_wins,
        late_and_unknown_answers_are_ignored,
        a_question_runs_out_of_time,
        the_same_key_is_the_same_question,
        a_timer_wakes_a_suspended_task,
        a_past_timer_does_not_suspend,
        a_question_and_its_suspension_are_one_unit,
        nobody_answers_a_task_that_is_not_there,
    }
    cancel {
        what_does_not_run_is_cancelled_at_once,
        a_running_task_is_asked_first,
        by_force_a_running_task_is_cancelled_at_once,
        a_finished_task_stays_as_it_is,
        repeating_it_is_harmless,
        a_result_that_comes_too_late_is_discarded,
        the_deadline_ends_what_does_not_stop,
        a_cancelled_task_does_not_suspend,
        a_cancelled_task_is_not_run_again,
        nobody_cancels_a_task_that_is_not_there,
        what_was_begun_is_stopped_first,
        what_nobody_can_stop_is_written_off,
        a_worker_that_goes_leaves_what_it_began_to_be_stopped,
        nothing_else_is_cancelled_for_having_been_stopped,
    }
    chain {
        a_dependant_is_blocked_until_all_have_completed,
        the_end_that_unblocks_may_claim_it_too,
        an_edge_to_an_ended_task_is_settled_at_once,
        a_failure_ends_those_that_need_success,
        a_cancelled_dependency_cancels_those_that_need_success,
        unknown_dependencies_create_nothing,
        a_repeated_creation_does_not_look_again,
        a_later_time_and_a_dependency_are_both_waited_for,
        a_blocked_task_can_be_cancelled,
        no_deletion_strands_a_dependant,
        a_task_that_grows_too_old_takes_its_dependants_along,
        what_is_blocked_is_blocked_after_a_restart,
        the_end_of_a_long_chain_is_one,
        a_cancel_reaches_a_long_chain_of_which_each_has_others_behind,
    }
    schedule {
        a_schedule_is_kept_changed_and_removed,
        only_the_expected_version_is_replaced,
        a_schedule_is_due_at_its_time,
        of_many_processes_one_fires,
        a_refused_task_leaves_the_schedule,
        a_firing_may_mean_a_task_that_is_there,
        there_may_be_only_so_many,
    }
    signal {
        signals_are_kept_in_order_under_their_names,
        a_signal_with_the_same_id_comes_once,
        a_signal_before_the_suspension_resolves_it,
        a_signal_wakes_a_suspended_task,
        a_task_that_has_ended_takes_no_signal,
        signals_keep_to_their_limits,
        a_task_takes_so_many_signals_and_no_more,
        signals_survive_a_restart_and_go_with_their_task,
    }
    webhook {
        what_is_told_is_noted_with_its_event,
        a_delivery_is_handed_out_to_one,
        a_delivery_without_a_word_is_handed_out_again,
        a_delivery_is_sent_again_when_somebody_asks,
        whoever_waits_for_failures_hears_of_a_tools_error,
        a_late_word_changes_nothing,
        a_delivery_is_tried_for_so_long,
        who_wants_no_more_is_told_no_more,
        a_record_is_kept_until_everything_is_told,
        what_is_to_be_told_survives_the_process,
        the_end_is_told_whatever_came_before,
    }
    child {
        a_child_and_its_entry_are_one,
        a_stale_lease_spawns_nothing,
        a_refused_child_leaves_no_entry,
        the_end_of_a_child_wakes_its_parent,
        a_child_that_has_ended_is_not_waited_for,
        the_end_of_a_parent_cancels_its_children,
        a_cancel_goes_down_the_tree_at_once,
        a_child_is_kept_for_its_parent,
        a_child_that_outlives_its_parent_is_kept_no_longer_than_others,
        a_tree_has_a_depth,
        the_children_of_a_task_can_be_listed,
        a_child_that_cannot_begin_tells_its_parent,
        a_family_survives_a_restart,
    }
    recover {
        what_ran_is_ready_again_in_its_old_place,
        a_lone_task_is_to_blame,
        several_tasks_become_suspects,
        suspects_run_one_at_a_time,
        what_runs_in_other_processes_is_no_suspect,
        the_only_suspect_is_to_blame,
        its_own_tasks_are_left_alone,
        what_may_not_be_repeated_ends,
        what_may_not_be_repeated_and_has_not_begun_runs,
        what_nobody_has_confirmed_is_not_interrupted,
        what_was_created_first_is_taken_back_first,
    }
    retention {
        a_finished_task_is_kept_and_then_gone,
        a_ttl_is_a_floor,
        nothing_is_kept_for_ever,
        unfinished_tasks_do_not_expire,
        an_old_task_fails,
        what_nobody_starts_in_time_fails,
        a_task_for_later_ages_from_then_on,
        a_tick_keeps_to_its_budget,
        a_tick_says_when_to_come_back,
        deleting_takes_everything_along,
        only_finished_tasks_are_deleted,
        a_place_is_never_given_twice,
    }
    event {
        events_are_numbered_without_gaps,
        pages_of_events_join,
        an_unknown_task_has_no_events,
    }
    log {
        offsets_count_bytes,
        pages_join_without_gap_or_repeat,
        the_last_mark_is_kept,
        a_report_is_stored_as_a_whole,
        long_text_becomes_pieces,
        the_first_and_the_last_half_are_kept,
        an_unknown_task_has_no_log,
    }
    list {
        the_latest_comes_first,
        pages_join_while_tasks_come,
        filters_choose,
        filters_by_words_and_times,
        a_tools_own_error_is_told_apart,
        a_page_of_nothing,
        what_has_expired_is_not_listed,
        counts_follow_every_change,
    }
    notice {
        changes_are_announced_after_they_are_made,
        ready_tasks_are_announced,
        moments_are_announced,
        stops_are_announced,
        logs_and_deletions_are_announced,
    }
    record {
        records_are_put_replaced_and_expire,
        the_first_to_init_wins,
        an_expired_record_is_no_record,
    }
    artifact {
        ranges_of_a_blob_join,
        a_blob_can_be_taken_back,
        what_is_given_out_has_an_event_each,
        entries_are_read_by_kind_and_name,
        blobs_go_with_their_task,
        what_no_entry_names_is_swept_up_at_a_start,
    }
    reopen {
        everything_is_there_again,
        what_was_ready_is_ready_in_order,
        a_lease_of_the_last_process_can_be_taken_back,
        a_closed_store_answers_nothing,
    }
}

/// Runs every case of the suite against stores of `fixture`.
///
/// # Panics
/// If a case fails; the message names all that did. What each had to say was printed before.
pub async fn conformance(fixture: impl Fixture) {
    let fixture: Arc<dyn Fixture> = Arc::new(fixture);
    let mut failed = Vec::new();
    for (name, case) in CASES {
        let rig = Rig::new(Arc::clone(&fixture)).await;
        let passed = survives(async move {
            let rig = case(rig).await;
            rig.check().await;
        });
        if passed.await {
            println!("ok      {name}");
        } else {
            println!("FAILED  {name}");
            failed.push(*name);
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} cases failed: {failed:#?}",
        failed.len(),
        CASES.len()
    );
}

/// Whether `future` ends without a panic.
async fn survives(future: impl Future<Output = ()> + Send) -> bool {
    let mut future = Box::pin(future);
    poll_fn(move |cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(true),
            Err(_) => Poll::Ready(false),
        }
    })
    .await
}
