//! TLS on both sides, with certificates made here; and HTTP/2, asked for by curl.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

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

#[test]
fn the_upstream_is_reached_over_tls_and_only_with_roots_that_are_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.install(folder.path());
    let upstream = tls_simulator(&authority);
    let key = mavera_gateway::key::NewKey::generate().unwrap();
    std::fs::write(folder.path().join("key"), CANARY).unwrap();
    let start = |roots: &str| -> (Process, std::net::SocketAddr) {
        let base_url = format!("base_url = \"https://localhost:{}/api/v1\"", upstream.port());
        let setup = PairSetup { upstream: roots, ..PairSetup::default() };
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, config(folder.path(), &setup, &base_url, &team("growth", &key))).unwrap();
        let (gateway, address, _) = start_gateway(&path);
        (gateway, address)
    };
    let call = |address: std::net::SocketAddr| {
        let authorization = format!("authorization: Bearer {}", *key.text);
        curl(
            Path::new("/dev/null"),
            &[
                "-N",
                "-H",
                &authorization,
                "-H",
                "content-type: application/json",
                "-d",
                &chat_body(true, ""),
                &format!("http://{address}{}", chat_path()),
            ],
        )
        .0
    };
    let roots = format!("ca_file = {:?}", folder.path().join("ca.pem"));
    let (trusting, address) = start(&roots);
    assert!(call(address).contains("data: [DONE]"));
    drop(trusting);
    // Another authority's roots: no connection, and nothing sent.
    std::fs::write(folder.path().join("other.pem"), Authority::new().pem).unwrap();
    let (wary, address) = start(&format!("ca_file = {:?}", folder.path().join("other.pem")));
    assert!(call(address).contains("upstream_unreachable"));
    let told = wary.wait_for_message("no connection to the upstream");
    assert!(told["error"].as_str().unwrap().contains("invalid peer certificate"), "{told}");
}
