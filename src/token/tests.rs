use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;

/// An issuer with a key for ES256 and one for EdDSA. RSA keys, and tokens of libraries of others, are in `tests/identity/`.
struct Issuer {
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    fn new() -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let p256 = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            p256: EcdsaKeyPair::from_pkcs8(kind, p256.as_ref(), &random).unwrap(),
            ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap(),
        }
    }

    fn keys(&self) -> Value {
        let point = self.p256.public_key().as_ref();
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "x": encode(&point[1..33]), "y": encode(&point[33..])},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "x": encode(self.ed25519.public_key())},
        ]})
    }

    fn set(&self) -> KeySet {
        KeySet::read(self.keys().to_string().as_bytes()).unwrap()
    }

    /// A token of these words, signed as its header says.
    fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = if header.contains("EdDSA") || header.contains("Ed25519") {
            self.ed25519.sign(signed.as_bytes()).as_ref().to_vec()
        } else {
            self.p256.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec()
        };
        format!("{signed}.{}", encode(signature))
    }

    fn judge(&self, token: &str) -> Result<Verified, Fault> {
        let now = Timestamp::from_second(NOW).unwrap();
        Unverified::read(token.as_bytes())?.verify(&terms(), &self.set(), now)
    }
}

fn terms() -> Terms {
    Terms {
        issuer: "https://issuer.example".into(),
        audience: vec!["mavera-gateway".into()],
        algorithms: Algorithm::ALL.to_vec(),
        max_age: SignedDuration::from_hours(24),
        not_before: Some(Timestamp::from_second(NOW - 50_000).unwrap()),
    }
}

const ES256: &str = r#"{"alg":"ES256","kid":"ec"}"#;

fn claims(other: &Value) -> String {
    let mut claims = json!({
        "iss": "https://issuer.example", "aud": "mavera-gateway", "sub": "a", "iat": NOW - 10, "exp": NOW + 600,
    });
    for (name, value) in other.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims.to_string()
}

#[test]
fn a_token_of_the_issuer_for_us_and_of_now_is_valid() {
    let issuer = Issuer::new();
    for header in [
        ES256,
        r#"{"alg":"EdDSA","kid":"ed"}"#,
        r#"{"alg":"Ed25519","kid":"ed"}"#,
        r#"{"alg":"ES256","kid":"ec","typ":"JWT"}"#,
        r#"{"alg":"ES256","kid":"ec","typ":"at+jwt"}"#,
        r#"{"alg":"ES256","kid":"ec","typ":"application/AT+JWT"}"#,
        // One key alone can be meant.
        r#"{"alg":"ES256"}"#,
        // What points to a key of the caller's own is not looked at.
        r#"{"alg":"ES256","kid":"ec","jku":"https://evil.example","jwk":{"kty":"oct","k":"AA"},"x5u":"https://evil.example","x5c":["AA"]}"#,
    ] {
        let verified = issuer.judge(&issuer.sign(header, &claims(&json!({})))).unwrap();
        assert_eq!(verified.claims["sub"], "a", "{header}");
        assert_eq!(verified.until.as_second(), NOW + 630);
    }
    for other in [
        json!({"aud": ["other", "mavera-gateway"]}),
        json!({"exp": NOW - 29}),
        json!({"iat": NOW + 30, "nbf": NOW + 30}),
        json!({"exp": 1e300}),
        json!({"exp": NOW + 1, "iat": 1_799_999_999.5}),
    ] {
        assert!(issuer.judge(&issuer.sign(ES256, &claims(&other))).is_ok(), "{other}");
    }
    // No longer than its age allows, whatever it says of its end.
    let long = issuer.judge(&issuer.sign(ES256, &claims(&json!({"exp": 1e300})))).unwrap();
    assert_eq!(long.until.as_second(), NOW - 10 + 86_400 + 30);
}

#[test]
fn what_a_token_says_must_be_so() {
    let issuer = Issuer::new();
    for (other, fault) in [
        (json!({"iss": "https://issuer.example/"}), Fault::Issuer),
        (json!({"iss": null}), Fault::Issuer),
        (json!({"aud": null}), Fault::Audience),
        (json!({"aud": "Mavera-gateway"}), Fault::Audience),
        (json!({"aud": []}), Fault::Audience),
        (json!({"aud": {"mavera-gateway": true}}), Fault::Audience),
        (json!({"exp": null}), Fault::NoExpiry),
        (json!({"exp": "soon"}), Fault::NoExpiry),
        (json!({"exp": NOW - 30}), Fault::Expired),
        (json!({"exp": -1e300}), Fault::Expired),
        (json!({"nbf": NOW + 31}), Fault::NotYet),
        (json!({"iat": NOW + 31}), Fault::NotYet),
        (json!({"iat": 1e300}), Fault::NotYet),
        (json!({"iat": null}), Fault::TooOld),
        (json!({"iat": NOW - 50_001}), Fault::TooOld),
        (json!({"iat": -1e300}), Fault::TooOld),
        (json!({"cnf": {"jkt": "AA"}}), Fault::Binding),
        (json!({"cnf": {}}), Fault::Binding),
        (json!({"cnf": "x"}), Fault::Binding),
        (json!({"cnf": {"x5t#S256": encode([1; 31])}}), Fault::Binding),
        (json!({"cnf": {"x5t#S256": encode([1; 32]), "jkt": "AA"}}), Fault::Binding),
    ] {
        let judged = issuer.judge(&issuer.sign(ES256, &claims(&other)));
        assert_eq!(judged.unwrap_err(), fault, "{other}");
    }
    let bound = json!({"cnf": {"x5t#S256": encode([1; 32])}});
    let bound = issuer.judge(&issuer.sign(ES256, &claims(&bound))).unwrap();
    assert!(bound.is_shown_by(Some(&[1; 32])));
    assert!(!bound.is_shown_by(Some(&[2; 32])) && !bound.is_shown_by(None));
}

#[test]
fn what_was_tried_against_such_readers_is_refused() {
    let issuer = Issuer::new();
    let fine = claims(&json!({}));
    for (header, fault) in [
        (r#"{"alg":"none"}"#, Fault::Algorithm),
        (r#"{"alg":"None","kid":"ec"}"#, Fault::Algorithm),
        (r#"{"alg":"HS256","kid":"ec"}"#, Fault::Algorithm),
        (r#"{"alg":"es256","kid":"ec"}"#, Fault::Algorithm),
        (r#"{"kid":"ec"}"#, Fault::Algorithm),
        // Another key's algorithm.
        (r#"{"alg":"ES256","kid":"ed"}"#, Fault::Algorithm),
        (r#"{"alg":"RS256","kid":"ec"}"#, Fault::Algorithm),
        (r#"{"alg":"ES256","kid":"other"}"#, Fault::UnknownKey),
        (r#"{"alg":"ES256","kid":7}"#, Fault::Header),
        (r#"{"alg":"ES256","kid":"ec","crit":["exp"]}"#, Fault::Header),
        (r#"{"alg":"ES256","kid":"ec","crit":[]}"#, Fault::Header),
        (r#"{"alg":"ES256","kid":"ec","b64":false}"#, Fault::Header),
        (r#"{"alg":"ES256","kid":"ec","typ":"dpop+jwt"}"#, Fault::Header),
        (r#"{"alg":"ES256","kid":"ec","typ":"logout+jwt"}"#, Fault::Header),
        (r#"{"alg":"ES256","alg":"none","kid":"ec"}"#, Fault::Malformed),
        (r#"["ES256"]"#, Fault::Malformed),
    ] {
        assert_eq!(issuer.judge(&issuer.sign(header, &fine)).unwrap_err(), fault, "{header}");
    }
    let twice = r#"{"iss":"https://issuer.example","aud":"evil","aud":"mavera-gateway","iat":1799999990,"exp":1800000600}"#;
    let deep = r#"{"iss":"https://issuer.example","aud":"mavera-gateway","iat":1799999990,"exp":1800000600,"a":[{"b":1,"b":2}]}"#;
    for claims in [twice, deep, "{}x", "7", ""] {
        assert_eq!(issuer.judge(&issuer.sign(ES256, claims)).unwrap_err(), Fault::Malformed, "{claims}");
    }
    // Of somebody else, under the same names.
    let other = Issuer::new().sign(ES256, &fine);
    assert_eq!(issuer.judge(&other).unwrap_err(), Fault::Signature);
    // One part of one, one of another.
    let (mine, more) = (issuer.sign(ES256, &fine), issuer.sign(ES256, &claims(&json!({"sub": "b"}))));
    let [mine, more] = [&mine, &more].map(|token| token.split('.').collect::<Vec<_>>());
    let mixed = [mine[0], more[1], mine[2]].join(".");
    assert_eq!(issuer.judge(&mixed).unwrap_err(), Fault::Signature);
    for token in [format!("{}.{}.", mine[0], mine[1]), format!("{}.{}.{}", mine[0], mine[1], encode([0; 64]))]
    {
        assert_eq!(issuer.judge(&token).unwrap_err(), Fault::Signature, "{token}");
    }
    for token in [
        format!("{}.{}.{}=", mine[0], mine[1], mine[2]),
        format!("{}.{}.{}.", mine[0], mine[1], mine[2]),
        format!("{}.{}", mine[0], mine[1]),
        format!("{}. {}.{}", mine[0], mine[1], mine[2]),
        issuer.sign(ES256, &claims(&json!({"pad": "x".repeat(MOST)}))),
        "..".to_owned(),
    ] {
        assert_eq!(issuer.judge(&token).unwrap_err(), Fault::Malformed, "{token}");
    }
    // Only what is configured.
    let terms = Terms { algorithms: vec![Algorithm::EdDsa], ..terms() };
    let token = issuer.sign(ES256, &fine);
    let now = Timestamp::from_second(NOW).unwrap();
    let judged = Unverified::read(token.as_bytes()).unwrap().verify(&terms, &issuer.set(), now);
    assert_eq!(judged.unwrap_err(), Fault::Algorithm);
}

#[test]
fn of_a_set_only_keys_for_signatures_are_taken() {
    let issuer = Issuer::new();
    let set = |change: &dyn Fn(&mut Value)| {
        let mut keys = issuer.keys();
        keys["keys"].as_array_mut().unwrap().truncate(1);
        change(&mut keys["keys"][0]);
        KeySet::read(keys.to_string().as_bytes())
    };
    assert_eq!(set(&|_| {}).unwrap().count(), 1);
    assert_eq!(set(&|key| key["key_ops"] = json!(["verify"])).unwrap().count(), 1);
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!("verify")),
        ("kty", json!("oct")),
        ("crv", json!("P-521")),
        ("alg", json!("HS256")),
        ("alg", json!("ES384")),
        ("alg", json!(7)),
        ("x", json!("AA")),
        ("y", json!("=")),
    ] {
        let refused = set(&|key| key[name] = value.clone()).unwrap_err();
        assert!(refused.contains("no key"), "{name}: {refused}");
    }
    for (text, why) in [
        ("[]", "object"),
        (r#"{"keys":{}}"#, "list"),
        (r#"{"keys":[],"keys":[]}"#, "twice"),
        (r#"{"keys":[]}"#, "no key"),
        // 1024 bits.
        (&format!(r#"{{"keys":[{{"kty":"RSA","n":"{}","e":"AQAB"}}]}}"#, encode([255; 128])), "no key"),
    ] {
        assert!(KeySet::read(text.as_bytes()).unwrap_err().contains(why), "{text}");
    }
    let many = json!({"keys": vec![issuer.keys()["keys"][0].clone(); 101]});
    assert!(KeySet::read(many.to_string().as_bytes()).unwrap_err().contains("100"));
    // Two of one name, both fit: nobody says which.
    let two = json!({"keys": vec![issuer.keys()["keys"][0].clone(); 2]});
    let two = KeySet::read(two.to_string().as_bytes()).unwrap();
    let token = issuer.sign(ES256, &claims(&json!({})));
    let now = Timestamp::from_second(NOW).unwrap();
    let judged = Unverified::read(token.as_bytes()).unwrap().verify(&terms(), &two, now);
    assert_eq!(judged.unwrap_err(), Fault::UnknownKey);
}
