//! Wrong signatures get errors that say what to write.
//!
//! Each file of `tests/ui` is given to the compiler, and what it says is compared with the text beside it.
//! The compiler is called directly, with the library as it was built for these tests: a project of its own,
//! as such tests usually make one, would compile every dependency once more.
//! `OUTLAST_OVERWRITE=1` renews the texts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[test]
fn wrong_signatures() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = library();
    let scratch = tempfile::tempdir().unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(own.join("tests/ui"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut wrong = Vec::new();
    for file in files {
        let text = comparable(&refused(&file, &library, scratch.path()));
        let expected = file.with_extension("stderr");
        if env::var_os("OUTLAST_OVERWRITE").is_some() {
            fs::write(&expected, &text).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != text {
            wrong.push(format!("{} is now:\n\n{text}", expected.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The library these tests are linked with. Beside it may lie others of the same name, with other features
/// or from earlier; the last one written was made from the present sources, by the build that made these
/// tests or by one after it.
fn library() -> PathBuf {
    let program = env::current_exe().unwrap();
    let built = fs::read_dir(program.parent().unwrap()).unwrap();
    let libraries = built.map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("liboutlast-") && name.ends_with(".rlib")
    });
    libraries
        .max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap())
        .expect("the tests are linked with it")
}

/// What the compiler says of a file that it must refuse.
fn refused(file: &Path, library: &Path, scratch: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut linked = OsString::from("outlast=");
    linked.push(library);
    let mut beside = OsString::from("dependency=");
    beside.push(library.parent().unwrap());
    let output = Command::new(compiler)
        // The paths of the library's sources are relative to it.
        .current_dir(root.canonicalize().unwrap())
        .args(["--edition=2024", "--emit=metadata", "--cap-lints=allow"])
        .arg("--out-dir")
        .arg(scratch)
        .arg("--extern")
        .arg(linked)
        .arg("-L")
        .arg(beside)
        .arg(file)
        .output()
        .expect("rustc can be started");
    assert!(
        !output.status.success(),
        "{} was compiled, and should not be",
        file.display()
    );
    String::from_utf8(output.stderr).unwrap()
}

/// The text without what depends on the machine, on others' sources and on where in a file of ours something
/// stands.
fn comparable(said: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    // Where the lines come from that are shown.
    let mut shown = Shown::Test;
    for line in said.lines() {
        let (gutter, rest) = split_gutter(line);
        if let Some(place) = rest
            .strip_prefix("--> ")
            .or_else(|| rest.strip_prefix("::: "))
        {
            let (of, place) = placed(place);
            shown = of;
            out.push(format!("  {} {place}", &rest[..3]));
        } else if rest.starts_with('|') || rest == "..." {
            match shown {
                Shown::Test => out.push(format!("{gutter:>3} {rest}")),
                Shown::Library => out.push(format!("    {rest}")),
                Shown::Elsewhere => {}
            }
        } else if rest.starts_with("and ") && rest.ends_with(" others") {
            // The first few of a long list of strangers, and their number.
            while out
                .last()
                .is_some_and(|item| item.starts_with("          "))
            {
                out.pop();
            }
            out.push("          …".to_owned());
        } else if !(line.starts_with("error: aborting due to")
            || line.starts_with("For more information about")
            || line.starts_with("Some errors have detailed")
            || line.contains("the full name for the type has been written")
            || line.contains("consider using `--verbose`"))
        {
            out.push(match rest.starts_with('=') {
                true => format!("    {rest}"),
                false => line.trim_end().to_owned(),
            });
        }
    }
    out.dedup_by(|next, line| next.is_empty() && line.is_empty());
    out.join("\n").trim_end().to_owned() + "\n"
}

/// Whose lines are shown.
enum Shown {
    Test,
    Library,
    Elsewhere,
}

/// The number before a line of source, if there is one, and the rest; both without the space between.
fn split_gutter(line: &str) -> (&str, &str) {
    let line = line.trim();
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = line.split_at(digits);
    match rest.trim_start() {
        rest if rest.starts_with('|') => (number, rest),
        _ => ("", line),
    }
}

/// Whose file a place is in, and the place as it is on every machine.
fn placed(place: &str) -> (Shown, String) {
    if let Some((_, inside)) = place.split_once("crates/outlast/tests/ui/") {
        return (Shown::Test, inside.to_owned());
    }
    // Without line and column.
    let file = place.rsplitn(3, ':').last().unwrap_or(place);
    if Path::new(file).is_absolute() {
        return (Shown::Elsewhere, "(not ours)".to_owned());
    }
    (Shown::Library, file.to_owned())
}
