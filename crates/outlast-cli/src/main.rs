//! The `outlast` program. Each subcommand is a file of [`commands`]; this one only tells them apart.

mod commands;

use std::process::ExitCode;

use clap::Parser;
use outlast_cli::command::shim;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    // A shim is started for every run of a command and needs nothing that the others set up.
    if let Some((word, rest)) = arguments.split_first()
        && word == shim::SUBCOMMAND
    {
        return shim::main(rest);
    }
    commands::Outlast::parse().run()
}
