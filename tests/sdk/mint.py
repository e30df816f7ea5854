"""Makes keys of every kind with `cryptography`, writes their set to argv[1], and prints tokens that PyJWT has made: valid ones by
algorithm, and all that was ever tried against readers of tokens. A token of a second issuer's key set is among them."""

import base64, hashlib, hmac, json, sys, time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://issuer.example", "mavera-gateway"
NOW = int(time.time())

keys = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "PS256": rsa.generate_private_key(65537, 3072),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
stranger = rsa.generate_private_key(65537, 2048)


def jwk(algorithm, key):
    of = {"R": RSAAlgorithm, "P": RSAAlgorithm}.get(algorithm[0], OKPAlgorithm if algorithm == "EdDSA" else ECAlgorithm)
    return {**json.loads(of.to_jwk(key.public_key())), "kid": algorithm.lower(), "alg": algorithm, "use": "sig"}


with open(sys.argv[1], "w") as file:
    json.dump({"keys": [jwk(*pair) for pair in keys.items()]}, file)
with open(sys.argv[2], "w") as file:
    json.dump({"keys": [{**jwk("RS256", stranger), "kid": "other"}]}, file)

CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "iat": NOW, "exp": NOW + 600}


def mint(algorithm="RS256", key=None, headers=None, without=(), **claims):
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if name not in without}
    head = {"kid": algorithm.lower(), **(headers or {})}
    return jwt.encode(said, key or keys[algorithm], algorithm=algorithm, headers=head)


def encode(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else data.encode()).rstrip(b"=").decode()


def by_hand(header, claims, sign):
    signed = f"{encode(header)}.{encode(claims)}"
    return f"{signed}.{encode(sign(signed.encode()))}"


def rs256(text):
    return jwt.algorithms.RSAAlgorithm(RSAAlgorithm.SHA256).sign(text, keys["RS256"])


pem = keys["RS256"].public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
own = {**json.loads(RSAAlgorithm.to_jwk(stranger.public_key())), "kid": "rs256"}
usual, twice = json.dumps({"alg": "RS256", "kid": "rs256"}), json.dumps(CLAIMS)[:-1]

attacks = {
    "none": jwt.encode(CLAIMS, None, algorithm="none", headers={"kid": "rs256"}),
    "none, with a signature": by_hand(json.dumps({"alg": "none", "kid": "rs256"}), json.dumps(CLAIMS), rs256),
    "HS256 with the public key": by_hand(
        json.dumps({"alg": "HS256", "kid": "rs256", "typ": "JWT"}),
        json.dumps(CLAIMS),
        lambda text: hmac.new(pem, text, hashlib.sha256).digest(),
    ),
    "HS256 with the modulus": by_hand(
        json.dumps({"alg": "HS256", "kid": "rs256"}),
        json.dumps(CLAIMS),
        lambda text: hmac.new(jwk("RS256", keys["RS256"])["n"].encode(), text, hashlib.sha256).digest(),
    ),
    "jwk": mint(key=stranger, headers={"jwk": own}),
    "jku": mint(key=stranger, headers={"jku": "http://127.0.0.1:9/keys"}),
    "x5u": mint(key=stranger, headers={"x5u": "http://127.0.0.1:9/chain"}),
    "x5c": mint(key=stranger, headers={"x5c": ["AA=="]}),
    "crit": mint(headers={"crit": ["exp"]}),
    "crit of b64": by_hand(json.dumps({"alg": "RS256", "kid": "rs256", "b64": False, "crit": ["b64"]}), json.dumps(CLAIMS), rs256),
    "typ": mint(headers={"typ": "dpop+jwt"}),
    "another issuer's kid": mint(key=stranger, headers={"kid": "other"}),
    "another issuer's token": mint(key=stranger, headers={"kid": "other"}, iss="https://other.example", aud=AUDIENCE),
    "another issuer's key for ours": mint(key=stranger, headers={"kid": "rs256"}),
    "no kid, of five keys": mint("ES256", headers={"kid": "nobody"}),
    "another key's algorithm": mint("PS256", key=keys["RS256"], headers={"kid": "rs256"}),
    "another kind of key": mint("ES256", headers={"kid": "rs256"}),
    "an algorithm that nobody has": mint("RS256", key=keys["RS256"], headers={"alg": "RS512", "kid": "rs256"}),
    "a member twice": by_hand(usual, twice + ', "sub": "b"}', rs256),
    "a member twice in the header": by_hand('{"alg":"RS256","alg":"RS256","kid":"rs256"}', json.dumps(CLAIMS), rs256),
    "far iat": mint(iat=NOW + 3600),
    "iat of a year ago": mint(iat=NOW - 365 * 86400),
    "no iat": mint(without=["iat"]),
    "nbf to come": mint(nbf=NOW + 3600),
    "no aud": mint(without=["aud"]),
    "another aud": mint(aud="another-service"),
    "no exp": mint(without=["exp"]),
    "exp over": mint(exp=NOW - 3600),
    "another iss": mint(iss="https://issuer.example.evil.example"),
    "10 KiB": mint(pad="x" * 10240),
    "DPoP": mint(cnf={"jkt": "AA"}),
    "bound to a certificate": mint(cnf={"x5t#S256": encode(bytes(32))}),
    "cut off": mint()[:-9],
    "two tokens": f"{mint()} {mint()}",
}
print(json.dumps({"valid": {algorithm: mint(algorithm) for algorithm in keys}, "attacks": attacks}))
