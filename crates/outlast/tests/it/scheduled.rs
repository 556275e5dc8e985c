//! What a tool brings beside its code: schedules and labels, from the macro and from the builder.

use std::collections::BTreeMap;
use std::time::Duration;

use outlast::prelude::*;
use outlast::testing::TestServer;
use outlast::{NewSchedule, Settings};
use serde_json::json;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Throws away what is old.
#[tool(task, every = "1h", labels(team = "ops", "cost centre" = "42"), tags = ["house"])]
async fn tidy(#[default = 30] days: u32) -> String {
    format!("nothing is older than {days} days")
}

/// Sends a report.
#[tool(
    task,
    schedule = "0 3 * * *",
    time_zone = "Europe/Berlin",
    labels(type = "report")
)]
async fn report(#[default = 1] days: u32) -> String {
    format!("sent for {days}")
}

/// What all schedules are to do.
async fn schedules(server: &TestServer) -> Vec<NewSchedule> {
    let all = server.handle().schedules().list().await.unwrap();
    all.into_iter().map(|schedule| schedule.spec).collect()
}

#[tokio::test]
async fn a_tool_calls_itself_and_labels_its_tasks() {
    let weekly = NewSchedule::every(7 * 24 * HOUR)
        .named("thorough")
        .arguments(&json!({"days": 7}))
        .label("team", "board");
    let server = Server::new("house").tool(tidy().schedule(weekly));
    let server = TestServer::start(server).await.unwrap();
    let ran = async |schedule: &str| {
        let task = server.handle().schedules().run(schedule).await.unwrap();
        server.run_until_idle().await;
        (task.spec.labels.clone(), server.text(task.id()).await)
    };
    let labels = |pairs: [(&str, &str); 3]| {
        BTreeMap::from(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())))
    };
    let hourly = [("cost centre", "42"), ("schedule", "tidy"), ("team", "ops")];
    let said = "nothing is older than 30 days".to_owned();
    assert_eq!(ran("tidy").await, (labels(hourly), said));
    let weekly = [
        ("cost centre", "42"),
        ("schedule", "thorough"),
        ("team", "board"),
    ];
    let said = "nothing is older than 7 days".to_owned();
    assert_eq!(ran("thorough").await, (labels(weekly), said));
}

#[tokio::test]
async fn schedules_of_mounted_tools_have_the_names_that_the_tools_have_outside() {
    let thorough = NewSchedule::every(HOUR).named("thorough");
    let part = || Server::new("part").tool(tidy().schedule(thorough.clone()));
    let server = Server::new("whole")
        .tool(report)
        .mount("a", Server::new("between").mount("b", part()))
        .mount("c", part());
    let server = TestServer::start(server).await.unwrap();
    let names: Vec<_> = schedules(&server)
        .await
        .into_iter()
        .map(|schedule| (schedule.name, schedule.tool))
        .collect();
    let wanted = [
        ("a_b_thorough", "a_b_tidy"),
        ("a_b_tidy", "a_b_tidy"),
        ("c_thorough", "c_tidy"),
        ("c_tidy", "c_tidy"),
        ("report", "report"),
    ];
    assert_eq!(
        names,
        wanted.map(|(name, tool)| (name.to_owned(), tool.to_owned()))
    );
}

#[tokio::test]
async fn a_tool_that_is_not_offered_is_not_scheduled() {
    let settings = Settings {
        exclude_tags: Some(vec!["house".into()]),
        ..Settings::default()
    };
    let part = Server::new("part").tools([tidy(), report()]);
    let server = Server::new("whole").settings(settings).mount("m", part);
    let server = TestServer::start(server).await.unwrap();
    let wanted = NewSchedule {
        declared: true,
        ..NewSchedule::cron("0 3 * * *")
            .time_zone("Europe/Berlin")
            .of_tool("m_report")
    };
    assert_eq!(schedules(&server).await, [wanted]);
}

#[tokio::test]
async fn what_cannot_hold_together_refuses_the_start() {
    let refused = async |server: Server| {
        let refused = TestServer::start(server).await.err();
        refused.expect("it is refused").to_string()
    };
    let same = tidy().schedule(NewSchedule::every(HOUR));
    let said = refused(Server::new("twice").tool(same)).await;
    assert!(said.contains("two schedules are named \"tidy\""), "{said}");
    let wrong = report().schedule(
        NewSchedule::every(HOUR)
            .named("x")
            .arguments(&json!({"n": 1})),
    );
    let said = refused(Server::new("arguments").tool(wrong)).await;
    assert!(said.contains("the schedule \"x\""), "{said}");
    let never = report().task(outlast::TaskSupport::Forbidden);
    let said = refused(Server::new("never").tool(never)).await;
    assert!(said.contains("never runs as a task"), "{said}");
    // Two labels more are the schedule's own.
    let labelled = (0..30).fold(report(), |tool, n| tool.label(format!("l{n}"), "x"));
    let said = refused(Server::new("labels").tool(labelled)).await;
    assert!(said.contains("there are 33 labels"), "{said}");
}

/// Adds a tool that brings a schedule.
#[tool]
async fn learn(catalog: State<outlast::Catalog>) -> Result<String> {
    let refused = catalog.add_tool(report).unwrap_err();
    Ok(refused.to_string())
}

#[tokio::test]
async fn a_tool_that_is_added_later_brings_no_schedule() {
    let server = Server::new("later").tool(learn().task(outlast::TaskSupport::Optional));
    let server = TestServer::start(server).await.unwrap();
    let id = server.create("learn", &json!({})).await.unwrap();
    server.run_until_idle().await;
    let said = server.text(id).await;
    assert!(said.contains("Handle::schedules"), "{said}");
}
