//! The dashboard: a page of ours for the REST surface, carried in the binary.
//!
//! Plain HTML, CSS and modules of JavaScript, as they are in the tree: nothing is built and nothing is
//! fetched from elsewhere. The page may load and reach this server and nothing else, and may not be
//! framed, so that no other page can lead somebody's click.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($path:literal $kind:ident $file:literal,)*) => {
        /// Path, type and text of each part of the page.
        const ASSETS: &[(&str, &str, &str)] =
            &[$(($path, $kind, include_str!(concat!("../assets/", $file))),)*];
    };
}

assets! {
    "/" HTML "index.html",
    "/dashboard/style.css" CSS "style.css",
    "/dashboard/main.js" SCRIPT "main.js",
    "/dashboard/api.js" SCRIPT "api.js",
    "/dashboard/dom.js" SCRIPT "dom.js",
    "/dashboard/form.js" SCRIPT "form.js",
    "/dashboard/list.js" SCRIPT "list.js",
    "/dashboard/task.js" SCRIPT "task.js",
    "/dashboard/tools.js" SCRIPT "tools.js",
}

/// The routes of the dashboard.
pub(crate) fn routes() -> Router {
    let mut router = Router::new();
    for &(path, kind, text) in ASSETS {
        let tag = format!("\"{:x}\"", Sha256::digest(text));
        let tag = HeaderValue::try_from(tag).expect("hexadecimal digits fit a header");
        router = router.route(
            path,
            get(move |headers: HeaderMap| async move { asset(&headers, kind, text, tag) }),
        );
    }
    router
}

fn asset(
    headers: &HeaderMap,
    kind: &'static str,
    text: &'static str,
    tag: HeaderValue,
) -> Response {
    let known = headers.get(header::IF_NONE_MATCH) == Some(&tag);
    let always = [
        (header::ETAG, tag),
        // Asked for each time, sent only when it changed: a new binary shows its own page at once.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
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
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, always).into_response();
    }
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
    (always, kind, text).into_response()
}
