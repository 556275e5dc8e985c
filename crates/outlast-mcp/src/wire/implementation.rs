//! The Implementation object of each version: who serves.

use super::object::Object;
use crate::protocol::Version;
use crate::server::Config;

/// `serverInfo`, in the members that `version` knows.
pub(crate) fn implementation(info: &mut Object<'_>, config: &Config, version: Version) {
    info.text("name", &config.name);
    if let Some(title) = config
        .title
        .as_ref()
        .filter(|_| version.has_structured_content())
    {
        info.text("title", title);
    }
    info.text("version", &config.version);
    if !version.has_icons() {
        return;
    }
    if let Some(description) = &config.description {
        info.text("description", description);
    }
    if let Some(url) = &config.website_url {
        info.text("websiteUrl", url);
    }
    if let Some(icons) = &config.icons {
        info.raw("icons", icons.as_str());
    }
}
