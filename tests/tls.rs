//! TLS on both sides, with certificates made here; and HTTP/2, asked for by curl.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::authority::Authority;
use crate::support::process::{Pair, PairSetup, Process, binary, config, start_gateway, team};
use crate::support::rig::chat_path;
use crate::support::{CANARY, assert_no_canary, chat_body};

fn curl(ca: &Path, arguments: &[&str]) -> (String, bool) {
    let output = Command::new("curl")
        .args(["-sS", "--cacert"])
        .arg(ca)
        .args(arguments)
        .output()
        .expect("curl is installed");
    assert_no_canary("curl", &output.stdout);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (text, output.status.success())
}

#[test]
fn curl_gets_http1_and_http2_and_a_renewed_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.install(folder.path());
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let server = format!("tls = {{ cert = {cert:?}, key = {key:?} }}");
    let pair = Pair::start(&PairSetup { server: &server, ..PairSetup::default() });
    let url = format!("https://127.0.0.1:{}{}", pair.address.port(), chat_path());
    let (authorization, body) = (format!("authorization: Bearer {}", pair.key), chat_body(true, ""));
    let call = |ca: &Path, version: &str| {
        curl(
            ca,
            &[
                version,
                "-N",
                "-w",
                "\n%{http_version} %{http_code}",
                "-H",
                &authorization,
                "-H",
                "content-type: application/json",
                "-d",
                &body,
                &url,
            ],
        )
    };
    let ca = folder.path().join("ca.pem");
    for (version, expected) in [("--http1.1", "1.1 200"), ("--http2", "2 200")] {
        let (text, fine) = call(&ca, version);
        assert!(fine && text.ends_with(expected) && text.contains("data: [DONE]"), "{version}: {text}");
    }
    // In clear, on the TLS port.
    let (_, fine) = curl(&ca, &[&format!("http://127.0.0.1:{}/", pair.address.port())]);
    assert!(!fine);

    // Renewed by another authority: refused with the old one, accepted with the new.
    let renewed = Authority::new();
    let new_ca = folder.path().join("new-ca.pem");
    std::fs::write(&new_ca, &renewed.pem).unwrap();
    let (new_cert, new_key) = renewed.issue();
    std::fs::write(&key, new_key).unwrap();
    std::fs::write(&cert, new_cert).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
    assert!(call(&new_ca, "--http2").1);
    assert!(!call(&ca, "--http2").1);
}

#[test]
fn operators_are_answered_over_tls_where_it_is_configured_and_a_renewed_certificate_is_taken() {
    let pair = Pair::start(&PairSetup::default());
    let at = |name: &str| pair.folder.path().join(name);
    let authority = Authority::new();
    authority.install(pair.folder.path());
    let plain = std::fs::read_to_string(pair.config_path()).unwrap();
    // Relative: beside the configuration.
    let tls = plain.replace("[admin]\n", "[admin]\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\n");
    let ask = |ca: &str, scheme: &str, path: &str| {
        curl(&at(ca), &["-m", "10", "-w", " %{http_version}", &format!("{scheme}://{}{path}", pair.admin)])
    };
    let address = pair.admin.to_string();
    let health = || {
        let config = pair.config_path();
        let arguments = ["--address", &address, "--ready"];
        binary().arg("healthcheck").arg("--config").arg(config).args(arguments).output().unwrap()
    };
    assert_eq!(ask("ca.pem", "http", "/readyz"), ("ok\n 1.1".to_owned(), true));
    assert!(health().status.success());

    std::fs::write(pair.config_path(), &tls).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
    for path in ["/readyz", "/metrics", "/", "/credits/overview"] {
        let (answer, fine) = ask("ca.pem", "https", path);
        assert!(fine && answer.ends_with(" 1.1"), "{path}: {answer}");
    }
    assert!(!ask("ca.pem", "http", "/readyz").1, "in clear, where it speaks TLS");
    assert!(health().status.success(), "{:?}", health());

    // Renewed by another authority, as callers' are.
    let renewed = Authority::new();
    std::fs::write(at("new-ca.pem"), &renewed.pem).unwrap();
    let (cert, key) = renewed.issue();
    std::fs::write(at("key.pem"), key).unwrap();
    std::fs::write(at("cert.pem"), cert).unwrap();
    pair.gateway.wait_for_message("configuration reloaded");
    assert!(ask("new-ca.pem", "https", "/readyz").1 && !ask("ca.pem", "https", "/readyz").1);
    assert!(health().status.success());
    // The check takes the certificate of the configuration and no other.
    let (other, _) = renewed.issue();
    std::fs::write(at("other.pem"), other).unwrap();
    std::fs::write(pair.config_path(), tls.replace("\"cert.pem\"", "\"other.pem\"")).unwrap();
    let told = String::from_utf8(health().stderr).unwrap();
    assert!(told.contains("is not healthy: ") && told.contains("certificate"), "{told}");

    let refused = pair.gateway.wait_for_message("configuration refused; the running one is kept");
    assert_eq!(refused["key"], "admin.tls.cert", "{refused}");
    assert!(ask("new-ca.pem", "https", "/readyz").1, "what was in force goes on");
}

#[test]
fn http2_with_prior_knowledge_works_in_clear() {
    let pair = Pair::start(&PairSetup::default());
    let authorization = format!("authorization: Bearer {}", pair.key);
    let (text, fine) = curl(
        Path::new("/dev/null"),
        &[
            "--http2-prior-knowledge",
            "-w",
            "\n%{http_version} %{http_code}",
            "-H",
            &authorization,
            "-H",
            "content-type: application/json",
            "-d",
            &chat_body(false, ""),
            &pair.url(&chat_path()),
        ],
    );
    assert!(fine && text.ends_with("2 200"), "{text}");
}

/// A simulator behind TLS, in this process.
fn tls_simulator(authority: &Authority) -> std::net::SocketAddr {
    use mavera_gateway::clock::Clock;
    use mavera_sim::{Settings, Simulator};
    let (cert, key) = authority.issue();
    let chain = CertificateDer::pem_slice_iter(cert.as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        mavera_gateway::server::event_loop().unwrap().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let clock = Clock::system();
            let simulator = Simulator::new(Settings::with_key(CANARY), move || clock.wall());
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, simulator) = (acceptor.clone(), simulator.clone());
                tokio::spawn(async move {
                    if let Ok(mut tls) = acceptor.accept(tcp).await {
                        let (mut near, far) = tokio::io::duplex(64 << 10);
                        tokio::spawn(async move { simulator.serve_connection(far).await });
                        let _ = tokio::io::copy_bidirectional(&mut tls, &mut near).await;
                    }
                });
            }
        });
    });
    address
}

/// A gateway of an upstream at a port of this machine, over TLS, and what a stream through it comes to.
fn call(folder: &Path, upstream: u16, more: &str) -> (Process, String) {
    let key = mavera_gateway::key::NewKey::generate().unwrap();
    std::fs::write(folder.join("key"), CANARY).unwrap();
    let base_url = format!("base_url = \"https://localhost:{upstream}/api/v1\"");
    let setup = PairSetup { upstream: more, ..PairSetup::default() };
    let path = folder.join("gateway.toml");
    std::fs::write(&path, config(folder, &setup, &base_url, &team("growth", &key))).unwrap();
    let (gateway, address, _) = start_gateway(&path);
    let authorization = format!("authorization: Bearer {}", *key.text);
    let (url, body) = (format!("http://{address}{}", chat_path()), chat_body(true, ""));
    let fields = ["-N", "-H", &authorization, "-H", "content-type: application/json", "-d", &body, &url];
    let answer = curl(Path::new("/dev/null"), &fields).0;
    (gateway, answer)
}

#[test]
fn the_upstream_is_reached_over_tls_and_only_with_roots_that_are_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.install(folder.path());
    let upstream = tls_simulator(&authority).port();
    let roots = format!("ca_file = {:?}", folder.path().join("ca.pem"));
    let (trusting, answer) = call(folder.path(), upstream, &roots);
    assert!(answer.contains("data: [DONE]"), "{answer}");
    drop(trusting);
    // Another authority's roots: no connection, and nothing sent.
    std::fs::write(folder.path().join("other.pem"), Authority::new().pem).unwrap();
    let roots = format!("ca_file = {:?}", folder.path().join("other.pem"));
    let (wary, answer) = call(folder.path(), upstream, &roots);
    assert!(answer.contains("upstream_unreachable"), "{answer}");
    let told = wary.wait_for_message("no connection to the upstream");
    assert!(told["error"].as_str().unwrap().contains("invalid peer certificate"), "{told}");
}

/// A proxy that answers `CONNECT` so, and passes on what comes then. All that is said to it is kept.
fn proxy(answer: &'static str) -> (std::net::SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, said) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&said);
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (mut near, kept) = (near.unwrap(), Arc::clone(&kept));
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    near.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                kept.lock().unwrap().extend_from_slice(&head);
                near.write_all(answer.as_bytes()).unwrap();
                let head = String::from_utf8(head).unwrap();
                let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap();
                let Ok(mut far) = TcpStream::connect(target) else { return };
                let (mut back, mut caller) = (far.try_clone().unwrap(), near.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut back, &mut caller));
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = near.read(&mut bytes) {
                    kept.lock().unwrap().extend_from_slice(&bytes[..length]);
                    if far.write_all(&bytes[..length]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, said)
}

#[test]
fn through_a_proxy_the_upstream_is_reached_over_tls_and_the_proxy_learns_its_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.install(folder.path());
    let upstream = tls_simulator(&authority).port();
    let setup = |proxy: std::net::SocketAddr| {
        format!("ca_file = {:?}\nproxy = \"http://{proxy}\"\n", folder.path().join("ca.pem"))
    };
    let (open, said) = proxy("HTTP/1.1 200 Connection established\r\n\r\n");
    let (gateway, answer) = call(folder.path(), upstream, &setup(open));
    assert!(answer.contains("data: [DONE]"), "{answer}");
    let said = said.lock().unwrap().clone();
    let asked = format!("CONNECT localhost:{upstream} HTTP/1.1\r\nhost: localhost:{upstream}\r\n\r\n");
    assert!(said.starts_with(asked.as_bytes()), "{}", String::from_utf8_lossy(&said));
    assert!(said.len() > asked.len() + 500, "the call went through it");
    assert_no_canary("what a proxy is told", &said);
    assert!(!String::from_utf8_lossy(&said).contains("video-analyses"), "nor what is asked");
    drop(gateway);

    let (shut, _) = proxy("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
    let (gateway, answer) = call(folder.path(), upstream, &setup(shut));
    assert!(answer.contains("upstream_unreachable"), "{answer}");
    let told = gateway.wait_for_message("no connection to the upstream").to_string();
    let expected = format!("the proxy {shut}: it does not connect to localhost:{upstream}: 403");
    assert!(told.contains(&expected), "{told}");
}
