//! The command line: one file per command. Exit codes: 0 done, 64 a configuration or argument that
//! cannot be (`EX_USAGE`), 1 anything else.

mod failure;
mod table;
mod check;
mod credits;
mod healthcheck;
mod key;
mod ledger;
mod limits;
mod manual;
mod plan;
mod schema;
mod serve;
mod whoami;
mod demo;
mod sim;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::failure::ConfigArgument;

/// Authenticating, metering gateway in front of the Mavera video-analysis chat API.
///
/// Internal teams call it with keys of their own; it holds the organisation's key, applies limits,
/// forwards, and records what each call cost.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    ///
    /// Logs JSON lines to standard output. SIGHUP reloads the configuration; so does any change of
    /// its files. SIGTERM and SIGINT drain: no new calls, streams to their end within
    /// `server.drain_timeout`; a second signal ends the grace at once. Exits with 0 after a drain.
    Serve(ConfigArgument),
    /// Check the configuration exactly as `serve` would start with it, without listening.
    ///
    /// Prints every problem with its line and a way out. Exits with 0 or 64.
    Check(check::CheckArguments),
    /// Run a simulated Mavera API and a gateway in front of it on loopback.
    ///
    /// Needs no key, no configuration and no other server. Prints a curl that is ready to paste.
    Demo(demo::DemoArguments),
    /// Credits: reports, grants and checks of the ledger.
    #[command(subcommand)]
    Credits(credits::CreditsCommand),
    /// Tell what another configuration would have made of the calls of the last weeks.
    ///
    /// Every call that the ledger has comes again, to a desk with the limits, weights and budgets of that configuration: who would
    /// have been served, who waited for how long, who was refused and why, and what it would have cost, by team, beside what was.
    /// Calls that were refused are known by the second, and come again as well as that allows; it is told how much rests on them.
    Plan(plan::PlanArguments),
    /// Caller keys: made, registered, replaced and revoked.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// The ledger in PostgreSQL, where several gateways share one: its tables, its gateways, and the way there and back.
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Tell which team and member a token or a key would be, and why it would be nobody's.
    ///
    /// Judges it as the gateway would, and fetches the key set of its issuer for that. Exits with 0 if it is a caller's, with 1
    /// if not.
    Whoami(whoami::WhoamiArguments),
    /// Print the JSON Schema of the configuration file, for editors.
    Schema,
    /// Ask the gateway of a configuration how it is: exits with 0 if it is well, with 1 if not.
    ///
    /// For containers, whose image has no shell and no curl.
    Healthcheck(healthcheck::HealthcheckArguments),
    /// Print a script that completes this command line in a shell.
    ///
    /// For bash: mavera-gateway completions bash > /etc/bash_completion.d/mavera-gateway
    Completions(manual::CompletionsArguments),
    /// Print the manual page.
    Man(manual::ManArguments),
    /// Run the simulated Mavera API alone.
    Sim(sim::SimArguments),
}

/// Parses the arguments and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not errors.
            let code = if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
            let _ = error.print();
            return code;
        }
    };
    if let Err(error) = limits::confine() {
        eprintln!("mavera-gateway: cannot give up core files, which would hold the key: {error}");
        return ExitCode::FAILURE;
    }
    let done = match arguments.command {
        Command::Serve(ConfigArgument { config }) => serve::run(&config),
        Command::Check(arguments) => check::run(arguments.file()),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Credits(command) => credits::run(&command),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Key(command) => key::run(&command),
        Command::Ledger(command) => ledger::run(&command),
        Command::Whoami(arguments) => whoami::run(&arguments),
        Command::Schema => schema::run(),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments, Arguments::command()),
        Command::Man(arguments) => manual::man(&arguments, Arguments::command()),
        Command::Sim(arguments) => sim::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_of_a_reader_that_left() {
                eprintln!("mavera-gateway: {failure}");
            }
            failure.code()
        }
    }
}
