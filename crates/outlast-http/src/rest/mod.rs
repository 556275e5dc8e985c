//! Tasks for everybody who speaks HTTP: a browser, curl, a script, a monitoring system.
//!
//! The same tasks as over MCP, under the same ids, through the same handle: nothing here knows a rule
//! of its own about what a task may do. Field names are the wire's of 2026-07-28. Errors are problem
//! details (RFC 9457) in one sentence that says what is allowed. The OpenAPI document is made from the
//! handlers below and cannot drift from them.

mod artifacts;
mod cancel;
mod children;
mod create;
mod delete;
mod event;
mod events;
mod extract;
mod feed;
mod health;
mod input;
mod journal;
mod links;
mod list;
mod live;
mod logs;
mod metrics;
mod partials;
mod problem;
mod queues;
mod result;
mod retry;
mod schedules;
pub(crate) mod session;
mod show;
mod signals;
mod socket;
mod stats;
mod task;
mod tools;
mod wait;
mod webhooks;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::Uri;
use outlast_core::Principal;
use outlast_engine::Handle;
use outlast_mcp::{Room, Server};
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

pub use health::{Reload, Reloads};
use live::Live;
pub(crate) use metrics::page;
use problem::Problem;
pub(crate) use problem::not_found;

/// What every handler needs.
#[derive(Clone)]
pub(crate) struct Api(Arc<Inner>);

struct Inner {
    server: Server,
    live: Live,
    options: RestOptions,
}

/// How the REST surface presents itself.
#[derive(Clone, Debug, Default)]
pub struct RestOptions {
    /// The server's name and version, for the OpenAPI document.
    pub title: String,
    /// See `title`.
    pub version: String,
    /// How clients reach the server where a request does not tell, for example behind a proxy that
    /// changes the host: `https://tasks.example.org`. Links begin with it.
    pub public_url: Option<String>,
    /// The tool that `POST /tasks` calls if the body names none; the body is then its arguments.
    pub default_tool: Option<String>,
    /// What came of the last reload, for `/health`.
    pub reloads: Reloads,
}

impl Api {
    fn handle(&self) -> &Handle {
        self.0.server.handle()
    }

    /// Room for a stream that listens, over server-sent events or a socket: counted together with those
    /// of MCP.
    fn room(&self, who: &Principal) -> Result<Room, Problem> {
        self.server()
            .stream_room(who.owner())
            .map_err(Problem::full)
    }

    fn server(&self) -> &Server {
        &self.0.server
    }

    fn live(&self) -> &Live {
        &self.0.live
    }

    fn options(&self) -> &RestOptions {
        &self.0.options
    }
}

#[derive(OpenApi)]
#[openapi(
    info(description = "Durable background tasks. The same tasks are open over MCP, under the same ids."),
    paths(session::show, session::sign_in, session::sign_out),
    tags(
        (name = "tasks", description = "Runs of tools that outlive their callers."),
        (name = "tools", description = "What can be run."),
        (name = "operation", description = "How busy the server is, and what waits."),
        (name = "session", description = "How a browser is signed in."),
        (name = "health", description = "For monitors and load balancers."),
    )
)]
struct Document;

/// The routes of the REST surface.
pub(crate) fn routes(server: &Server, options: RestOptions) -> Router {
    let mut router = Router::new();
    each_route(|(_, paths, handlers)| {
        for path in paths.paths.keys() {
            router = std::mem::take(&mut router).route(path, handlers.clone());
        }
    });
    let api = Api(Arc::new(Inner {
        live: Live::new(server),
        server: server.clone(),
        options,
    }));
    router
        .route("/openapi.json", get(openapi))
        .route("/ws", get(socket::live))
        .route("/ws/{id}", get(socket::socket))
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(problem::LARGEST_BODY))
        .with_state(api)
}

/// Gives out every operation, with its description, one after the other: together the descriptions are
/// larger than all else that an idle server holds, and few ever ask for them.
fn each_route(mut take: impl FnMut(UtoipaMethodRouter<Api>)) {
    take(routes!(create::create, list::list));
    take(routes!(show::show, delete::delete));
    take(routes!(result::result));
    take(routes!(cancel::cancel));
    take(routes!(retry::retry));
    take(routes!(input::input));
    take(routes!(signals::signal));
    take(routes!(logs::logs));
    take(routes!(events::events));
    take(routes!(events::live));
    take(routes!(journal::journal));
    take(routes!(journal::attempts));
    take(routes!(children::children));
    take(routes!(partials::partials));
    take(routes!(webhooks::list));
    take(routes!(webhooks::resend));
    take(routes!(artifacts::list));
    take(routes!(artifacts::artifact));
    take(routes!(stats::stats));
    take(routes!(stats::workers));
    take(routes!(queues::list));
    take(routes!(queues::pause_all));
    take(routes!(queues::resume_all));
    take(routes!(queues::pause));
    take(routes!(queues::resume));
    take(routes!(schedules::list));
    take(routes!(schedules::show));
    take(routes!(schedules::pause));
    take(routes!(schedules::resume));
    take(routes!(schedules::run));
    take(routes!(tools::list));
    take(routes!(tools::call));
    take(routes!(metrics::metrics));
    take(routes!(health::live));
    take(routes!(health::ready));
    take(routes!(health::health));
}

/// The OpenAPI document.
fn document(options: &RestOptions) -> utoipa::openapi::OpenApi {
    let mut described = OpenApiRouter::with_openapi(Document::openapi());
    each_route(|route| described = std::mem::take(&mut described).routes(route));
    let mut document = described.into_openapi();
    // The router's way to write a name with slashes in it is not the document's.
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths
        .into_iter()
        .map(|(path, mut item)| {
            name_operations(&path, &mut item);
            (path.replace("{*", "{"), item)
        })
        .collect();
    name_credentials(&mut document);
    document.info.title.clone_from(&options.title);
    document.info.version.clone_from(&options.version);
    document
}

/// The first parts of all paths that are served beside MCP.
const FIRST_PARTS: [&str; 14] = [
    ".well-known",
    "dashboard",
    "events",
    "health",
    "metrics",
    "openapi.json",
    "queues",
    "schedules",
    "session",
    "stats",
    "tasks",
    "tools",
    "workers",
    "ws",
];

/// Whether a path is served beside MCP, or lies below or above one that is.
pub fn is_taken(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next();
    first.is_none_or(|first| first.is_empty() || FIRST_PARTS.contains(&first))
}

/// Names each operation by its method and path: handlers of different files have the same names.
fn name_operations(path: &str, item: &mut PathItem) {
    let mut words = String::new();
    for part in path.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut letters = part.chars();
        words.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        words.push_str(letters.as_str());
    }
    let operations = [
        ("get", &mut item.get),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
    ];
    for (method, operation) in operations {
        if let Some(operation) = operation {
            operation.operation_id = Some(format!("{method}{words}"));
            name_refusals(path, operation);
            name_problems(operation);
        }
    }
}

/// Names the answers that do not depend on the operation: of the gate of a server with users, of a body that is too
/// large or no JSON, and of a store that is out of reach.
fn name_refusals(path: &str, operation: &mut Operation) {
    if path == "/health/live" {
        return;
    }
    let mut refusals = vec![
        ("400", "The request does not fit."),
        (
            "503",
            "The store cannot be reached at present, or users cannot.",
        ),
    ];
    if path != "/session" && path != "/health/ready" {
        operation.security = Some(vec![
            SecurityRequirement::new::<_, [&str; 0], &str>("token", []),
            SecurityRequirement::new::<_, [&str; 0], &str>("cookie", []),
            SecurityRequirement::default(),
        ]);
        refusals.extend([
            ("401", "The server has users, and these credentials are of none."),
            ("403", "The credentials do not give the scope that this needs, or the request comes from a foreign page."),
            ("429", "Too many wrong tokens came from this address; Retry-After says how long to wait."),
        ]);
    }
    if operation.request_body.is_some() {
        refusals.extend([
            ("413", "The body is too large."),
            ("415", "The body is not JSON."),
        ]);
    }
    for (status, description) in refusals {
        let named = operation.responses.responses.entry(status.to_owned());
        named.or_insert_with(|| {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            let response = ResponseBuilder::new().description(description);
            response.content("application/json", problem).into()
        });
    }
}

/// How a caller says who it is, on a server with users; without, nobody is asked.
fn name_credentials(document: &mut utoipa::openapi::OpenApi) {
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let token = token.description(Some("A token of one of the server's users."));
    let cookie = ApiKeyValue::with_description(
        session::NAME,
        "Of a browser that has signed in: POST /session.",
    );
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(token.build()));
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
}

/// Says of each answer that is a problem that it has the media type of one.
fn name_problems(operation: &mut Operation) {
    const PROBLEM: &str = "#/components/schemas/Problem";
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else {
            continue;
        };
        let is_problem = |content: &RefOr<Content>| match content {
            RefOr::T(content) => {
                matches!(&content.schema, Some(RefOr::Ref(of)) if of.ref_location == PROBLEM)
            }
            RefOr::Ref(_) => false,
        };
        let json = response.content.get("application/json");
        if json.is_some_and(is_problem)
            && let Some(content) = response.content.shift_remove("application/json")
        {
            let kind = "application/problem+json".to_owned();
            response.content.insert(kind, content);
        }
    }
}

async fn openapi(State(api): State<Api>) -> Json<utoipa::openapi::OpenApi> {
    Json(document(api.options()))
}

/// Takes the trailing slash off a path: with and without it is the same, and a redirect would lose the
/// body of a POST.
pub(crate) fn trim_path(uri: &mut Uri) {
    let Some(path) = uri.path().strip_suffix('/').filter(|path| !path.is_empty()) else {
        return;
    };
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = text.parse().ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

/// The answer to a request that comes from where none may.
pub(crate) fn refused(problem: String) -> Response {
    problem::Problem::new(http::StatusCode::FORBIDDEN, problem).into_response()
}
