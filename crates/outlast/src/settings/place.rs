//! Where the store is when nobody says, and where a server keeps what belongs to its machine when its
//! tasks are elsewhere.

use std::path::PathBuf;

/// `$XDG_STATE_HOME/outlast/<server name>/outlast.db`, or below `~/.local/state`.
///
/// # Errors
/// Neither the variable nor a home folder is known; the sentence says what to give instead.
pub(crate) fn usual_store(server: &str) -> Result<PathBuf, String> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .and_then(absolute);
    let home = || {
        let home = std::env::home_dir().and_then(absolute)?;
        Some(home.join(".local").join("state"))
    };
    match state.or_else(home) {
        Some(state) => Ok(state.join("outlast").join(folder_name(server)).join("outlast.db")),
        None => Err(
            "cannot tell where to keep tasks: no home folder is known; say so with --store sqlite:PATH"
                .into(),
        ),
    }
}

/// What stands beside the tasks of a server whose store is at `address`: its socket, its key and the
/// folders of its commands. The same for every server of that store on this machine.
///
/// # Errors
/// As [`usual_store`].
pub(crate) fn beside_store(server: &str, address: &str) -> Result<PathBuf, String> {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(address.as_bytes());
    let name: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(usual_store(server)?.with_file_name(format!("redis-{name}")))
}

/// The server's name as the name of a folder.
fn folder_name(server: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = server
        .chars()
        .map(|c| if safe(c) { c } else { '-' })
        .collect();
    match name.trim_start_matches('.') {
        "" => "server".into(),
        name => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::folder_name;

    #[test]
    fn a_server_cannot_leave_its_folder() {
        assert_eq!(folder_name("team-scripts"), "team-scripts");
        assert_eq!(folder_name("../../etc"), "-..-etc");
        assert_eq!(folder_name(".."), "server");
        assert_eq!(folder_name("a b/c"), "a-b-c");
    }
}
