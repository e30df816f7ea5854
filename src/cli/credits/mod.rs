//! `credits`: what the ledger says, also while a gateway runs.

mod backup;
mod grant;
mod prune;
mod reconcile;
mod report;
mod settle;
mod standing;
mod statement;
mod verify;

use std::path::PathBuf;

use super::failure::Failure;

#[derive(Debug, clap::Subcommand)]
pub(super) enum CreditsCommand {
    /// Show what was spent.
    ///
    /// Reads the ledger that the configuration names; a running gateway does not mind. Credits in doubt are
    /// those booked by estimate, because the upstream told no figure.
    Report(report::ReportArguments),
    /// Copy the ledger to a file, whole and consistent, and check the copy.
    ///
    /// Works while a gateway writes; copying the file by hand does not.
    Backup(backup::BackupArguments),
    /// Recompute every sum and check every invariant of the ledger.
    ///
    /// Prints what is wrong, entry by entry, and exits with 1 if anything is.
    Verify(ConfigOnly),
    /// Write old entries to a file, and remove them from the ledger.
    ///
    /// Sums by day, and with them every balance and report, stay as they are; calls in flight and the latest call
    /// are kept.
    Prune(prune::PruneArguments),
    /// Raise the budget of a team, or of the organisation, for a time.
    ///
    /// A grant is given once in all, not once a period: what a period spends beyond its budget is taken from it. It is an
    /// entry of the ledger like any other, and a running gateway takes it up within two seconds.
    Grant(grant::GrantArguments),
    /// Take back what of a grant is not spent; without a number, list the grants.
    ///
    /// That is an entry of the ledger too, and a running gateway takes it up within two seconds.
    RevokeGrant(grant::RevokeArguments),
    /// Compare the ledger with the upstream's figures.
    ///
    /// Alone, asks the upstream for its usage: shows theirs, ours, and whether what is in doubt explains the
    /// difference. With --csv, takes a list of upstream response ids and credits, and lists which calls match, which
    /// differ, and which are missing here or there; --book then corrects those that differ. Exits with 1 where the
    /// two do not agree.
    Reconcile(reconcile::ReconcileArguments),
    /// What a team has spent in a month, to be filed: budget, grants, calls by route and member, corrections, total.
    ///
    /// Its sums are those of `report`. The digest of the entries that it rests on is printed with it, so that it can be told later
    /// whether they are still the same.
    Statement(statement::StatementArguments),
    /// Say what a call in doubt has cost; without one, list those that are in doubt.
    ///
    /// For calls of which the upstream's list has no response id: after a crash, or an answer that was lost. A correction like
    /// any other, which a running gateway takes up within two seconds.
    Settle(settle::SettleArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct ConfigOnly {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/gateway.toml")]
    config: PathBuf,
}

pub(super) fn run(command: &CreditsCommand) -> Result<(), Failure> {
    match command {
        CreditsCommand::Backup(arguments) => backup::run(arguments),
        CreditsCommand::Report(arguments) => report::run(arguments),
        CreditsCommand::Verify(arguments) => verify::run(&arguments.config),
        CreditsCommand::Grant(arguments) => grant::run(arguments),
        CreditsCommand::RevokeGrant(arguments) => grant::revoke(arguments),
        CreditsCommand::Prune(arguments) => prune::run(arguments),
        CreditsCommand::Reconcile(arguments) => reconcile::run(arguments),
        CreditsCommand::Statement(arguments) => statement::run(arguments),
        CreditsCommand::Settle(arguments) => settle::run(arguments),
    }
}
