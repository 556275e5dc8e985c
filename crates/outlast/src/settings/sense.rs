//! Settings that can be read and could never do what they are for. Whoever starts a server is told, and not
//! whoever wonders later why every call is refused.

use super::Settings;
use super::values::mcp_path;

/// Looks at settings from wherever they came.
///
/// # Errors
/// One sentence that names the value and what is allowed.
pub(crate) fn check(settings: &Settings) -> Result<(), String> {
    if let Some(path) = &settings.mcp_path {
        mcp_path(path)?;
    }
    for host in settings.allowed_hosts.iter().flatten() {
        check_host(host)?;
    }
    for origin in settings.allowed_origins.iter().flatten() {
        check_origin(origin)?;
    }
    Ok(())
}

/// A host as the header `Host` names it.
fn check_host(text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(());
    }
    Err(format!(
        "allowed host {text:?}: no header Host is ever that; write a name such as tasks.example.org"
    ))
}

/// An origin as browsers send it: scheme, host, and a port where it is not the usual one of the scheme, with
/// nothing behind them (RFC 6454 section 6.2).
fn check_origin(text: &str) -> Result<(), String> {
    let wrong = |write: &str| {
        Err(format!(
            "allowed origin {text:?}: no browser ever sends that; write {write}"
        ))
    };
    // A page without an origin of its own, such as one in a sandbox.
    if text == "null" {
        return Ok(());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("SCHEME://HOST[:PORT], such as https://tasks.example.org");
    };
    let word = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}@".contains(c);
    if scheme.is_empty()
        || !scheme.chars().all(word)
        || authority.is_empty()
        || !authority.chars().all(plain)
    {
        return wrong("SCHEME://HOST[:PORT], such as https://tasks.example.org");
    }
    let usual = match scheme.to_ascii_lowercase().as_str() {
        "https" => authority.strip_suffix(":443"),
        "http" => authority.strip_suffix(":80"),
        _ => None,
    };
    if usual.is_some() || authority != rest {
        let host = usual.unwrap_or(authority);
        return wrong(&format!("{scheme}://{host}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_browsers_send() {
        for good in [
            "https://t.example.com",
            "http://localhost:5173",
            "http://[::1]:8080",
            "https://T.example.com:8443",
            "chrome-extension://abcdef",
        ] {
            assert_eq!(check_origin(good), Ok(()), "{good}");
        }
        for (bad, write) in [
            ("a", "SCHEME://HOST"),
            ("", "SCHEME://HOST"),
            ("https://", "SCHEME://HOST"),
            ("https://a b", "SCHEME://HOST"),
            ("https://me@t.example.com", "SCHEME://HOST"),
            ("https://t.example.com/", "write https://t.example.com"),
            ("https://t.example.com:443", "write https://t.example.com"),
            ("http://t.example.com:80/x", "write http://t.example.com"),
        ] {
            let said = check_origin(bad).unwrap_err();
            assert!(
                said.ends_with(write) || said.contains(write),
                "{bad}: {said}"
            );
            assert!(said.contains(&format!("{bad:?}")), "{said}");
        }
    }

    #[test]
    fn hosts_are_names() {
        for good in ["tasks.example.org", "box:9876", "[fd00::1]", "192.0.2.1"] {
            assert_eq!(check_host(good), Ok(()), "{good}");
        }
        for bad in ["", "http://a/b c", "a b", "a/b"] {
            assert!(check_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mcp_takes_no_route_away() {
        for bad in [
            "/health/live",
            "/tasks",
            "/ws",
            "/mcp/../x",
            "/./mcp",
            "/dashboard/x",
        ] {
            assert!(mcp_path(bad).is_err(), "{bad}");
        }
        for good in ["/mcp", "/a/mcp", "/tasks-mcp"] {
            assert!(mcp_path(good).is_ok(), "{good}");
        }
    }
}
