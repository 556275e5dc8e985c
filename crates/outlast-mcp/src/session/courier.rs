//! The courier of a task: brings what the task has to say to clients of the older era.
//!
//! One courier follows one task and decides, for each message, on the one stream that carries it: a
//! client that waits for the result comes first, then the stream that the creating session keeps
//! open, then, for what a person is asked only, any open stream of the same principal whose session
//! declared that it can answer (`origin` says who may be asked what). Where there is none, a question waits in the task; opening a stream calls the
//! couriers again (`couriers`). A question whose stream died unanswered is sent again under a new id once its
//! client has opened another stream, or others are asked when it has not come back for [`RETURNS_WITHIN`]; a
//! client that resumes its stream has the question, or gets it there. One that a client refused because it
//! does not know the task yet is sent again after a pause.
//!
//! A question that is answered elsewhere, or is sent under another id, is withdrawn from the client that
//! was asked (2025-11-25 cancellation): a person who has answered it in one place is not to find it in
//! another.
//!
//! A client files questions under the tasks it knows, and one that has just read the response with the
//! id of a new task may take a moment to file that: the tasks package of the TypeScript SDK answers
//! a question that comes with the same read as cancelled by its user. So the first question of a
//! new task waits until the session has asked about the task, which proves that it knows it, and
//! otherwise for [`KNOWN_AFTER`].
//!
//! Where several servers have one store, a courier of each follows the task, and each question and the progress
//! is said by the one that has claimed it (`claims`).
//!
//! What is told here can be missed; the record is the truth and polling finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use outlast_core::status::Era;
use outlast_core::{InputRequest, Owner, Progress, Task, TaskId, TaskStatus};
use outlast_engine::Watch;
use tokio::time::Instant;

use super::claims::Claim;
use super::couriers::{Asked, FIRST_PAUSE, KNOWN_AFTER, LONGEST_PAUSE, Round, pause_after};
use super::live::Session;
use super::messages::{
    elicitation_mode, next_value, progress_notification, question_request, status_notification,
    url_completed, withdrawn,
};
use super::origin::Origin;
use super::outlet::Outlet;
use super::question::QuestionId;
use super::stream::KEEP_FOR;
use crate::answers;
use crate::jsonrpc::RequestId;
use crate::server::Inner;

/// How long a client whose stream broke has to come back for it before others are asked what it was asked.
const RETURNS_WITHIN: Duration = Duration::from_secs(5);

/// How long a new sentence about a task waits for the next one: clients show the latest alone. Some
/// of them never poll once they have been told anything, so every sentence must come in the end.
const SENTENCE_EVERY: Duration = Duration::from_millis(250);

/// How long a server that could ask others than the caller leaves a question to one that reaches the caller.
const OTHERS_TURN: Duration = Duration::from_secs(3);

/// When a claim that another server has is looked at again.
const CLAIM_AGAIN: Duration = Duration::from_secs(2);

/// The claim on the progress of a task.
const PROGRESS: &str = "progress";

/// The claim on a question.
fn claim_of(question: &InputRequest) -> String {
    format!("question/{}", question.key)
}

/// A courier's whole life.
pub(super) async fn follow(server: Arc<Inner>, owner: Owner, id: TaskId, round: Arc<Round>) {
    let mut watch = loop {
        match server.handle.watch(&owner, id).await {
            Ok(watch) => break watch,
            Err(error) if error.is_retryable() && !server.stopping.is_cancelled() => {
                tracing::warn!(task = %id, %error, "cannot see what a task has to say; looking again");
                tokio::time::sleep(LONGEST_PAUSE).await;
            }
            Err(_) => return server.couriers.finished(id),
        }
    };
    let task = watch.task();
    let origin = Origin::of(&server, &owner, task).await;
    let age = server.handle.now().since(task.state.created_at);
    let mut courier = Courier {
        unknown_until: Instant::now() + KNOWN_AFTER.saturating_sub(age),
        told_status: task.status(Era::Legacy),
        told_sentence: task.status_message(),
        sentence_after: None,
        told_progress: Progress::default(),
        last_value: f64::NEG_INFINITY,
        deliveries: BTreeMap::new(),
        sent_to_urls: BTreeMap::new(),
        server: Arc::clone(&server),
        round: Arc::clone(&round),
        origin,
        others_after: None,
        home: None,
        claims: BTreeMap::new(),
        claims_after: None,
        first_seen: BTreeMap::new(),
    };
    loop {
        let seen = round.lock().calls;
        let task = Arc::clone(watch.task());
        // What is found to be somebody else's turn is found again, by whichever of the next two looks first.
        courier.others_after = None;
        if server.config.shared {
            courier.meet_others(&task).await;
        }
        courier.look(&task);
        if task.is_finished() {
            break;
        }
        if !courier.has_somewhere_to_go(&task) {
            if server.config.shared {
                // A way that ended while the store was asked: nobody else may say what is still claimed here.
                courier.meet_others(&task).await;
            }
            if courier.claims.is_empty() && server.couriers.leave(id, &round, seen) {
                return;
            }
        }
        if !courier.wait(&mut watch).await {
            break;
        }
    }
    server.couriers.finished(id);
}

struct Courier {
    server: Arc<Inner>,
    round: Arc<Round>,
    /// Before this moment no question is sent.
    unknown_until: Instant,
    origin: Origin,
    /// Clients that may not be asked yet may be at this moment.
    others_after: Option<Instant>,
    /// The creating session, once it has been found open.
    home: Option<Arc<Session>>,
    told_status: TaskStatus,
    told_sentence: Option<String>,
    /// The next sentence is told at this moment at the earliest.
    sentence_after: Option<Instant>,
    told_progress: Progress,
    /// The last progress value sent: the next one is larger.
    last_value: f64,
    deliveries: BTreeMap<String, Delivery>,
    /// Who was asked to send a person to a URL, by the keys of the questions: they alone are told when
    /// that is done (2025-11-25 elicitation, "Completion Notifications for URL Mode").
    sent_to_urls: BTreeMap<String, (Outlet, Arc<Session>)>,
    /// What this server says and no other one of its store, where there are others.
    claims: BTreeMap<String, Claim>,
    /// Another server says something that this one could say; it may have stopped at this moment.
    claims_after: Option<Instant>,
    /// When each question was looked at for the first time.
    first_seen: BTreeMap<String, Instant>,
}

/// The latest delivery of an open question.
#[derive(Default)]
struct Delivery {
    /// Where it was sent. `None` once the question is to be sent again.
    at: Option<Sent>,
    /// How often it was sent: the number of the next delivery.
    sent: u32,
    /// It is sent again at this moment at the earliest.
    again_after: Option<Instant>,
}

/// A question on its way to a client.
struct Sent {
    outlet: Outlet,
    session: Arc<Session>,
    /// [`Outlet::gaps`] when it was sent.
    gaps: u32,
    id: RequestId,
    /// The client has answered.
    answered: bool,
    /// Others may be asked at this moment, if its stream is still broken then.
    lost_after: Option<Instant>,
}

impl Sent {
    /// Whether the client reads there, or has not been away for long.
    fn is_there(&self) -> bool {
        let back = |after: Instant| Instant::now() < after;
        self.outlet.is_open() || self.lost_after.is_none_or(back)
    }

    /// Notes whether somebody reads there.
    fn look(&mut self) {
        if self.outlet.is_open() {
            self.lost_after = None;
        } else {
            let lost = || Instant::now() + RETURNS_WITHIN;
            self.lost_after.get_or_insert_with(lost);
        }
    }

    /// Whether the client has the question, or gets it when it comes back.
    fn arrives(&self) -> bool {
        self.outlet.gaps() == self.gaps && (self.outlet.is_open() || self.outlet.may_return())
    }

    /// Tells the client that nobody waits for its answer any more, on `way` if that leads to it as well.
    fn withdraw(&self, task: TaskId, way: Option<(&Outlet, &Session)>) {
        if self.answered {
            return;
        }
        let own = way.filter(|(_, session)| session.key == self.session.key);
        let outlet = match own {
            Some((outlet, _)) => Some(outlet.clone()),
            None if self.outlet.is_open() || self.outlet.may_return() => Some(self.outlet.clone()),
            None => self.session.general(),
        };
        outlet.map(|outlet| outlet.send(withdrawn(&self.id, Some(task))));
    }
}

impl Courier {
    /// Claims what this server has a way for, and gives back what it has none for any more.
    async fn meet_others(&mut self, task: &Arc<Task>) {
        self.claims_after = None;
        if task.is_finished() {
            return;
        }
        self.find_home(task);
        let wanted = self.sayable(task);
        let (side, instance) = (self.server.store(), &self.server.instance);
        let now = self.server.handle.now();
        let claims = std::mem::take(&mut self.claims);
        for (what, claim) in claims {
            if wanted.contains(&what) {
                self.claims.insert(what, claim);
            } else if let Err(error) = instance.give_back(&*side, now, &claim).await {
                tracing::warn!(%error, "cannot leave a message to the other servers of the store; trying again");
                self.claims.insert(what, claim);
                self.claims_after = Some(Instant::now() + CLAIM_AGAIN);
            }
        }
        for what in wanted {
            if self.claims.contains_key(&what) {
                continue;
            }
            match instance.claim(&*side, now, task.id(), &what).await {
                Ok(Some(claim)) => {
                    self.claims.insert(what, claim);
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot see which server asks a client; looking again");
                }
            }
            self.claims_after = Some(Instant::now() + CLAIM_AGAIN);
        }
    }

    /// What this server could say of the task.
    fn sayable(&mut self, task: &Arc<Task>) -> BTreeSet<String> {
        let mut sayable = BTreeSet::new();
        for input in task.open_inputs() {
            let question = &input.request;
            let sent = self.deliveries.get(&question.key);
            let sent = sent.and_then(|delivery| delivery.at.as_ref());
            if sent.is_some_and(Sent::is_there) || self.way_for(task, question).is_some() {
                sayable.insert(claim_of(question));
            }
        }
        let reply_to = task.spec.reply_to.as_ref();
        if reply_to.is_some_and(|to| to.progress_token.is_some()) && self.own_way(task).is_some() {
            sayable.insert(PROGRESS.to_owned());
        }
        sayable
    }

    /// Whether this server says this.
    fn says(&self, what: &str) -> bool {
        !self.server.config.shared || self.claims.contains_key(what)
    }

    fn look(&mut self, task: &Arc<Task>) {
        self.find_home(task);
        self.hear(task);
        let status = task.status(Era::Legacy);
        // The order is: progress, status, questions; and no progress once the end is known.
        if !task.is_finished() && task.state.progress != self.told_progress {
            self.tell_progress(task);
        }
        self.tell_status(task, status);
        self.tell_completed(task.id());
        self.deliveries.retain(|key, delivery| {
            let mut open = task.open_inputs().filter(|_| !task.is_finished());
            let stays = open.any(|input| input.request.key == *key);
            if let (false, Some(sent)) = (stays, &delivery.at) {
                sent.withdraw(task.id(), None);
            }
            stays
        });
        self.deliveries
            .values_mut()
            .filter_map(|delivery| delivery.at.as_mut())
            .for_each(Sent::look);
        if !task.is_finished() && Instant::now() >= self.unknown_until {
            let open: Vec<InputRequest> = task
                .open_inputs()
                .map(|input| input.request.clone())
                .collect();
            for question in &open {
                self.deliver(task, question);
            }
        }
    }

    fn tell_completed(&mut self, task: TaskId) {
        let completed = std::mem::take(&mut self.round.lock().completed);
        for key in completed {
            let Some((outlet, session)) = self.sent_to_urls.remove(&key) else {
                continue;
            };
            let message = url_completed(task, &key);
            if !outlet.is_open() || !outlet.send(message.clone()) {
                session.general().map(|outlet| outlet.send(message));
            }
        }
    }

    /// Tells the status when it changes, and at a gentle pace the sentence about it.
    fn tell_status(&mut self, task: &Task, status: TaskStatus) {
        let sentence = task.status_message();
        let now = Instant::now();
        let early = self.sentence_after.is_some_and(|after| now < after);
        let new_sentence = sentence != self.told_sentence && !early;
        if status == self.told_status && !new_sentence {
            return;
        }
        self.told_status = status;
        self.told_sentence = sentence;
        self.sentence_after = Some(now + SENTENCE_EVERY);
        // A client that waits for the result has no use for it.
        if let Some(outlet) = self.home.as_ref().and_then(|home| home.general()) {
            outlet.send(status_notification(&self.server, task));
        }
    }

    fn find_home(&mut self, task: &Task) {
        let gone = self
            .home
            .as_ref()
            .is_none_or(|home| home.general().is_none());
        if let (true, Some(reply_to)) = (gone, &task.spec.reply_to) {
            self.home = self.server.sessions.by_key(&reply_to.session);
        }
    }

    /// Where progress of the task goes: to its own session, and nowhere else.
    fn own_way(&self, task: &Task) -> Option<Outlet> {
        let reply_to = task.spec.reply_to.as_ref()?;
        if let Some(outlet) = self.home.as_ref().and_then(|home| home.general()) {
            return Some(outlet);
        }
        let waiting = self.round.lock();
        let mut own = waiting.results.iter().rev();
        let own = own.find(|way| way.session.key == reply_to.session && way.outlet.is_open());
        own.map(|way| way.outlet.clone())
    }

    fn tell_progress(&mut self, task: &Task) {
        if !self.says(PROGRESS) {
            return;
        }
        let progress = &task.state.progress;
        self.told_progress = progress.clone();
        let token = task
            .spec
            .reply_to
            .as_ref()
            .and_then(|to| to.progress_token.as_ref());
        let (Some(token), Some(outlet)) = (token, self.own_way(task)) else {
            return;
        };
        let value = next_value(self.last_value, progress.done, progress.total);
        self.last_value = value;
        outlet.send(progress_notification(
            token.as_str(),
            value,
            progress,
            true,
            Some(task.id()),
        ));
    }

    fn deliver(&mut self, task: &Task, question: &InputRequest) {
        if !self.says(&claim_of(question)) {
            return;
        }
        if let Some(delivery) = self.deliveries.get_mut(&question.key) {
            let early = delivery
                .again_after
                .is_some_and(|after| Instant::now() < after);
            let arrived = |sent: &Sent| sent.lost_after.is_none() && sent.arrives();
            if early || delivery.at.as_ref().is_some_and(arrived) {
                return;
            }
        }
        let Some((outlet, session)) = self.way_for(task, question) else {
            return;
        };
        let mut last = self.deliveries.remove(&question.key).unwrap_or_default();
        if let Some(sent) = &last.at {
            let returns = sent.lost_after.is_some_and(|after| Instant::now() < after);
            if sent.arrives() && returns && sent.session.key != session.key {
                self.deliveries.insert(question.key.clone(), last);
                return;
            }
            sent.withdraw(task.id(), Some((&outlet, &session)));
            let told = (question.key.clone(), last.sent.saturating_sub(1));
            self.round.lock().withdrawn.insert(told);
        }
        let id = QuestionId {
            task: task.id(),
            key: question.key.clone(),
            delivery: last.sent,
        };
        let id = RequestId::string(&id.seal(&self.server.sealer));
        let gaps = outlet.gaps();
        let version = session.identity.version;
        let sent = outlet.send(question_request(&id, task.id(), question, version));
        if sent || outlet.may_return() {
            if elicitation_mode(question).as_deref() == Some("url") {
                let asked = (outlet.clone(), Arc::clone(&session));
                self.sent_to_urls.insert(question.key.clone(), asked);
            }
            last = Delivery {
                at: Some(Sent {
                    outlet,
                    session,
                    gaps,
                    id,
                    answered: false,
                    lost_after: None,
                }),
                sent: last.sent + 1,
                again_after: None,
            };
        } else {
            // Its client reads too slowly, and nothing need happen when there is room again.
            last = Delivery {
                at: None,
                sent: last.sent,
                again_after: Some(Instant::now() + FIRST_PAUSE),
            };
        }
        self.deliveries.insert(question.key.clone(), last);
    }

    /// Hears whether the client knows the task, and takes back the deliveries that came to nothing.
    /// Another process may have made them.
    fn hear(&mut self, task: &Task) {
        let mut waiting = self.round.lock();
        if waiting.known {
            self.unknown_until = Instant::now();
        } else if let Some(introduced) = waiting.introduced.take() {
            self.unknown_until = introduced + KNOWN_AFTER;
        }
        let again = std::mem::take(&mut waiting.again);
        let answered = std::mem::take(&mut waiting.answered);
        let asked = std::mem::take(&mut waiting.asked);
        drop(waiting);
        for asked in asked {
            self.note_asked(task, asked);
        }
        for (key, number) in answered {
            if let Some(delivery) = self.deliveries.get_mut(&key)
                && let Some(sent) = &mut delivery.at
                && delivery.sent == number + 1
            {
                sent.answered = true;
            }
        }
        for (key, number) in again {
            let known = self.deliveries.get(&key);
            if known.is_some_and(|delivery| delivery.sent > number + 1) {
                continue;
            }
            let pause = pause_after(number).unwrap_or(LONGEST_PAUSE);
            let again = Delivery {
                at: None,
                sent: number + 1,
                again_after: Some(Instant::now() + pause),
            };
            self.deliveries.insert(key, again);
        }
    }

    /// Takes a question that an earlier process has sent for one that was sent from here.
    fn note_asked(&mut self, task: &Task, asked: Asked) {
        let Asked {
            key,
            delivery,
            id,
            session,
        } = asked;
        let Some(outlet) = session.general() else {
            return;
        };
        let mut open = task.open_inputs().map(|input| &input.request);
        let question = open.find(|question| question.key == key);
        if question.is_some_and(|question| elicitation_mode(question).as_deref() == Some("url")) {
            let asked = (outlet.clone(), Arc::clone(&session));
            self.sent_to_urls.insert(key.clone(), asked);
        }
        let sent = Sent {
            gaps: outlet.gaps(),
            outlet,
            session,
            id,
            answered: false,
            lost_after: None,
        };
        let delivery = Delivery {
            at: Some(sent),
            sent: delivery.saturating_add(1),
            again_after: None,
        };
        self.deliveries.insert(key, delivery);
    }

    fn way_for(&mut self, task: &Task, question: &InputRequest) -> Option<(Outlet, Arc<Session>)> {
        let can = |session: &Session| answers::can(session.identity.capabilities, question);
        if self.origin.lets_waiters_answer(question) {
            let waiting = self.round.lock();
            let mut waiting = waiting.results.iter().rev();
            let way =
                waiting.find(|way| way.may_answer && can(&way.session) && way.outlet.is_open());
            if let Some(way) = way {
                return Some((way.outlet.clone(), Arc::clone(&way.session)));
            }
        }
        let first = self.origin.session.as_ref();
        let first = first.and_then(|key| self.server.sessions.by_key(key));
        let others = match self.origin.lets_others_answer(&self.server, task, question) {
            Ok(()) if self.is_others_turn(question) => {
                self.server.sessions.listening(&task.spec.owner)
            }
            Ok(()) => Vec::new(),
            Err(after) => {
                self.others_after = self.others_after.into_iter().chain(after).min();
                Vec::new()
            }
        };
        let home = self.home.clone();
        home.into_iter()
            .chain(first)
            .chain(others)
            .filter(|session| can(session))
            .find_map(|session| Some((session.general_for_questions()?, session)))
    }

    /// Whether any server that has a better way has had the time to take it.
    fn is_others_turn(&mut self, question: &InputRequest) -> bool {
        let now = Instant::now();
        let first = *self.first_seen.entry(question.key.clone()).or_insert(now);
        let turn = first + OTHERS_TURN;
        if !self.server.config.shared || now >= turn {
            return true;
        }
        self.others_after = self.others_after.into_iter().chain([turn]).min();
        false
    }

    /// Whether anybody could be told anything.
    fn has_somewhere_to_go(&self, task: &Task) -> bool {
        let mut sent = self.deliveries.values().filter_map(|sent| sent.at.as_ref());
        !self.round.lock().results.is_empty()
            || sent.any(|sent| sent.outlet.may_return())
            || self
                .home
                .as_ref()
                .is_some_and(|home| home.general().is_some())
            || !self.server.sessions.listening(&task.spec.owner).is_empty()
    }

    /// Waits for the next thing to look at; `false` once the task is gone.
    async fn wait(&self, watch: &mut Watch) -> bool {
        let held_back = watch.task().status_message() != self.told_sentence;
        let sentence_due = async {
            match self.sentence_after {
                Some(after) if held_back => tokio::time::sleep_until(after).await,
                _ => std::future::pending().await,
            }
        };
        let ways = self.deliveries.values().filter_map(|sent| sent.at.as_ref());
        let ways = ways.map(|sent| {
            // What has happened to it was looked at.
            let known_open = sent.lost_after.is_none();
            Box::pin(async move {
                if known_open {
                    sent.outlet.closed().await;
                } else {
                    sent.outlet.returned().await;
                }
            })
        });
        let mut ways: Vec<_> = ways.collect();
        let moved = std::future::poll_fn(|cx| {
            let any = ways.iter_mut().any(|way| way.as_mut().poll(cx).is_ready());
            if any { Poll::Ready(()) } else { Poll::Pending }
        });
        let now = Instant::now();
        let unsent = self.deliveries.values().filter(|sent| sent.at.is_none());
        let again = unsent.filter_map(|sent| sent.again_after);
        let sent = self.deliveries.values().filter_map(|sent| sent.at.as_ref());
        let lost = sent.filter_map(|sent| {
            let forgotten = sent.lost_after? + KEEP_FOR;
            Some([sent.lost_after?, forgotten])
        });
        let asks = watch.task().open_inputs().next().is_some();
        let first = asks.then_some(self.unknown_until);
        // What is due already has no stream to go to.
        let others = self.others_after;
        let next = again
            .chain(first)
            .chain(others)
            .chain(self.claims_after)
            .chain(lost.flatten())
            .filter(|after| *after > now)
            .min();
        let question_due = async {
            match next {
                Some(after) => tokio::time::sleep_until(after).await,
                None => std::future::pending().await,
            }
        };
        let home_closed = async {
            match self.home.as_ref().and_then(|home| home.general()) {
                Some(outlet) => outlet.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = watch.changed() => changed.is_ok(),
            () = self.round.changed.notified() => true,
            () = moved => true,
            () = home_closed => true,
            () = sentence_due => true,
            () = question_due => true,
            () = self.server.stopping.cancelled() => false,
        }
    }
}
