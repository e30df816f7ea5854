//! A PostgreSQL of a test's own: the real server, in a folder that goes with it, behind a Unix socket.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::process::free_address;

/// A server that ends with the test.
pub struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    /// Where it listens beside its socket, if it does.
    pub port: u16,
}

/// What Debian's packages install, the newest first.
fn programs() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<_> = found.map(|version| version.unwrap().path().join("bin")).collect();
    found.sort();
    found.pop().expect("a PostgreSQL server is needed; `scripts/setup test` installs Debian's")
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}

impl Postgres {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// A folder that the server may write to, and a port that is free.
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres:postgres").arg(folder.path()));
        }
        Self { folder, programs: programs(), port: free_address().port() }
    }

    /// With further settings, a line each.
    pub fn start_with(settings: &str) -> Self {
        let server = Self::empty();
        let data = server.data();
        run(server
            .program("initdb")
            .args(["--no-sync", "-A", "trust", "-U", "postgres", "--locale=C"])
            .arg("-D")
            .arg(&data));
        let socket = server.folder.path().display();
        let text = format!(
            "listen_addresses = ''\nport = {}\nunix_socket_directories = '{socket}'\nmax_connections = 60\nshared_buffers = 32MB\n{settings}\n",
            server.port
        );
        server.configure(&text);
        server.go();
        server
    }

    /// A standby of another server, which follows it.
    pub fn copy_of(primary: &Self, settings: &str) -> Self {
        let server = Self::empty();
        let mut copy = server.program("pg_basebackup");
        copy.args(["-U", "postgres", "--no-sync", "-c", "fast", "-p", &primary.port.to_string(), "-h"]);
        run(copy.arg(primary.folder()).arg("-D").arg(server.data()));
        let socket = server.folder.path().display();
        server.configure(&format!(
            "port = {}\nunix_socket_directories = '{socket}'\n{settings}\n",
            server.port
        ));
        std::fs::write(server.data().join("standby.signal"), "").unwrap();
        server.go();
        server
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        self.control(&["promote"]);
    }

    /// Adds to the server's settings.
    pub fn configure(&self, text: &str) {
        use std::io::Write;
        let path = self.data().join("postgresql.conf");
        std::fs::File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The socket that it listens at.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(format!(".s.PGSQL.{}", self.port))
    }

    /// Listens on loopback too, and there by TLS, with this certificate and key.
    pub fn secure(&self, certificate: &str, key: &str) {
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.data().join(name);
            std::fs::write(&path, text).unwrap();
            run(Command::new("chmod").arg("600").arg(&path));
            if is_root() {
                run(Command::new("chown").arg("postgres:postgres").arg(&path));
            }
        }
        self.configure("listen_addresses = 'localhost'\nssl = on\n");
        std::fs::write(
            self.data().join("pg_hba.conf"),
            "local all all trust\nhostssl all all 127.0.0.1/32 trust\nhostssl all all ::1/128 trust\n",
        )
        .unwrap();
        self.control(&["restart"]);
    }

    /// One of the server's programs, as the user that it runs as.
    pub fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
            command.current_dir(self.folder.path());
            return command;
        }
        Command::new(path)
    }

    fn control(&self, arguments: &[&str]) {
        let log = self.folder.path().join("log");
        run(self.program("pg_ctl").args(["-w", "-D"]).arg(self.data()).arg("-l").arg(log).args(arguments));
    }

    pub fn go(&self) {
        self.control(&["start"]);
    }

    /// Stops it, as a crash would.
    pub fn kill(&self) {
        self.control(&["-m", "immediate", "stop"]);
    }

    /// The URL of its database, over the socket.
    pub fn url(&self) -> String {
        format!(
            "postgresql://postgres@/postgres?host={}&port={}",
            self.folder.path().display().to_string().replace('/', "%2F"),
            self.port
        )
    }

    /// What a question comes to, as text: rows by line, columns by `|`.
    pub fn ask(&self, sql: &str) -> String {
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]);
        psql.arg(self.folder.path()).args([
            "-p",
            &self.port.to_string(),
            "-c",
            "SET search_path = mavera",
            "-c",
            sql,
        ]);
        String::from_utf8(run(&mut psql).stdout).unwrap().trim().to_owned()
    }

    /// The same, as a number.
    pub fn number(&self, sql: &str) -> i64 {
        self.ask(sql).parse().unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        let _ = stop.args(["-w", "-m", "immediate", "-D"]).arg(self.data()).arg("stop").output();
    }
}

pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
