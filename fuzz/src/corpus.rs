//! The inputs of a target: those kept in the repository, and those that this run found.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{fs, io};

/// More would only make each of them rarer.
const MOST: usize = 4_000;

/// Longer inputs are not taken over: they grow without end.
const LONGEST: usize = 16 << 10;

pub(crate) struct Corpus {
    folder: PathBuf,
    pub(crate) inputs: Vec<Vec<u8>>,
    seen: BTreeSet<String>,
}

impl Corpus {
    /// What `fuzz/corpus/NAME/` holds, in the order of the file names.
    ///
    /// # Panics
    /// If there is nothing: a target without a first input would find nothing.
    pub(crate) fn read(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        let read = || -> io::Result<Vec<Vec<u8>>> {
            let mut files: Vec<PathBuf> = fs::read_dir(&folder)?
                .map(|entry| Ok(entry?.path()))
                .collect::<io::Result<_>>()?;
            files.sort();
            files.into_iter().map(fs::read).collect()
        };
        let inputs = read().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        assert!(!inputs.is_empty(), "{} is empty", folder.display());
        Self {
            folder,
            inputs,
            seen: BTreeSet::new(),
        }
    }

    /// The input was answered like this; one answered in a new way is changed further.
    pub(crate) fn answered(&mut self, input: &[u8], kind: &str, keep: bool) {
        if self.seen.contains(kind) || input.len() > LONGEST || self.seen.len() >= MOST {
            return;
        }
        self.seen.insert(kind.to_owned());
        if self.inputs.iter().any(|known| known == input) {
            return;
        }
        self.inputs.push(input.to_owned());
        if keep {
            self.write("kept", input);
        }
    }

    pub(crate) fn kinds(&self) -> usize {
        self.seen.len()
    }

    /// Keeps an input that broke something; returns its file.
    pub(crate) fn found(&self, input: &[u8]) -> PathBuf {
        self.write("found", input)
    }

    fn write(&self, why: &str, input: &[u8]) -> PathBuf {
        // FNV-1a: the same input gets the same name, and nobody has a reason to forge one.
        let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let file = self.folder.join(format!("{why}-{hash:016x}"));
        if let Err(error) = fs::write(&file, input) {
            println!("cannot write {}: {error}", file.display());
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A method without a first input would be tried only if a change happened to spell its name.
    #[test]
    fn every_method_has_a_first_input() {
        let table = include_str!("../../crates/outlast-mcp/src/dispatch.rs");
        let methods: BTreeSet<&str> = table
            .lines()
            .filter(|line| line.contains("=>"))
            .filter_map(|line| line.split('"').nth(1))
            .collect();
        assert!(methods.len() > 30, "{methods:?}");
        let inputs = Corpus::read("methods").inputs;
        let tried: BTreeSet<String> = inputs
            .iter()
            .filter_map(|input| {
                let input: serde_json::Value = serde_json::from_slice(input).ok()?;
                Some(input["method"].as_str()?.to_owned())
            })
            .collect();
        let untried: Vec<_> = methods
            .into_iter()
            .filter(|method| !tried.contains(*method))
            .collect();
        assert!(untried.is_empty(), "{untried:?}");
    }
}
