//! Whether anybody can run the tasks of a process that runs none itself.

use outlast_engine::Role;

use crate::error::StartError;
use crate::settings::{Settings, StoreAt};

/// Checks that a process with no place for tasks leaves them to somebody.
pub(super) fn check(settings: &Settings, role: Role) -> Result<(), StartError> {
    if settings.concurrency != Some(0) {
        return Ok(());
    }
    let store = settings.store.as_ref();
    match role {
        Role::Scheduler => Ok(()),
        Role::Worker => Err(StartError::new(
            "a worker with --concurrency 0 would run nothing: say 1 or more (to do only what is due, start a \
             scheduler)",
        )),
        Role::Server if store.is_some_and(|store| matches!(store.at(), StoreAt::Redis(_))) => {
            Ok(())
        }
        Role::Server => Err(StartError::new(
            "--concurrency 0 leaves all tasks to workers, which need a store that they can share with this \
             server: say --store redis://HOST, or a concurrency of 1 or more",
        )),
    }
}

#[cfg(test)]
mod tests {
    use outlast_engine::Role;

    use super::check;
    use crate::settings::Settings;

    #[test]
    fn somebody_must_be_able_to_run_the_tasks() {
        let with = |concurrency, store: &str| Settings {
            concurrency: Some(concurrency),
            store: Some(store.parse().unwrap()),
            ..Settings::default()
        };
        let (shared, own) = ("redis://box", "sqlite:a.db");
        assert!(check(&with(0, shared), Role::Server).is_ok());
        assert!(check(&with(0, shared), Role::Scheduler).is_ok());
        assert!(check(&with(1, own), Role::Server).is_ok());
        for (settings, role) in [
            (with(0, own), Role::Server),
            (with(0, shared), Role::Worker),
        ] {
            let error = check(&settings, role).unwrap_err().to_string();
            assert!(error.contains("1 or more"), "{error}");
        }
    }
}
