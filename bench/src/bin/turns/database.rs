//! A PostgreSQL of the benchmark's own, as it is installed, with a disk that it waits for.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server that ends with this.
pub struct Database {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
}

impl Database {
    /// In a folder, which is made.
    pub fn start(folder: &Path) -> Result<Self, String> {
        let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let programs = installed.map(|version| version.path().join("bin")).max();
        let programs = programs.ok_or("there is no PostgreSQL; scripts/setup bench installs Debian's")?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.map_err(|error| error.to_string())?.port();
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let database = Self { folder: folder.to_owned(), programs, port };
        if is_root() {
            run(Command::new("chown").arg("postgres:postgres").arg(folder))?;
        }
        let data = folder.join("data");
        run(database
            .program("initdb")
            .args(["-A", "trust", "-U", "postgres", "--locale=C", "-D"])
            .arg(&data))?;
        let text = format!(
            "listen_addresses = ''\nport = {port}\nunix_socket_directories = '{}'\nmax_connections = 40\n",
            folder.display()
        );
        let settings = data.join("postgresql.conf");
        let mut all = fs::read_to_string(&settings).map_err(|error| error.to_string())?;
        all.push_str(&text);
        fs::write(settings, all).map_err(|error| error.to_string())?;
        let log = folder.join("log");
        run(database.program("pg_ctl").args(["-w", "-l"]).arg(log).arg("-D").arg(data).arg("start"))?;
        Ok(database)
    }

    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        if !is_root() {
            return Command::new(path);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
        command.current_dir(&self.folder);
        command
    }

    /// The URL of its database, over the socket.
    pub fn url(&self) -> String {
        let host = self.folder.display().to_string().replace('/', "%2F");
        format!("postgresql://postgres@{host}:{}/postgres", self.port)
    }

    /// How many turns were taken until now.
    pub fn turns(&self) -> Result<f64, String> {
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-U", "postgres", "-p", &self.port.to_string(), "-h"]);
        let said = run(psql.arg(&self.folder).args(["-c", "SELECT turn FROM mavera.gate"]))?;
        said.trim().parse().map_err(|_| said)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // What it leaves goes with its folder.
        let _ = run(self
            .program("pg_ctl")
            .args(["-m", "immediate", "-D"])
            .arg(self.folder.join("data"))
            .arg("stop"));
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}
