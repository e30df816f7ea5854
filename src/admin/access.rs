//! Who may look at the credits page's data: whoever has the token, or, where none is configured, whoever is on
//! this machine. The token comes in `Authorization`, never in a URL, which browsers and proxies keep.

use std::net::{IpAddr, SocketAddr};

use http::header;
use http::request::Parts;
use http::uri::Authority;

use super::answers::Denied;
use crate::secret::AdminToken;

/// Judges a request for data.
///
/// # Errors
/// Why it is not answered.
pub(super) fn check(head: &Parts, peer: SocketAddr, token: Option<&AdminToken>) -> Result<(), Denied> {
    match (token, presented(head)) {
        (Some(token), Some(presented)) if token.is(presented) => Ok(()),
        (Some(_), Some(_)) => Err(Denied::TokenInvalid),
        (Some(_), None) => Err(Denied::TokenRequired),
        (None, _) if !peer.ip().to_canonical().is_loopback() => Err(Denied::NotLoopback),
        // A page of another site that resolves its own name to this machine names itself here: DNS rebinding.
        (None, _) if !names_loopback(head) => Err(Denied::NotLoopback),
        (None, _) => Ok(()),
    }
}

pub(super) fn presented(head: &Parts) -> Option<&[u8]> {
    let value = head.headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn names_loopback(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::secret::SecretSource;

    const HERE: &str = "127.0.0.1:50000";
    const THERE: &str = "192.0.2.7:50000";

    fn code(peer: &str, fields: &[(&str, &str)], token: Option<&AdminToken>) -> Option<&'static str> {
        let mut request = Request::builder();
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        check(&head, peer.parse().unwrap(), token).err().map(|denied| denied.code())
    }

    #[test]
    fn without_a_token_only_this_machine_under_its_own_name_is_answered() {
        for host in ["127.0.0.1:9464", "localhost:9464", "LOCALHOST", "[::1]:9464", "127.8.8.8"] {
            assert_eq!(code(HERE, &[("host", host)], None), None, "{host}");
            assert_eq!(code("[::ffff:127.0.0.1]:1", &[("host", host)], None), None, "{host}");
            assert_eq!(code(THERE, &[("host", host)], None), Some("loopback_only"), "{host}");
        }
        for fields in [
            &[("host", "rebound.example:9464")] as &[_],
            &[("host", "127.0.0.1.example")],
            &[("host", "localhost"), ("host", "rebound.example")],
            &[],
        ] {
            assert_eq!(code(HERE, fields, None), Some("loopback_only"), "{fields:?}");
        }
    }

    #[test]
    fn with_a_token_nothing_else_counts() {
        let folder = std::env::temp_dir().join(format!("mavera-admin-token-{}", std::process::id()));
        std::fs::write(&folder, "plainly-fake-token-for-tests-only-0\n").unwrap();
        let token = AdminToken::read(&SecretSource::File(folder.clone())).unwrap();
        std::fs::remove_file(folder).unwrap();
        assert_eq!(format!("{token:?}"), "AdminToken(…)");
        for peer in [HERE, THERE] {
            let ask =
                |value: &str| code(peer, &[("host", "localhost"), ("authorization", value)], Some(&token));
            assert_eq!(ask("Bearer plainly-fake-token-for-tests-only-0"), None);
            assert_eq!(ask("bearer  plainly-fake-token-for-tests-only-0 "), None);
            assert_eq!(ask("Bearer plainly-fake-token-for-tests-only-1"), Some("token_invalid"));
            assert_eq!(ask("Bearer "), Some("token_invalid"));
            assert_eq!(ask("Basic cGxhaW5seQ=="), Some("token_required"));
            assert_eq!(code(peer, &[("host", "localhost")], Some(&token)), Some("token_required"));
        }
    }
}
