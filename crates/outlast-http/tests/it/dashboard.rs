//! The dashboard as a browser loads it: the page, every part that it names, and what holds them.

use std::collections::BTreeSet;

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH};

use crate::rest::rig;

/// What a text has between quotation marks, and around them.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"')
}

#[tokio::test]
async fn the_page_names_every_part_and_each_is_kept_for_good() {
    let rig = rig().await;
    let page = rig.get("/").await;
    let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    // The page is asked for each time; only then can it name newer parts.
    assert_eq!(page.headers()[CACHE_CONTROL], "no-cache");
    let page = page.text().await.unwrap();
    assert!(!page.contains('{'), "a place is left to fill: {page}");

    let named: BTreeSet<&str> = quoted(&page)
        .filter(|part| part.starts_with("dashboard/"))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for name in &named {
        let part = rig.get(&format!("/{name}")).await;
        assert_eq!(part.status(), StatusCode::OK, "{name}");
        let kept = part.headers()[CACHE_CONTROL].to_str().unwrap();
        assert!(kept.contains("immutable"), "{name}: {kept}");
        assert_eq!(part.headers()["x-content-type-options"], "nosniff");
        let tag = part.headers()[ETAG].clone();
        // A module that the page does not name would be found one request later.
        let folder = name.rsplit_once('/').unwrap().0;
        let text = part.text().await.unwrap();
        for import in quoted(&text).filter_map(|part| part.strip_prefix("./")) {
            let import = format!("{folder}/{import}");
            assert!(named.contains(&*import), "{name} imports {import}");
        }
        let again = rig
            .client
            .get(rig.url(&format!("/{name}")))
            .header(IF_NONE_MATCH, tag);
        let again = again.send().await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
}
