//! An issuer of tokens as a cluster is one: its key set, and a token of a workload.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

/// What the gateway is told of it, behind the table of its team.
pub const TABLES: &str = r#"
members = [{ id = "bench-api", identity = "cluster", claims = { sub = "system:serviceaccount:bench:api" } }]

[[identity]]
name = "cluster"
jwt = { issuer = "https://kubernetes.default.svc.cluster.local", audience = ["mavera-gateway"], jwks_file = '{folder}/keys-{durability}.json' }
"#;

/// An issuer with one key.
pub struct Issuer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    /// Makes one.
    pub fn new() -> Result<Self, String> {
        let random = SystemRandom::new();
        let failed = |what: &dyn std::fmt::Display| format!("no key pair: {what}");
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let made = made.map_err(|error| failed(&error))?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random);
        Ok(Self { pair: pair.map_err(|error| failed(&error))?, random })
    }

    /// Its key set.
    pub fn keys(&self) -> String {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        let key = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench", "x": x, "y": y,
        });
        json!({ "keys": [key] }).to_string()
    }

    /// A token as Kubernetes makes them: some 900 bytes.
    pub fn token(&self) -> Result<String, String> {
        #[expect(clippy::disallowed_methods, reason = "a real token is of real time")]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let now = now.as_secs();
        let claims = json!({
            "aud": ["mavera-gateway"], "exp": now + 3600, "iat": now, "nbf": now,
            "iss": "https://kubernetes.default.svc.cluster.local", "jti": "6f1c2f4e-7d0b-4f6c-9b53-2b7f9a3c1d10",
            "kubernetes.io": {
                "namespace": "bench",
                "node": {"name": "node-1", "uid": "0f6a7c52-54f2-4f0e-8d6e-0f9fb3b7c1f2"},
                "pod": {"name": "api-7c9d8f5b6d-x2x7k", "uid": "2c1d34c9-5a0e-4f68-8a67-1b0f1c2d3e4f"},
                "serviceaccount": {"name": "api", "uid": "b1e7d1a0-31b4-4c9a-9d46-7f0a1b2c3d4e"},
                "warnafter": now + 3000,
            },
            "sub": "system:serviceaccount:bench:api",
        });
        let header = json!({"alg": "ES256", "kid": "bench"});
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.pair.sign(&self.random, signed.as_bytes()).map_err(|error| error.to_string())?;
        Ok(format!("{signed}.{}", encode(signature)))
    }
}
