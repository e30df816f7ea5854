//! Heads by grammar, most of them almost right: what a parser and the next could read differently is seldom noise.

use super::rig::chat_path;

/// A request that must never be run as part of another, or by the upstream.
pub const EVIL: &str = "GET /evil HTTP/1.1\r\nhost: gw\r\nx-request-id: evil\r\n\r\n";

const BODY: &str = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
const LIST: &str = "/api/v1/video-analyses";

/// Numbers from a seed (splitmix64): the same everywhere, for ever.
#[derive(Clone, Debug)]
pub struct Seed(pub u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Happens so many times in a hundred.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// One of those that stand between the bars.
    fn of<'a>(&mut self, list: &'a str) -> &'a str {
        let count = list.split('|').count();
        let at = self.below(count);
        list.split('|').nth(at).unwrap_or_default()
    }

    /// The usual one, or so many times in a hundred one of the others.
    fn mostly<'a>(&mut self, usual: &'a str, odd: usize, others: &'a str) -> &'a str {
        if self.percent(odd) { self.of(others) } else { usual }
    }
}

/// What is written on one connection.
pub struct Script {
    pub bytes: Vec<u8>,
    /// Requests in it, at most; without those for `/evil`.
    pub requests: usize,
    /// Bytes that are written at a time.
    pub piece: usize,
}

/// The script of a seed.
pub fn script(seed: u64, key: &str) -> Script {
    let mut seed = Seed(seed);
    let requests = seed.pick(&[1, 1, 1, 2, 2, 3, 4]);
    let mut bytes = Vec::new();
    for _ in 0..requests {
        let mut request = request(&mut seed, key);
        if seed.percent(25) {
            for _ in 0..=seed.below(3) {
                mutate(&mut seed, &mut request);
            }
        }
        bytes.extend(request);
        if seed.percent(40) {
            bytes.extend_from_slice(EVIL.as_bytes());
        }
    }
    let piece = if seed.percent(30) { 1 + seed.below(60) } else { usize::MAX };
    Script { bytes, requests, piece }
}

fn request(seed: &mut Seed, key: &str) -> Vec<u8> {
    let chat = chat_path();
    let method = seed.mostly("POST", 20, "GET|GET|GET|post|PUT|TRACE|CONNECT|OPTIONS|P@ST|POST POST||\u{1}");
    let target = if method == "POST" && seed.percent(85) { chat.clone() } else { target(seed, &chat) };
    let version = seed.mostly(
        " HTTP/1.1",
        5,
        " HTTP/1.0| HTTP/1.0| HTTP/1.2| HTTP/2.0| http/1.1||  HTTP/1.1|\tHTTP/1.1| HTTP/1.1 | HTTP/01.1",
    );
    let (framing, body) = framing(seed);
    let mut lines = vec![host(seed), authorization(seed, key)];
    lines.extend(framing);
    lines.extend((0..seed.below(6)).map(|_| field(seed)));
    if seed.percent(20) {
        let (a, b) = (seed.below(lines.len()), seed.below(lines.len()));
        lines.swap(a, b);
    }
    if seed.percent(4) {
        let line = lines[seed.below(lines.len())].clone();
        lines.push(line);
    }
    let mut request = format!("{method} {target}{version}").into_bytes();
    request.extend(end(seed));
    for line in lines.iter().filter(|line| !line.is_empty()) {
        request.extend_from_slice(line);
        request.extend(end(seed));
    }
    request.extend(end(seed));
    request.extend(body);
    request
}

fn end(seed: &mut Seed) -> &'static [u8] {
    if seed.below(1000) > 4 {
        b"\r\n"
    } else {
        seed.pick(&[
            b"\n".as_slice(),
            b"\r",
            b"\r\r\n",
            b"\n\r",
            b"\r\n ",
            b"\r\n\t",
            b" \r\n",
            b"\0\r\n",
            b"",
        ])
    }
}

fn target(seed: &mut Seed, chat: &str) -> String {
    match seed.below(14) {
        0..=3 => LIST.to_owned(),
        4 => {
            format!("{LIST}?{}", seed.of("limit=5|limit=5&status=completed|limit=5&limit=6|key=x|limit=%31|"))
        }
        5 => format!("{LIST}/{}", seed.of("abc|..|.|%2e%2e|a%2fb|..%2fkeys|a;b|a\\b|ä|a%00|")),
        6 => format!(
            "{}{chat}",
            seed.of(
                "http://gw|http://evil.example|http://u@gw|//evil.example|https://gw:port|gw|/|/.|/api/.."
            )
        ),
        7 => format!("{chat}{}", seed.of("#frag|?a=b|?|/|/../../evil|;x| |%20|\u{7f}")),
        8 => "/evil".to_owned(),
        9 => "*".to_owned(),
        10 => "gw:80".to_owned(),
        11 => chat.replace('/', seed.of("\\|//|%2f|/./")),
        _ => chat.to_owned(),
    }
}

fn host(seed: &mut Seed) -> Vec<u8> {
    seed.mostly(
        "host: gw",
        3,
        "|Host:gw|host: |host: a b|host: gw\r\nhost: gw|host: gw, evil|host: u@gw|host : gw|host: gw:80|host: gw:x|HOST:\tgw\t"
    )
    .into()
}

fn authorization(seed: &mut Seed, key: &str) -> Vec<u8> {
    let field = seed.mostly(
        "authorization: Bearer {}",
        4,
        "|x-api-key: {}|authorization: bearer  {} |Authorization:Bearer {}|authorization: Bearer {}, Bearer {}|authorization: Bearer {}\r\nx-api-key: {}|authorization: Basic {}|authorization: Bearer wrong|authorization:\r\n Bearer {}"
    );
    field.replace("{}", key).into()
}

/// Fields that frame, and a body that fits them, mostly.
fn framing(seed: &mut Seed) -> (Vec<Vec<u8>>, Vec<u8>) {
    let body = body(seed);
    let length = format!("content-length: {}", body.len());
    let line = |text: &str| text.as_bytes().to_vec();
    match seed.below(28) {
        0..=12 => (vec![line(&length)], body),
        13..=21 => (vec![line("transfer-encoding: chunked")], chunks(seed, &body)),
        22 => (vec![line(&length), line("transfer-encoding: chunked")], chunks(seed, &body)),
        23 => (vec![line("transfer-encoding: chunked"), line("content-length: 3")], chunks(seed, &body)),
        24 => {
            let value = seed.of("chunked, chunked|gzip, chunked|chunked, gzip|identity|xchunked|CHUNKED|\tchunked|chunked\r\ntransfer-encoding: chunked|\"chunked\"|chunked;q=1|,chunked|chunked,|chun\u{b}ked|");
            (vec![line(&format!("transfer-encoding: {value}"))], chunks(seed, &body))
        }
        25 => {
            let near = [body.len() - 1, body.len() + 1, 0, body.len() + EVIL.len(), usize::MAX];
            (vec![line(&format!("content-length: {}", seed.pick(&near)))], body)
        }
        26 => {
            let length = body.len();
            let forms = [
                format!("+{length}"),
                format!("0{length}"),
                format!("{length}, {length}"),
                format!("{length} {length}"),
                format!("0x{length:x}"),
                format!("{length}.0"),
                "-1".into(),
                format!("{length}\r\ncontent-length: {length}"),
                format!("{length}\r\ncontent-length: 0"),
                "18446744073709551661".into(),
            ];
            let form = &forms[seed.below(forms.len())];
            (
                vec![line(&format!(
                    "{}: {form}",
                    seed.of("content-length|Content-Length|content-length |content_length")
                ))],
                body,
            )
        }
        _ => (vec![], body),
    }
}

fn body(seed: &mut Seed) -> Vec<u8> {
    let bodies = [
        BODY.to_owned(),
        BODY.replace("hi", &"h".repeat(seed.below(9000))),
        BODY.replace("hi", "GET /evil HTTP/1.1\\r\\n\\r\\n"),
        format!(" {BODY}\r\n"),
    ];
    let odd = [
        EVIL.to_owned(),
        "{}".to_owned(),
        "no JSON".to_owned(),
        format!("{BODY}{EVIL}"),
        "\r\n\r\n".to_owned(),
    ];
    if seed.percent(88) { bodies[seed.below(4)].clone().into() } else { odd[seed.below(5)].clone().into() }
}

fn chunks(seed: &mut Seed, body: &[u8]) -> Vec<u8> {
    let mut chunks = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(1 + seed.below(rest.len()));
        let size = piece.len();
        let size = if seed.percent(97) {
            format!("{size:x}")
        } else {
            let forms = [
                format!("{size:X}"),
                format!("000{size:x}"),
                format!("+{size:x}"),
                format!("0x{size:x}"),
                format!(" {size:x}"),
                format!("{size:x} "),
                format!("{size:x};a=b"),
                format!("{size:x};\n"),
                format!("{:x}", size + 1),
                format!("{:x}", size - 1),
                format!("f{size:016x}"),
                String::new(),
            ];
            forms[seed.below(forms.len())].clone()
        };
        chunks.extend_from_slice(size.as_bytes());
        chunks.extend(end(seed));
        chunks.extend_from_slice(piece);
        chunks.extend(end(seed));
        rest = after;
    }
    chunks.extend(seed.mostly("0", 3, "00|0;a|-0|0 |1|").as_bytes());
    chunks.extend(end(seed));
    if seed.percent(15) {
        chunks.extend(field(seed));
        chunks.extend(end(seed));
    }
    chunks.extend(end(seed));
    chunks
}

/// Fields that a chat has.
const LIKELY: &str = "accept: text/event-stream|content-type: application/json|x-request-id: good-1|user-agent: test|\
    cookie: a=b|connection: keep-alive|accept-encoding: br|x-a: b";

/// Names of fields, some of which mean something to somebody on the way.
const NAMES: &str = "connection|keep-alive|proxy-connection|te|trailer|upgrade|http2-settings|expect|content-type|\
    content-encoding|accept|accept-encoding|cookie|via|forwarded|x-forwarded-for|x-real-ip|\
    x-request-id|traceparent|tracestate|user-agent|max-forwards|idempotency-key|date|range|\
    if-match|x-a|X-B|x_c|mvra_live_plainlyfake|x-http-method-override|x-original-url|\
    content-length |transfer-encoding\u{b}";

/// What may stand behind them.
const VALUES: &str = "close|keep-alive|close, authorization, host|content-length|upgrade, http2-settings|\
    transfer-encoding, via|h2c|websocket|100-continue|trailers|gzip|identity|br|application/json|\
    application/json; charset=utf-8|text/plain|text/event-stream|a=b; c=d|1.1 mavera-gateway|\
    1.0 other|for=10.0.0.1|good-1|00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01|0||/evil|\
    chunked|GET /evil HTTP/1.1";

fn field(seed: &mut Seed) -> Vec<u8> {
    // Those that a chat would have, mostly, so that many heads are served.
    if seed.percent(80) {
        return seed.of(LIKELY).into();
    }
    let colon = if seed.percent(95) { ": " } else { seed.of(":| : |:\t||: \r\n |::") };
    let mut field = format!("{}{colon}{}", seed.of(NAMES), seed.of(VALUES)).into_bytes();
    if seed.percent(8) {
        let odd = seed.pick(&[b"\xff".as_slice(), b"\0", b"\r", b"\n", b"\x7f", b"\t", b"\xc3\xa4", b"\x0b"]);
        field.extend_from_slice(odd);
        field.push(b'z');
    }
    field
}

/// One thing wrong, anywhere.
fn mutate(seed: &mut Seed, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let (at, to) = (seed.below(bytes.len()), seed.below(bytes.len()));
    let (from, to) = (at.min(to), at.max(to).min(at.min(to) + 40));
    match seed.below(6) {
        0 => bytes[at] = seed.below(256) as u8,
        1 => bytes.insert(at, seed.pick(b"\r\n\t :;,\0\x0b\x7f\xff/#%")),
        2 => drop(bytes.remove(at)),
        3 => drop(bytes.drain(from..to)),
        4 => {
            let piece = bytes[from..to].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => bytes.truncate(at),
    }
}
