//! `completions` and `man`: what shells and `man` want to know of this command line, from the same description that
//! parses it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;

use super::failure::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArguments {
    /// The shell to complete in.
    shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArguments {
    /// Write the pages of all commands into this folder, instead of the main one to standard output.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn completions(arguments: &CompletionsArguments, mut command: Command) -> Result<(), Failure> {
    let name = command.get_name().to_owned();
    // By way of memory: the generator takes for granted that what it writes to takes everything.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(())
}

pub(super) fn man(arguments: &ManArguments, command: Command) -> Result<(), Failure> {
    match &arguments.out {
        None => clap_mangen::Man::new(command).render(&mut io::stdout().lock())?,
        Some(folder) => pages(folder, command)?,
    }
    Ok(())
}

fn pages(folder: &Path, command: Command) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command, folder)
}
