//! What a file names and this machine has not: no mistake of the file, and what calls will fail for.

use super::{CommandTool, FileConfig, Piece, Program, Word};

impl FileConfig {
    /// What the tools need and is not there now, a sentence each: programs and working folders.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let programs = self.tools.iter().filter_map(|tool| {
            let program = missing_program(tool)?;
            Some(format!(
                "tools.{}.command: no program {program:?} is found; install it, or write its path",
                tool.name
            ))
        });
        let folders = self.tools.iter().filter(|tool| !tool.working_dir.is_dir());
        let folders = folders.map(|tool| {
            format!(
                "tools.{}.working_dir: there is no folder {}; its calls fail until it is made",
                tool.name,
                tool.working_dir.display()
            )
        });
        programs.chain(folders).collect()
    }
}

/// The program of a tool, if there is none of its name at present.
fn missing_program(tool: &CommandTool) -> Option<&str> {
    let Program::Words(words) = &tool.program else {
        return None;
    };
    let Some(Word::Template(template)) = words.first() else {
        return None;
    };
    let Some(Piece::Text(program)) = template.0.first() else {
        return None;
    };
    let found = if program.contains('/') {
        tool.working_dir.join(program).is_file()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    };
    (!found).then_some(program)
}
