//! Tokens that others have made: `PyJWT`, and an `OpenID` provider that nobody here wrote.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::clients::sdk;
use crate::support::chat_body;
use crate::support::issuer::{ISSUER, TestIssuer};
use crate::support::process::{Pair, PairSetup, Process, binary};
use crate::support::rig::chat_path;

/// Asks with curl, and returns status and body.
fn chat(pair: &Pair, token: &str) -> (u16, String) {
    // The largest of the tokens are longer than an argument should be seen with.
    let config = format!("header = \"authorization: Bearer {token}\"\n");
    let file = pair.folder.path().join("curl");
    std::fs::write(&file, config).unwrap();
    let mut curl = Command::new("curl");
    curl.arg("--config").arg(&file).args([
        "-sS",
        "-w",
        "\n%{http_code}",
        "-H",
        "content-type: application/json",
    ]);
    let output = curl.args(["-d", &chat_body(false, ""), &pair.url(&chat_path())]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

fn received(pair: &Pair) -> usize {
    pair.books()["received"].as_array().unwrap().len()
}

#[test]
fn tokens_of_a_library_of_others_are_taken_and_all_attacks_on_readers_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [keys, others] = ["keys.json", "others.json"].map(|name| folder.path().join(name));
    let minted =
        Command::new(sdk(".venv/bin/python")).arg(sdk("mint.py")).args([&keys, &others]).output().unwrap();
    assert!(minted.status.success(), "{}", String::from_utf8_lossy(&minted.stderr));
    let tokens: Value = serde_json::from_slice(&minted.stdout).unwrap();
    let identity = |name: &str, issuer: &str, keys: &std::path::Path, audience: &str| {
        format!(
            "[[identity]]\nname = \"{name}\"\njwt = {{ issuer = \"https://{issuer}\", audience = [\"{audience}\"], jwks_file = '{}' }}\n",
            keys.display()
        )
    };
    let pair = Pair::start(&PairSetup {
        team: &format!(
            "members = [{{ id = \"growth-ci\", identity = \"build\", claims = {{ sub = \"a\" }} }}]\n{}{}",
            identity("build", "issuer.example", &keys, "mavera-gateway"),
            // Another issuer, which vouches for nobody.
            identity("neighbour", "other.example", &others, "mavera-gateway"),
        ),
        ..PairSetup::default()
    });
    let valid = tokens["valid"].as_object().unwrap();
    assert_eq!(valid.len(), 5);
    for (algorithm, token) in valid {
        let (status, body) = chat(&pair, token.as_str().unwrap());
        assert_eq!(status, 200, "{algorithm}: {body}");
    }
    assert_eq!(received(&pair), 5);
    let attacks = tokens["attacks"].as_object().unwrap();
    assert!(attacks.len() > 30);
    for (name, token) in attacks {
        let (status, body) = chat(&pair, token.as_str().unwrap());
        // That one is fine, of its own issuer; it is the same `kid`, of another key, that must open nothing.
        let expected = if name == "another issuer's token" { 403 } else { 401 };
        assert_eq!(status, expected, "{name}: {body}");
    }
    assert_eq!(received(&pair), 5, "nothing of an attack was sent upstream");
    // What the command line says of them.
    let whoami = |token: &Value| {
        let file = folder.path().join("token");
        std::fs::write(&file, token.as_str().unwrap()).unwrap();
        let output = binary()
            .arg("whoami")
            .arg("--config")
            .arg(pair.config_path())
            .arg("--token-file")
            .arg(file)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    let (code, said) = whoami(&valid["ES384"]);
    assert_eq!((code, said.as_str()), (0, "Member growth-ci of team growth, by identity build.\n"));
    for (name, why) in [
        ("none", "an algorithm that is not accepted"),
        ("jwk", "its signature is not valid"),
        ("crit", "its header says"),
        ("exp over", "it has expired"),
        ("10 KiB", "not a signed JSON Web Token of at most 8 KiB"),
        ("another issuer's token", "Valid by identity neighbour, and nobody's"),
    ] {
        let (code, said) = whoami(&attacks[name]);
        assert!(code == 1 && said.contains(why), "{name}: {said}");
    }
    // Nowhere is anything of a token written down.
    let written = [pair.gateway.output(), std::fs::read_to_string(pair.config_path()).unwrap()].concat();
    for token in valid.values().chain(attacks.values()) {
        let parts: Vec<_> = token.as_str().unwrap().split('.').collect();
        assert!(parts[1].len() < 40 || !written.contains(&parts[1][..40]));
    }
}

#[test]
fn a_provider_of_others_vouches_for_its_client_also_behind_a_rotation_of_its_keys() {
    let provider = Process::start(Command::new("node").arg(sdk("provider.mjs")));
    let issuer = provider.wait_for(|line| line.strip_prefix("issuer ").map(str::to_owned));
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl").args(["-sSf"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let token = |resource: &str| {
        let client = "growth-ci:plainly-fake-client-secret";
        let resource = format!("resource={resource}");
        let answer = curl(&[
            "-u",
            client,
            "-d",
            "grant_type=client_credentials",
            "-d",
            &resource,
            &format!("{issuer}/token"),
        ]);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    };
    let pair = Pair::start(&PairSetup {
        team: &format!(
            "members = [{{ id = \"growth-ci\", identity = \"sso\", claims = {{ client_id = \"growth-ci\" }} }}]\n\
             [[identity]]\nname = \"sso\"\njwt = {{ issuer = \"{issuer}\", audience = [\"mavera-gateway\"] }}\n"
        ),
        ..PairSetup::default()
    });
    let before = token("urn:mavera-gateway");
    let (status, body) = chat(&pair, &before);
    assert_eq!(status, 200, "{body}");
    assert_eq!(chat(&pair, &token("urn:another-service")).0, 401);
    // It signs with another key from now on, and its set has that alone.
    curl(&["-X", "POST", &format!("{issuer}/rotate")]);
    let (status, body) = chat(&pair, &token("urn:mavera-gateway"));
    assert_eq!(status, 200, "{body}");
    assert_eq!(chat(&pair, &before).0, 401, "the key that it was signed with is gone");
    assert_eq!(received(&pair), 2);
}

#[test]
fn the_openai_sdks_show_a_token_that_is_replaced_while_they_run() {
    let folder = tempfile::tempdir().unwrap();
    let [keys, token] = ["keys.json", "token"].map(|name| folder.path().join(name));
    let issuer = TestIssuer::new("a");
    std::fs::write(&keys, issuer.key_set()).unwrap();
    let member =
        |id: &str| format!("{{ id = \"growth-{id}\", identity = \"build\", claims = {{ sub = \"{id}\" }} }}");
    let pair = Pair::start(&PairSetup {
        team: &format!(
            "members = [{}, {}]\n[[identity]]\nname = \"build\"\njwt = {{ issuer = \"{ISSUER}\", audience = [\"mavera-gateway\"], jwks_file = '{}' }}\n",
            member("a"),
            member("b"),
            keys.display()
        ),
        ..PairSetup::default()
    });
    #[expect(clippy::disallowed_methods, reason = "a real token for a real process")]
    let now = jiff::Timestamp::now();
    for (program, script) in [(sdk(".venv/bin/python"), "workload.py"), ("node".into(), "workload.mjs")] {
        let before = received(&pair);
        std::fs::write(&token, issuer.token(now, &json!({"sub": "a"}))).unwrap();
        let mut client = Command::new(program)
            .arg(sdk(script))
            .env("OPENAI_BASE_URL", pair.url("/api/v1"))
            .env("CHAT_PATH", chat_path().trim_start_matches("/api/v1"))
            .env("TOKEN_FILE", &token)
            .env_remove("OPENAI_API_KEY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(client.stdout.take().unwrap()).lines();
        let mut go_on = client.stdin.take().unwrap();
        assert_eq!(said.next().unwrap().unwrap(), "answered credits=1", "{script}");
        std::fs::write(&token, issuer.token(now, &json!({"sub": "b"}))).unwrap();
        writeln!(go_on).unwrap();
        assert_eq!(said.next().unwrap().unwrap(), "answered credits=1", "{script}");
        writeln!(go_on).unwrap();
        assert!(client.wait().unwrap().success(), "{script}");
        assert_eq!(received(&pair) - before, 2, "{script}");
    }
    let by = |id: &str| pair.gateway.output().matches(&format!("\"key_id\":\"growth-{id}\"")).count();
    assert_eq!((by("a"), by("b")), (2, 2));
}
