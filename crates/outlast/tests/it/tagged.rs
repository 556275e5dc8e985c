//! Tags, which choose what is offered, and icons, which clients show.

use outlast::prelude::*;
use outlast::{Catalog, Icon, Settings};
use serde_json::{Value, json};

use crate::rig::Rig;

const PICTURE: &str = "https://example.com/i.png";

#[tool(tags = ["public", "quick"], icon = "https://example.com/i.png")]
async fn shown() -> &'static str {
    "shown"
}

#[tool(tags = ["public", "danger"])]
async fn hidden() -> &'static str {
    "never said"
}

#[tool(task)]
async fn untagged() {}

#[prompt(tags = ["public"], icon = "https://example.com/i.png")]
async fn hint() -> &'static str {
    "a hint"
}

#[prompt(tags = ["danger"])]
async fn trap() -> &'static str {
    "never said"
}

#[resource("page://one", tags = ["public"], icon = "https://example.com/i.png")]
async fn page() -> &'static str {
    "a page"
}

#[resource("page://numbered/{number}", tags = ["public"], icon = "https://example.com/i.png")]
async fn numbered(number: u32) -> String {
    format!("page {number}")
}

#[resource("secret://{what}", tags = ["public", "danger"])]
async fn secret(what: String) -> String {
    what
}

fn server() -> Server {
    Server::new("tagged")
        .title("Tagged")
        .description("Has tags.")
        .website_url("https://example.com")
        .icon(
            Icon::new(PICTURE)
                .size("48x48")
                .mime_type("image/png")
                .dark(),
        )
        .tool(shown)
        .tool(hidden)
        .tool(untagged)
        .prompt(hint)
        .prompt(trap)
        .resource(page)
        .resource(numbered)
        .resource(secret)
}

/// What a list of this kind calls its entries.
fn named(list: &Value, member: &str, name: &str) -> Vec<String> {
    let entries = list["result"][member].as_array().expect("a list");
    let names = entries.iter().filter_map(|entry| entry[name].as_str());
    names.map(str::to_owned).collect()
}

const LISTS: [(&str, &str, &str); 4] = [
    ("tools/list", "tools", "name"),
    ("prompts/list", "prompts", "name"),
    ("resources/list", "resources", "uri"),
    (
        "resources/templates/list",
        "resourceTemplates",
        "uriTemplate",
    ),
];

#[tokio::test]
async fn what_tags_leave_out_is_as_if_it_were_not_there() {
    let chosen = server().include_tags(["public"]).exclude_tags(["danger"]);
    let mut rig = Rig::start(chosen).await;
    let expected = ["shown", "hint", "page://one", "page://numbered/{number}"];
    for ((method, member, name), expected) in LISTS.into_iter().zip(expected) {
        let list = rig.request(method, json!({})).await;
        assert_eq!(named(&list, member, name), [expected], "{list}");
    }
    for (method, param, left_out, unknown) in [
        ("tools/call", "name", "hidden", "nothing"),
        ("tools/call", "name", "untagged", "nothing"),
        ("prompts/get", "name", "trap", "nothing"),
        ("resources/read", "uri", "secret://x", "unknown://x"),
    ] {
        let ask = async |rig: &mut Rig, name: &str| {
            let answer = rig.request(method, json!({param: name})).await;
            answer["error"].to_string().replace(name, "NAME")
        };
        let (one, other) = (ask(&mut rig, left_out).await, ask(&mut rig, unknown).await);
        assert_eq!(one, other);
        assert!(one.contains("-32602"), "{one}");
    }
    // What is added later has to pass too.
    let catalog: Catalog = rig.server.catalog().clone();
    catalog.add_tool(hidden().title("again")).unwrap();
    assert!(catalog.remove_tool("shown") && !catalog.remove_tool("hidden"));
    catalog.add_tool(shown).unwrap();
    let list = rig.request("tools/list", json!({})).await;
    assert_eq!(named(&list, "tools", "name"), ["shown"]);
}

#[tokio::test]
async fn settings_take_the_place_of_the_programs_tags() {
    let settings = Settings {
        include_tags: Some(vec!["danger".into(), "quick".into()]),
        ..Settings::default()
    };
    let mut rig = Rig::with(server().include_tags(["none"]), settings).await;
    let list = rig.request("tools/list", json!({})).await;
    assert_eq!(named(&list, "tools", "name"), ["hidden", "shown"]);
    let list = rig.request("prompts/list", json!({})).await;
    assert_eq!(named(&list, "prompts", "name"), ["trap"]);
}

#[tokio::test]
async fn a_mounted_servers_tags_hold_for_it_alone() {
    let inner = Server::new("inner")
        .tool(shown)
        .tool(hidden)
        .exclude_tags(["danger"]);
    let outer = Server::new("outer").tool(hidden).mount("in", inner);
    let mut rig = Rig::start(outer).await;
    let list = rig.request("tools/list", json!({})).await;
    assert_eq!(named(&list, "tools", "name"), ["hidden", "in_shown"]);
}

#[tokio::test]
async fn lists_show_icons_and_tags_where_the_version_has_them() {
    let icons = json!([{"src": PICTURE}]);
    let mut modern = Rig::start(server()).await;
    let list = modern.request("tools/list", json!({})).await;
    let info = &list["result"]["_meta"]["io.modelcontextprotocol/serverInfo"];
    let own =
        json!([{"src": PICTURE, "mimeType": "image/png", "sizes": ["48x48"], "theme": "dark"}]);
    assert_eq!(
        (
            &info["icons"],
            &info["websiteUrl"],
            &info["title"],
            &info["description"]
        ),
        (
            &own,
            &json!("https://example.com"),
            &json!("Tagged"),
            &json!("Has tags.")
        )
    );
    for (version, has_icons, has_meta) in [
        ("2025-11-25", true, true),
        ("2025-06-18", false, true),
        ("2025-03-26", false, false),
        ("2024-11-05", false, false),
    ] {
        let mut rig = Rig::start(server()).await;
        let info = rig.initialize(version).await["result"]["serverInfo"].clone();
        assert_eq!(info["icons"] == own, has_icons, "{version}: {info}");
        for (method, member, _) in LISTS {
            let list = rig.legacy(method, json!({})).await;
            let entries = list["result"][member].as_array().unwrap();
            let tagged = |entry: &&Value| {
                let text = entry.to_string();
                ["shown", "hint", "page://one", "numbered"]
                    .iter()
                    .any(|one| text.contains(one))
            };
            let entry = entries
                .iter()
                .find(tagged)
                .unwrap_or_else(|| panic!("{list}"));
            assert_eq!(entry["icons"] == icons, has_icons, "{version}: {entry}");
            assert_eq!(
                entry.get("icons").is_some(),
                has_icons,
                "{version}: {entry}"
            );
            let tags = &entry["_meta"]["fastmcp"]["tags"];
            assert_eq!(tags[0] == "public", has_meta, "{version}: {entry}");
            assert_eq!(entry.get("_meta").is_some(), has_meta, "{version}: {entry}");
        }
    }
}
