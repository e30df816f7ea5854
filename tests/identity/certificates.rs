//! Members by client certificates, asked for by curl, over HTTP/1.1 and HTTP/2.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::authority::{Authority, Client};
use crate::support::chat_body;
use crate::support::issuer::{ISSUER, TestIssuer};
use crate::support::process::{Pair, PairSetup, team};
use crate::support::rig::chat_path;
use mavera_gateway::key::NewKey;

const BATCH: &str = "spiffe://acme.internal/ns/growth/sa/batch";

/// A gateway with TLS, and an authority of callers.
struct Mesh {
    folder: tempfile::TempDir,
    callers: Authority,
    pair: Pair,
    search_key: String,
}

fn mesh(mtls: &str, more: &str) -> Mesh {
    let folder = tempfile::tempdir().unwrap();
    Authority::new().install(folder.path());
    let callers = Authority::new();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("callers.pem"), &callers.pem).unwrap();
    std::fs::write(at("revoked.pem"), callers.revocations(&[])).unwrap();
    let server = format!("tls = {{ cert = {:?}, key = {:?} }}", at("cert.pem"), at("key.pem"));
    let search = NewKey::generate().unwrap();
    let pair = Pair::start(&PairSetup {
        server: &server,
        team: &format!(
            "members = [{{ id = \"growth-batch\", identity = \"mesh\", san = \"{BATCH}\" }},\n\
             {{ id = \"growth-web\", identity = \"mesh\", san = \"*.growth.internal\" }}]\n\
             [[identity]]\nname = \"mesh\"\nmtls = {{ ca_file = {:?}, crl_file = {:?}{mtls} }}\n{more}\n{}",
            at("callers.pem"),
            at("revoked.pem"),
            team("search", &search),
        ),
        ..PairSetup::default()
    });
    Mesh { folder, callers, pair, search_key: search.text.to_string() }
}

impl Mesh {
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Asks with a certificate, if there is one, and a bearer, if there is one: version and status, or that the handshake failed.
    fn ask(&self, version: &str, client: Option<&Client>, bearer: Option<&str>) -> String {
        let mut curl = Command::new("curl");
        curl.args(["-sS", version, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--cacert"]);
        curl.arg(self.folder.path().join("ca.pem"));
        if let Some(client) = client {
            curl.arg("--cert").arg(self.write("client.pem", &client.cert));
            curl.arg("--key").arg(self.write("client.key", &client.key));
        }
        if let Some(bearer) = bearer {
            curl.args(["-H", &format!("authorization: Bearer {bearer}")]);
        }
        curl.args(["-H", "content-type: application/json", "-d", &chat_body(false, "")]);
        let output = curl.arg(format!("https://{}{}", self.pair.address, chat_path())).output().unwrap();
        if output.status.success() {
            String::from_utf8(output.stdout).unwrap()
        } else {
            "no handshake".into()
        }
    }

    fn received(&self) -> usize {
        self.pair.books()["received"].as_array().unwrap().len()
    }
}

#[test]
fn a_certificate_is_a_member_by_its_names_and_by_nothing_else() {
    let mesh = mesh("", "");
    let good = mesh.callers.client(&[BATCH], 2099);
    for (version, served, forbidden) in [("--http1.1", "1.1 200", "1.1 403"), ("--http2", "2 200", "2 403")] {
        assert_eq!(mesh.ask(version, Some(&good), None), served);
        let by_name = mesh.callers.client(&["api.growth.internal", "other.example"], 2099);
        assert_eq!(mesh.ask(version, Some(&by_name), None), served);
        for names in [
            &["spiffe://acme.internal/ns/growth/sa/other"] as &[&str],
            // The common name is the right one in all of them.
            &["nobody.example"],
            // Two URIs: which of them is its SPIFFE id?
            &[BATCH, "spiffe://acme.internal/ns/growth/sa/other"],
            &["*.growth.internal"],
        ] {
            let other = mesh.callers.client(names, 2099);
            assert_eq!(mesh.ask(version, Some(&other), None), forbidden, "{names:?}");
        }
        for client in [mesh.callers.client(&[BATCH], 2020), Authority::new().client(&[BATCH], 2099)] {
            assert_eq!(mesh.ask(version, Some(&client), None), "no handshake");
        }
        // Whoever has a key needs none.
        assert_eq!(mesh.ask(version, None, Some(&mesh.pair.key)), served);
        // Both, and they lead to the same team; or to two.
        assert_eq!(mesh.ask(version, Some(&good), Some(&mesh.pair.key)), served);
        assert_eq!(mesh.ask(version, Some(&good), Some(&mesh.search_key)), forbidden);
        // One that leads to nobody takes nothing away from a key.
        let nobody = mesh.callers.client(&["nobody.example"], 2099);
        assert_eq!(mesh.ask(version, Some(&nobody), Some(&mesh.search_key)), served);
        assert_eq!(mesh.ask(version, Some(&good), Some("mvgw_wrong")), served.replace("200", "401"));
        assert_eq!(mesh.ask(version, None, None), served.replace("200", "401"));
    }
    assert_eq!(mesh.received(), 2 * 5);
    let said = mesh.pair.gateway.output();
    assert!(
        said.contains("\"key_id\":\"growth-batch\"") && said.contains("\"key_id\":\"growth-web\""),
        "{said}"
    );
    let nobody = said.lines().find(|line| line.contains("a valid certificate is of nobody here")).unwrap();
    assert!(nobody.contains("spiffe://acme.internal/ns/growth/sa/other"), "{nobody}");
    assert!(!said.contains("BEGIN CERTIFICATE"));
}

/// A connection that stays open: curl asks twice on it, the second time when a file is there.
fn twice_on_one_connection(mesh: &Mesh, client: &Client, between: impl FnOnce()) -> Vec<String> {
    let [cert, key] = [mesh.write("kept.pem", &client.cert), mesh.write("kept.key", &client.key)];
    let script = format!(
        "import http.client, ssl, sys\n\
         context = ssl.create_default_context(cafile={ca:?})\n\
         context.load_cert_chain({cert:?}, {key:?})\n\
         connection = http.client.HTTPSConnection('127.0.0.1', {port}, context=context)\n\
         for _ in sys.stdin:\n\
         \x20   connection.request('POST', {path:?}, body={body:?}, headers={{'content-type': 'application/json'}})\n\
         \x20   response = connection.getresponse()\n\
         \x20   response.read()\n\
         \x20   print(response.status, flush=True)\n",
        ca = mesh.folder.path().join("ca.pem").display().to_string(),
        cert = cert.display().to_string(),
        key = key.display().to_string(),
        port = mesh.pair.address.port(),
        path = chat_path(),
        body = chat_body(false, ""),
    );
    let mut python = Command::new("python3")
        .args(["-c", &script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ask = python.stdin.take().unwrap();
    let mut answers = std::io::BufReader::new(python.stdout.take().unwrap());
    let mut once = || {
        use std::io::{BufRead, Write};
        writeln!(ask).unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    };
    let first = once();
    between();
    let said = vec![first, once()];
    drop(ask);
    assert!(python.wait().unwrap().success());
    said
}

#[test]
fn what_is_revoked_is_refused_from_the_next_request_on_also_on_open_connections() {
    let mesh = mesh("", "");
    let [batch, web] =
        [mesh.callers.client(&[BATCH], 2099), mesh.callers.client(&["a.growth.internal"], 2099)];
    let said = twice_on_one_connection(&mesh, &batch, || {
        mesh.write("revoked.pem", &mesh.callers.revocations(&[&batch]));
        mesh.pair.gateway.wait_for_message("configuration reloaded");
    });
    assert_eq!(said, ["200", "401"]);
    assert_eq!(mesh.ask("--http2", Some(&batch), None), "no handshake");
    assert_eq!(mesh.ask("--http2", Some(&web), None), "2 200");
    // Another authority, and all of the old one's are strangers.
    let said = twice_on_one_connection(&mesh, &web, || {
        let other = Authority::new();
        mesh.write("revoked.pem", &other.revocations(&[]));
        mesh.write("callers.pem", &other.pem);
        mesh.pair.gateway.wait_for_message("configuration reloaded");
    });
    assert_eq!(said, ["200", "401"]);
}

fn thumbprint(client: &Client) -> String {
    let der = CertificateDer::from_pem_slice(client.cert.as_bytes()).unwrap();
    URL_SAFE_NO_PAD.encode(Sha256::digest(&der))
}

#[test]
fn a_token_that_is_bound_to_a_certificate_is_its_owners_alone() {
    let issuer = TestIssuer::new("a");
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), issuer.key_set()).unwrap();
    let more = format!(
        "[[identity]]\nname = \"build\"\njwt = {{ issuer = \"{ISSUER}\", audience = [\"mavera-gateway\"], jwks_file = {:?} }}\n\
         [[team]]\nname = \"third\"\n{}members = [{{ id = \"third-ci\", identity = \"build\", claims = {{ sub = \"a\" }} }}]\n",
        keys.path().display().to_string(),
        crate::support::process::WIDE_LIMITS,
    );
    let mesh = mesh("", &more);
    let [owner, thief] = ["owner.example", "thief.example"].map(|name| mesh.callers.client(&[name], 2099));
    #[expect(clippy::disallowed_methods, reason = "a real token for a real process")]
    let now = jiff::Timestamp::now();
    let token = issuer.token(now, &json!({"sub": "a", "cnf": {"x5t#S256": thumbprint(&owner)}}));
    for version in ["--http1.1", "--http2"] {
        let served = if version == "--http2" { "2 200" } else { "1.1 200" };
        assert_eq!(mesh.ask(version, Some(&owner), Some(&token)), served);
        // Also when it is known.
        for client in [Some(&thief), None] {
            assert_eq!(mesh.ask(version, client, Some(&token)), served.replace("200", "401"));
        }
    }
    // Of another team than the certificate's.
    let free = issuer.token(now, &json!({"sub": "a"}));
    assert_eq!(mesh.ask("--http2", Some(&mesh.callers.client(&[BATCH], 2099)), Some(&free)), "2 403");
    assert_eq!(mesh.received(), 2);
}

#[test]
fn where_certificates_are_required_nobody_enters_without_a_members() {
    let mesh = mesh(", allow_unauthenticated = false", "");
    let good = mesh.callers.client(&[BATCH], 2099);
    assert_eq!(mesh.ask("--http2", None, Some(&mesh.pair.key)), "no handshake");
    assert_eq!(mesh.ask("--http2", Some(&good), None), "2 200");
    assert_eq!(mesh.ask("--http2", Some(&good), Some(&mesh.pair.key)), "2 200");
    let nobody = mesh.callers.client(&["nobody.example"], 2099);
    assert_eq!(mesh.ask("--http2", Some(&nobody), Some(&mesh.pair.key)), "2 403");
    assert_eq!(mesh.received(), 2);
}
