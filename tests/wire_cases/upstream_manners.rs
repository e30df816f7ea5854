//! What an upstream may say beside its answer: upgrades, interim answers, fields for one hop, a second answer
//! (cases 82 to 91).

use super::upstream_answers::{Faulty, usual_in_chunks, usual_with};
use crate::support::CANARY;
use crate::support::recorder::ANSWER;

pub fn cases() -> Vec<Faulty> {
    let refusal = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let masked = format!("{{\"id\":\"mvra_live_{}\"}}", "*".repeat(CANARY.len() - 10));
    let echo = format!("{{\"id\":\"{CANARY}\"}}");
    let hops = "connection: x-s, keep-alive\r\nx-s: secret\r\nkeep-alive: timeout=5\r\nproxy-authenticate: x\r\nte: x\r\n";
    vec![
        Faulty::passed(83, "an upgrade beside a 200", usual_with("connection: upgrade\r\nupgrade: foo\r\n")),
        Faulty::passed(
            83,
            "an upgrade beside a 200 in chunks",
            usual_in_chunks("connection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: chunked\r\n"),
        ),
        // Read and dropped; how long they may go on is the deadline of the head.
        Faulty::passed(
            84,
            "2,000 hints before the answer",
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(2000) + &usual_with(""),
        ),
        Faulty::passed(
            84,
            "100 before the answer",
            "HTTP/1.1 100 Continue\r\n\r\n".to_owned() + &usual_with(""),
        ),
        Faulty::passed(85, "fields for one hop", usual_with(hops)),
        Faulty::passed(85, "an end of the connection", usual_with("connection: close\r\n")).closing(),
        Faulty::passed(
            86,
            "a second answer glued on",
            usual_with("") + "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother",
        ),
        Faulty::passed(
            86,
            "a second answer behind chunks",
            usual_in_chunks("transfer-encoding: chunked\r\n")
                + "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother",
        ),
        Faulty::passed(86, "rubbish behind the answer", usual_with("") + "rubbish"),
        Faulty::passed(
            90,
            "fields that are nobody's business",
            usual_with(
                "location: /\r\nset-cookie: a=b\r\nserver: theirs\r\nx-request-id: theirs\r\nx-powered-by: y\r\nvia: 1.1 theirs\r\naccess-control-allow-origin: *\r\n",
            ),
        ),
        Faulty::passed(
            90,
            "trailers nobody announced",
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{ANSWER}\r\n0\r\nset-cookie: a=b\r\nx-a: b\r\n\r\n",
                ANSWER.len()
            ),
        ),
        Faulty::passed(
            89,
            "the key in a field",
            usual_with(&format!(
                "retry-after: {CANARY}\r\nx-echo: {CANARY}\r\ncontent-language: {CANARY}\r\n"
            )),
        ),
        // The refusal of a call passes, as every refusal does, with the key masked.
        Faulty::passed(89, "the key in a refusal", refusal("403", &echo)).free(403, &masked),
        Faulty::passed(89, "the key in a refusal of what was asked", refusal("404", &echo))
            .free(404, &masked),
        Faulty::passed(
            91,
            "an answer that ends the connection early",
            "HTTP/1.1 413 X\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        )
        .free(413, "{}")
        .closing(),
    ]
}
