//! Behind a real nginx and a real `HAProxy`, configured as shipped and as they come.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::authority::Authority;
use crate::support::chat_body;
use crate::support::process::{Pair, PairSetup, free_address, get};
use crate::support::rig::{chat_path, sample};

/// What stands in front.
struct InFront {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
    scheme: &'static str,
}

impl Drop for InFront {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl InFront {
    fn start(
        scheme: &'static str,
        address: SocketAddr,
        folder: tempfile::TempDir,
        command: &mut Command,
    ) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.expect("`make test` installs what is missing");
        while TcpStream::connect(address).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "it does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, address, folder, scheme }
    }

    fn nginx(folder: tempfile::TempDir, scheme: &'static str, address: SocketAddr) -> Self {
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-c", "nginx.conf", "-g", "daemon off; master_process off;", "-p"]);
        command.arg(folder.path());
        Self::start(scheme, address, folder, &mut command)
    }

    /// As `deploy/in-front` has it, with other addresses.
    fn shipped(which: &str, gateway: SocketAddr) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let authority = Authority::new();
        authority.install(folder.path());
        let file = |name: &str| folder.path().join(name);
        let (certificate, key) = (file("cert.pem"), file("key.pem"));
        std::fs::copy(certificate, file("server.pem")).unwrap();
        std::fs::copy(&key, file("server.key")).unwrap();
        std::fs::copy(&key, file("server.pem.key")).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/in-front").join(which);
        let text = std::fs::read_to_string(source).unwrap();
        let text = text.replace("127.0.0.1:8080", &gateway.to_string());
        std::fs::write(file(which), text.replace("127.0.0.1:8443", &address.to_string())).unwrap();
        if which == "nginx.conf" {
            return Self::nginx(folder, "https", address);
        }
        let mut command = Command::new("haproxy");
        command.arg("-C").arg(folder.path()).args(["-f", which, "-db"]);
        Self::start("https", address, folder, &mut command)
    }

    /// With nothing set beyond where it goes: HTTP/1.0 to the gateway, and buffers.
    fn stock_nginx(gateway: SocketAddr) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let text = format!(
            "pid nginx.pid; error_log error.log; events {{}}\n\
             http {{ access_log off; client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d;\n\
             scgi_temp_path e; server {{ listen {address}; location / {{ proxy_pass http://{gateway}; }} }} }}\n"
        );
        std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
        Self::nginx(folder, "http", address)
    }

    fn curl(&self, key: &str, body: &str) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["-sSN", "-H", "content-type: application/json", "-H", "expect:", "--data-binary", body])
            .arg("-H")
            .arg(format!("authorization: Bearer {key}"))
            .arg("--cacert")
            .arg(self.folder.path().join("ca.pem"))
            .arg(format!("{}://{}{}", self.scheme, self.address, chat_path()));
        command
    }
}

fn output(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

/// An event is there while the stream goes on, a break is one, and a refusal arrives behind its body.
fn passes_everything(pair: &Pair, proxy: &InFront) {
    let (code, said) = output(&mut proxy.curl(&pair.key, &chat_body(false, "")));
    assert!(code == Some(0) && said.contains("\"credits_used\":1"), "{said}");

    let mut command = proxy.curl(&pair.key, &chat_body(true, "pace=300ms"));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let in_flight = sample(&get(pair.admin, "/metrics").1, "mavera_gateway_requests_in_flight");
    assert_eq!((first.as_str(), in_flight), ("event: response.created\n", 1.0), "it came before the end");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success() && rest.ends_with("data: [DONE]\n\n"));

    let (code, said) = output(&mut proxy.curl(&pair.key, &chat_body(true, "pace=20ms; fault=reset; at=4")));
    assert!(code != Some(0) && said.contains("event: response.created"), "a break that looks whole: {said}");

    let body = format!("@{}", proxy.folder.path().join("body").display());
    std::fs::write(proxy.folder.path().join("body"), vec![b'x'; 900_000]).unwrap();
    for _ in 0..8 {
        let (code, said) = output(&mut proxy.curl("mvgw_no", &body));
        assert!(code == Some(0) && said.contains("invalid_api_key"), "{said}");
    }
}

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]";

#[test]
fn everything_passes_nginx_and_haproxy_as_they_are_shipped() {
    for which in ["nginx.conf", "haproxy.cfg"] {
        let pair = Pair::start(&PairSetup { server: TRUSTED, ..PairSetup::default() });
        let proxy = InFront::shipped(which, pair.address);
        passes_everything(&pair, &proxy);
        // Who is really calling, whatever it says itself.
        let mut command = proxy.curl(&pair.key, &chat_body(false, ""));
        command.args([
            "--interface",
            "127.0.0.2",
            "-H",
            "x-forwarded-for: 203.0.113.9",
            "-w",
            "%{http_code}",
        ]);
        let (_, said) = output(command.args(["-H", "forwarded: for=203.0.113.9"]));
        assert!(said.ends_with("200"), "{said}");
        let client = pair.gateway.wait_for(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            line["client"].as_str().map(str::to_owned)
        });
        assert_eq!(client, "127.0.0.2", "{which}");
    }
}

#[test]
fn everything_passes_an_nginx_with_nothing_set() {
    let pair = Pair::start(&PairSetup::default());
    passes_everything(&pair, &InFront::stock_nginx(pair.address));
}

/// A gateway that let go of an idle connection first would answer the next call with a reset, which nginx makes a 502.
#[test]
fn an_idle_connection_of_nginx_is_good_for_the_next_call() {
    let pair = Pair::start(&PairSetup { server: TRUSTED, ..PairSetup::default() });
    let proxy = InFront::shipped("nginx.conf", pair.address);
    let connections = || sample(&get(pair.admin, "/metrics").1, "mavera_gateway_connections");
    for idle in [31, 0] {
        let (code, said) = output(&mut proxy.curl(&pair.key, &chat_body(false, "")));
        assert!(code == Some(0) && said.contains("credits_used"), "{said}");
        assert_eq!(connections(), 1.0, "kept, and used again");
        std::thread::sleep(Duration::from_secs(idle));
    }
}

#[test]
fn who_has_signed_in_sees_the_credits_page_through_nginx_and_nobody_ever_has_its_token() {
    const TOKEN: &str = "plainly-fake-token-for-tests-only-0";
    let pair = Pair::start(&PairSetup::default());
    std::fs::write(pair.folder.path().join("token"), TOKEN).unwrap();
    let config = std::fs::read_to_string(pair.config_path()).unwrap();
    let config = config.replace("[admin]\n", "[admin]\ntoken = { file = \"token\" }\n");
    std::fs::write(pair.config_path(), config).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");

    let (folder, address, oauth2) = (tempfile::tempdir().unwrap(), free_address(), free_address());
    let file = |name: &str| folder.path().join(name);
    Authority::new().install(folder.path());
    std::fs::copy(file("cert.pem"), file("server.pem")).unwrap();
    std::fs::copy(file("key.pem"), file("server.key")).unwrap();
    let line = format!("proxy_set_header Authorization \"Bearer {TOKEN}\";\n");
    std::fs::write(file("admin-token.conf"), line).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/in-front/operators.conf");
    let text = std::fs::read_to_string(source).unwrap();
    let text = text.replace("127.0.0.1:9464", &pair.admin.to_string());
    let text =
        text.replace("127.0.0.1:9443", &address.to_string()).replace("127.0.0.1:4180", &oauth2.to_string());
    // As oauth2-proxy answers: 202 for who has signed in, 401 for others, and a page to sign in with.
    let stands_in = format!(
        "server {{ listen {oauth2}; location = /oauth2/auth {{ if ($http_cookie = \"_oauth2_proxy=known\") {{ return 202; }} return 401; }}\n\
         location = /oauth2/sign_in {{ return 403 \"sign in\"; }} }}\n}}\n"
    );
    let text = text.trim_end().strip_suffix('}').unwrap().to_owned() + &stands_in;
    std::fs::write(file("nginx.conf"), text).unwrap();
    let proxy = InFront::nginx(folder, "https", address);
    let ask = |path: &str, more: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sSik", "--path-as-is"]).args(more).arg(format!("https://{}{path}", proxy.address));
        output(&mut command).1
    };
    let known = ["-H", "cookie: _oauth2_proxy=known"];
    assert!(
        ask("/credits/overview", &known).contains("\"in_flight\""),
        "{}",
        ask("/credits/overview", &known)
    );
    assert!(ask("/", &known).contains("<!doctype html>"), "{}", ask("/", &known));
    for stranger in
        [&[] as &[&str], &["-H", "cookie: _oauth2_proxy=forged"], &["-H", "authorization: Bearer x"]]
    {
        let said = ask("/credits/overview", stranger);
        assert!(said.contains(" 403 ") || said.contains(" 401 "), "{said}");
        assert!(said.contains("sign in") && !said.contains("in_flight") && !said.contains(TOKEN), "{said}");
    }
    // Its own word does not stand beside what nginx shows; and what is not the page's is nobody's.
    let forged = [known[0], known[1], "-H", "authorization: Bearer x"];
    assert!(ask("/credits/overview", &forged).contains("\"in_flight\""));
    for path in ["/metrics", "/admin/v1/keys", "/x/../admin/v1/keys", "//admin/v1/keys", "/%61dmin/v1/keys"] {
        assert!(ask(path, &known).contains(" 404 "), "{path}: {}", ask(path, &known));
    }
    assert!(ask("/credits/overview", &[known[0], known[1], "-X", "POST"]).contains(" 403 "));
}
