//! Tokens and key sets. An input is a header and claims, each on a line of its own, and what follows them is a key set; the token
//! of the two lines is signed here, by the one key of the set that it is held against. What is accepted must be so by a second
//! reading of the rules; the input itself, as a token and as a key set, must break nothing, and opens nothing.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use mavera_gateway::token::{Algorithm, KeySet, MOST, Terms, Unverified};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;

const NOW: i64 = 1_800_000_000;

static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed of 32 bytes"));
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let x = URL_SAFE_NO_PAD.encode(KEY.public_key());
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#);
    KeySet::read(set.as_bytes()).expect("a set with one key")
});

fn terms() -> Terms {
    Terms {
        issuer: "i".into(),
        audience: vec!["g".into()],
        algorithms: Algorithm::ALL.to_vec(),
        max_age: SignedDuration::from_hours(1),
        not_before: None,
    }
}

fuzz_target!(|input: &[u8]| {
    let now = Timestamp::from_second(NOW).expect("a moment of the calendar");
    // As it is: nobody has signed it.
    if let Ok(unverified) = Unverified::read(input) {
        assert!(input.len() <= MOST);
        assert!(unverified.verify(&terms(), &KEYS, now).is_err(), "nobody has signed it");
    }
    let mut lines = input.splitn(3, |&byte| byte == b'\n');
    let (Some(header), Some(claims)) = (lines.next(), lines.next()) else { return };
    if let Some(set) = lines.next()
        && let Ok(set) = KeySet::read(set)
    {
        assert!((1..=100).contains(&set.count()));
    }
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(KEY.sign(signed.as_bytes())));
    let Ok(unverified) = Unverified::read(token.as_bytes()) else { return };
    let Ok(verified) = unverified.verify(&terms(), &KEYS, now) else { return };
    let [header, claims] =
        [header, claims].map(|text| serde_json::from_slice::<Value>(text).expect("what is accepted is JSON"));
    assert!(token.len() <= MOST);
    assert!(["EdDSA", "Ed25519"].contains(&header["alg"].as_str().expect("an algorithm")));
    assert!(header.get("kid").is_none_or(|kid| kid == "k"));
    assert!(header.get("crit").is_none() && header.get("b64").is_none());
    assert_eq!(claims["iss"], "i");
    let for_us =
        claims["aud"] == "g" || claims["aud"].as_array().is_some_and(|aud| aud.contains(&"g".into()));
    assert!(for_us);
    let time = |name: &str| claims[name].as_f64();
    let now = 1_800_000_000.0;
    assert!(time("exp").expect("an end").floor() + 30.0 > now);
    let issued = time("iat").expect("a beginning").floor();
    assert!(issued <= now + 30.0 && issued + 3600.0 + 30.0 > now);
    assert!(claims.get("nbf").is_none_or(|nbf| nbf.as_f64().expect("a time").floor() <= now + 30.0));
    assert_eq!(claims.get("cnf").is_some(), verified.bound_to.is_some());
    assert_eq!(Value::Object(verified.claims), claims, "what is read is what is signed");
});
