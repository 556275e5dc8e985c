//! `icon`: an address, a `data:` URI, or an image file beside the configuration.
//!
//! Clients show what they can reach, and many servers of command tools are on no public host: a file is
//! therefore sent with the lists themselves, and has to be small.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outlast::Icon;

use super::resolve;
use super::section::Section;

/// The most that a file may hold; every list of the server's tools carries it.
const LARGEST: usize = 64 * 1024;

/// By what a file's name ends with.
const TYPES: [(&str, &str); 6] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("svg", "image/svg+xml"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
];

/// Reads the key `icon`. A relative path refers to `folder`.
pub(super) fn read(section: &Section<'_>, folder: &Path) -> Option<Icon> {
    let text = section.text("icon")?;
    let icon = if text.starts_with("data:") || text.contains("://") {
        Ok(Icon::new(text))
    } else {
        of_file(&resolve(folder, &text))
    };
    let icon = icon.and_then(|icon| icon.check().map(|()| icon));
    icon.map_err(|why| section.wrong("icon", why)).ok()
}

fn of_file(path: &Path) -> Result<Icon, String> {
    let shown = path.display();
    let end = path.extension().unwrap_or_default().to_ascii_lowercase();
    let Some((_, mime_type)) = TYPES.iter().find(|(known, _)| end == *known) else {
        let known: Vec<&str> = TYPES.iter().map(|(known, _)| *known).collect();
        return Err(format!(
            "{shown} is no image; write an https: address, or a file that ends with {}",
            known.join(", ")
        ));
    };
    let bytes = std::fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if bytes.len() > LARGEST {
        return Err(format!(
            "{shown} has {} bytes, and every list of tools would carry them; at most {LARGEST}",
            bytes.len()
        ));
    }
    Ok(Icon::new(format!(
        "data:{mime_type};base64,{}",
        STANDARD.encode(bytes)
    ))
    .mime_type(*mime_type))
}

#[cfg(test)]
mod tests {
    use super::super::FileConfig;
    use super::*;

    /// A file with one tool and these lines about the server and about the tool.
    fn parse(folder: &Path, server: &str, tool: &str) -> Result<FileConfig, String> {
        let text = format!(
            "[server]\n{server}\n[tools.t]\ndescription = \"x\"\ncommand = [\"true\"]\n{tool}\n"
        );
        let parsed = FileConfig::parse(&folder.join("outlast.toml"), folder, &text);
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_beside_the_configuration_is_sent_along() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Logo.PNG"), [1, 2, 3]).unwrap();
        let server = "icon = \"Logo.PNG\"\ninclude_tags = [\"a\", \"b\"]\nexclude_tags = []\n\
                      description = \"Scripts.\"\nwebsite_url = \"https://example.org\"";
        let tool = "icon = \"https://example.org/i.svg\"\ntags = [\"a\"]";
        let config = parse(folder.path(), server, tool).unwrap();
        let sent = Icon::new("data:image/png;base64,AQID").mime_type("image/png");
        assert_eq!(config.server.icon, Some(sent));
        assert_eq!(
            config.server.include_tags,
            Some(vec!["a".into(), "b".into()])
        );
        assert_eq!(config.server.exclude_tags, Some(Vec::new()));
        assert_eq!(config.server.description.as_deref(), Some("Scripts."));
        assert_eq!(
            config.tools[0].icon,
            Some(Icon::new("https://example.org/i.svg"))
        );
        assert_eq!(config.tools[0].tags, ["a"]);
    }

    #[test]
    fn what_no_client_shows_is_told_with_what_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("large.png"), vec![0; LARGEST + 1]).unwrap();
        for (line, hint) in [
            ("icon = \"logo.txt\"", "png, jpg"),
            ("icon = \"missing.png\"", "cannot be read"),
            ("icon = \"large.png\"", "at most 65536"),
            ("icon = \"http://example.org/i.png\"", "https:"),
            ("icon = \"data:image/png,x\"", ";base64,"),
            ("icon = 7", "a string is needed"),
            ("icon = \"\"", "empty"),
        ] {
            for (server, tool) in [(line, ""), ("", line)] {
                let error = parse(folder.path(), server, tool).unwrap_err();
                assert!(
                    error.contains("icon") && error.contains(hint),
                    "{line}: {error}"
                );
            }
        }
        for (line, hint) in [
            ("tags = [\"\"]", "is no tag"),
            ("tags = [\" a\"]", "is no tag"),
            ("tags = [\"a,b\"]", "without a comma"),
            ("tags = \"a\"", "a list is needed"),
            ("tags = [1]", "list of strings"),
        ] {
            let error = parse(folder.path(), "", line).unwrap_err();
            assert!(
                error.contains("tools.t.tags") && error.contains(hint),
                "{line}: {error}"
            );
            let server = line.replacen("tags", "exclude_tags", 1);
            let error = parse(folder.path(), &server, "").unwrap_err();
            assert!(
                error.contains("server.exclude_tags") && error.contains(hint),
                "{error}"
            );
        }
        let error = parse(folder.path(), "website_url = \"example\"", "").unwrap_err();
        assert!(error.contains("https://example.org"), "{error}");
    }
}
