//! What a request asks for: its target, its Host and its method (cases 29 to 46).

use super::{
    BODY, Case, End, Expect, KEY, MARK, answered, case, prove, refused, served, served_with, with_length,
};
use mavera_gateway::route::Route;

use crate::support::rig::chat_path;

/// A chat at this target.
fn at(target: &str) -> String {
    with_length("", BODY).replacen(&chat_path(), target, 1)
}

/// A chat with these lines instead of its Host.
fn hosted(host: &str) -> String {
    with_length("", BODY).replacen("host: gw\r\n", host, 1)
}

/// A request without a body.
fn bare(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {KEY}\r\n\r\n")
}

pub fn cases() -> Vec<Case> {
    [hosts(), methods(), paths(), templates(), odd_bytes(), queries()].into_iter().flatten().collect()
}

fn hosts() -> Vec<Case> {
    let path = chat_path();
    let mut cases = vec![
        case(29, "no Host", hosted(""), refused(400)),
        case(
            29,
            "no Host in 1.0, where there need not be one",
            hosted("").replacen("1.1", "1.0", 1),
            served().ending(End::Announced),
        ),
        case(30, "two Hosts", hosted("host: gw\r\nhost: other\r\n"), refused(400)),
        case(30, "the same Host twice", hosted("host: gw\r\nhost: gw\r\n"), refused(400)),
        case(
            32,
            "an authority that is not the Host",
            at(&format!("http://evil.example{path}")),
            refused(421),
        ),
        // Which names are ours is nobody's business but DNS's; what counts is that there is one opinion about it.
        case(32, "an authority that is the Host", at(&format!("http://gw{path}")), served()),
        case(33, "user information", at(&format!("http://user:{MARK}@gw{path}")), refused(400)),
    ];
    for host in ["a b/c@d", "", "u@gw", "gw/x", "gw, other", "gw:port", "[::1", "gw?x"] {
        cases.push(case(
            31,
            format!("the Host {host:?}"),
            hosted(&format!("host: {host}\r\n")),
            refused(400),
        ));
    }
    cases
}

fn methods() -> Vec<Case> {
    vec![
        // It matches no route. Only a 2xx would open a tunnel.
        case(34, "CONNECT", bare("CONNECT evil.example:443"), answered(404)),
        case(34, "CONNECT to a path of ours", bare(&format!("CONNECT {}", chat_path())), answered(405)),
        // Nothing is said about the server as a whole.
        case(35, "OPTIONS *", bare("OPTIONS *"), answered(404)),
        case(35, "GET *", bare("GET *"), answered(404)),
        case(
            36,
            "TRACE",
            format!("TRACE {} HTTP/1.1\r\nhost: gw\r\nx-a: {MARK}\r\n\r\n", chat_path()),
            answered(405),
        ),
        case(36, "a method nobody knows", bare(&format!("PURGE {}", chat_path())), answered(405)),
        case(36, "a method in lower case", bare(&format!("post {}", chat_path())), answered(405)),
        case(36, "another protocol", bare("GET /").replacen("HTTP/1.1", "HTTP/3.0", 1), refused(400)),
        case(36, "no protocol", "GET /evil\r\n\r\n", refused(400)),
    ]
}

fn paths() -> Vec<Case> {
    let id = |id: &str| at(&format!("/api/v1/video-analyses/{id}/chat"));
    let mut cases = vec![
        case(37, "dots up to elsewhere", at("/api/v1/../admin"), answered(404)),
        case(37, "dots back to a route", at(&format!("/api/v1/..{}", chat_path())), answered(404)),
        case(37, "a dot", at(&chat_path().replace("/v1/", "/v1/./")), answered(404)),
        case(37, "two slashes", at(&chat_path().replace("/v1/", "/v1//")), answered(404)),
        case(37, "a slash behind", at(&format!("{}/", chat_path())), answered(404)),
        case(37, "capitals", at(&chat_path().to_uppercase()), answered(404)),
        case(40, "an authority in the path", at(&format!("//evil.example{}", chat_path())), answered(404)),
        case(41, "a backslash in the id", id("a\\b"), answered(400)),
        case(41, "backslashes for slashes", at(&chat_path().replace('/', "\\")), refused(400)),
        case(42, "a fragment behind a route", at(&format!("{}#frag", chat_path())), served()),
        case(42, "a route in a fragment", at(&format!("/evil#{}", chat_path())), answered(404)),
        case(42, "a fragment in the id", id("a#b"), answered(405)),
    ];
    for encoded in ["..%2f..%2fkeys", "%2e%2e%2fkeys", "..%5ckeys", "a%2fb"] {
        cases.push(case(38, format!("the id {encoded}"), id(encoded), answered(400)));
    }
    for encoded in ["%252e%252e", "%2e%2e", "..;", "..", ".", "a;b=c", "~", &"a".repeat(129)] {
        cases.push(case(39, format!("the id {encoded}"), id(encoded), answered(400)));
    }
    cases.push(case(39, "a parameter and a path", at("/api/v1/..;/video-analyses"), answered(404)));
    cases
}

/// Every template, misspelt in the ways that other programs read as the right one: nothing is normalised and then matched.
fn templates() -> Vec<Case> {
    let mut cases = Vec::new();
    for row in Route::all().map(Route::row).filter(|row| row.is_upstream()) {
        let asked = |path: &str| at(path).replacen("POST ", &format!("{} ", row.method), 1);
        let path = row.template.replace("{id}", "a");
        let first = path["/api/v1/".len()..].chars().next().unwrap();
        let encoded = path.replacen(&format!("/v1/{first}"), &format!("/v1/%{:02x}", first as u32), 1);
        for (what, number, path) in [
            ("two slashes", 37, path.replace("/v1/", "/v1//")),
            ("a dot", 37, path.replace("/v1/", "/v1/./")),
            ("dots back to it", 37, format!("/api/v1/..{path}")),
            ("dots behind it", 37, format!("{path}/../x")),
            ("a slash behind", 37, format!("{path}/")),
            ("an encoded slash in front", 38, path.replacen("/v1/", "/v1%2f", 1)),
            ("a letter that is encoded", 39, encoded),
            ("an authority in the path", 40, format!("//evil.example{path}")),
        ] {
            cases.push(case(number, format!("{}: {what}", row.label), asked(&path), answered(404)));
        }
        if row.template.contains("{id}") {
            for id in ["a%2fb", "..%2f..", "%2e%2e", "..", "a;b", "%00", "{id}"] {
                let path = row.template.replace("{id}", id);
                cases.push(case(38, format!("{}: the id {id}", row.label), asked(&path), answered(400)));
            }
            let empty = row.template.replace("{id}", "");
            cases.push(case(38, format!("{}: no id", row.label), asked(&empty), answered(404)));
        }
    }
    cases
}

fn odd_bytes() -> Vec<Case> {
    let id = |id: &str| at(&format!("/api/v1/video-analyses/{id}/chat"));
    vec![
        case(43, "an encoded NUL", id("a%00"), answered(400)),
        case(43, "encoded line ends", id("a%0d%0aX:%20y"), answered(400)),
        case(43, "UTF-8", id("ä"), answered(400)),
        case(
            43,
            "bytes that are no UTF-8",
            {
                let mut bytes = id("a~b").into_bytes();
                let at = bytes.iter().position(|b| *b == b'~').unwrap();
                bytes[at] = 0xff;
                bytes
            },
            refused(400),
        ),
        case(43, "a NUL", id("a\0b"), refused(400)),
        case(44, "a space in the target", id("a b"), refused(400)),
        case(44, "a tab in the target", id("a\tb"), refused(400)),
        case(
            44,
            "two spaces before the target",
            with_length("", BODY).replacen("POST ", "POST  ", 1),
            refused(400),
        ),
        case(
            44,
            "a tab before the target",
            with_length("", BODY).replacen("POST ", "POST\t", 1),
            refused(400),
        ),
        case(
            44,
            "two spaces before the version",
            with_length("", BODY).replacen(" HTTP/1.1", "  HTTP/1.1", 1),
            refused(400),
        ),
        case(44, "a space before the method", format!(" {}", with_length("", BODY)), refused(400)),
        case(46, "empty lines before the request", format!("\r\n\r\n{}", with_length("", BODY)), served()),
    ]
}

fn queries() -> Vec<Case> {
    let list = |query: &str| bare(&format!("GET /api/v1/video-analyses{query}"));
    let listed = |query: &str| Expect {
        statuses: vec![200],
        sent: vec![(format!("GET /api/v1/video-analyses{query} HTTP/1.1"), Vec::new())],
        end: End::GoesOn,
    };
    vec![
        case(45, "a query on a route without one", at(&format!("{}?a=b", chat_path())), refused(400)),
        case(45, "an empty query", at(&format!("{}?", chat_path())), refused(400)),
        case(45, "a key in the query", at(&format!("{}?key={MARK}", chat_path())), refused(400)),
        case(45, "a key in the query of the list", list(&format!("?key={MARK}")), answered(400)),
        case(45, "the same parameter twice", list("?limit=1&limit=2"), answered(400)),
        case(45, "an encoded parameter", list("?limit=%31"), answered(400)),
        case(
            45,
            "a query that is documented",
            list("?limit=5&status=completed"),
            listed("?limit=5&status=completed"),
        ),
        case(45, "a fragment behind a query", list("?limit=5#frag"), listed("?limit=5")),
        case(
            46,
            "what is behind the body is another request",
            format!("{}\r\n", with_length("", BODY)),
            served_with(BODY),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_target_is_exactly_one_of_ours_or_is_refused() {
    prove(cases()).await;
}
