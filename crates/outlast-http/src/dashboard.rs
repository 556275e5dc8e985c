//! The dashboard: a page of ours for the REST surface, carried in the binary.
//!
//! Plain HTML, CSS and modules of JavaScript, as they are in the tree: nothing is built and nothing is
//! fetched from elsewhere. The page names its parts under a digest of all of them, so a browser keeps
//! them for good and asks again only for the page: a visit that is not the first costs one request, and
//! a new binary shows its own page at once.
//!
//! What a task says is never read as HTML. The scripts put it into text nodes only, and the policy holds
//! them to it: nothing inline runs, no text can become markup (`require-trusted-types-for`), the page
//! loads and reaches this server and nothing else, and it may not be framed, so that no other page can
//! lead somebody's click.

use std::sync::LazyLock;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; media-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// How the page and its parts may be kept: the page is asked for each time, and sent only when it
/// changed.
const AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// A part under the digest of what it is now never changes.
const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

const PAGE: &str = include_str!("../assets/index.html");

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! parts {
    ($($kind:ident $file:literal,)*) => {
        /// Name, type and text of each part of the page.
        const PARTS: &[(&str, &str, &str)] =
            &[$(($file, $kind, include_str!(concat!("../assets/", $file))),)*];
    };
}

parts! {
    CSS "style.css",
    SVG "icon.svg",
    SCRIPT "actions.js",
    SCRIPT "activity.js",
    SCRIPT "api.js",
    SCRIPT "charts.js",
    SCRIPT "connection.js",
    SCRIPT "dom.js",
    SCRIPT "exact.js",
    SCRIPT "form.js",
    SCRIPT "json.js",
    SCRIPT "list.js",
    SCRIPT "live.js",
    SCRIPT "log.js",
    SCRIPT "main.js",
    SCRIPT "parts.js",
    SCRIPT "question.js",
    SCRIPT "results.js",
    SCRIPT "schema.js",
    SCRIPT "signin.js",
    SCRIPT "task.js",
    SCRIPT "theme.js",
    SCRIPT "timeline.js",
    SCRIPT "tools.js",
    SCRIPT "tree.js",
    SCRIPT "webhooks.js",
    SCRIPT "words.js",
}

/// The digest of everything that the page consists of.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new_with_prefix(PAGE);
    for (name, _, text) in PARTS {
        digest.update(name);
        digest.update(text);
    }
    format!("{:x}", digest.finalize())[..16].to_owned()
});

/// The page, which names its parts. All modules are named, or a browser would find out about them one
/// after the other.
static INDEX: LazyLock<String> = LazyLock::new(|| {
    let scripts = PARTS.iter().filter(|(_, kind, _)| *kind == SCRIPT);
    let modules: Vec<String> = scripts
        .map(|(name, ..)| {
            format!("<link rel=\"modulepreload\" href=\"dashboard/{{version}}/{name}\">")
        })
        .collect();
    PAGE.replace("{modules}", &modules.join("\n    "))
        .replace("{version}", &VERSION)
});

/// The routes of the dashboard.
pub(crate) fn routes() -> Router {
    let page = get(|headers: HeaderMap| async move {
        answer(&headers, "text/html; charset=utf-8", &INDEX, AGAIN)
    });
    let mut router = Router::new().route("/", page);
    for &(name, kind, text) in PARTS {
        let current = format!("/dashboard/{}/{name}", *VERSION);
        let part =
            get(move |headers: HeaderMap| async move { answer(&headers, kind, text, FOR_GOOD) });
        router = router.route(&current, part);
    }
    router
}

fn answer(
    headers: &HeaderMap,
    kind: &'static str,
    text: &'static str,
    keep: HeaderValue,
) -> Response {
    // Everything changes together.
    let tag = HeaderValue::try_from(format!("\"{}\"", *VERSION));
    let tag = tag.expect("hexadecimal digits fit a header");
    let known = headers.get(header::IF_NONE_MATCH) == Some(&tag);
    let always = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, keep),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        (
            http::HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        ),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, always).into_response();
    }
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
    (always, kind, text).into_response()
}
