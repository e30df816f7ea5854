//! Whom a trusted proxy calls for, by the fields of its requests: `X-Forwarded-For`, or `Forwarded` (RFC 7239). Each hop adds
//! the address it saw on the right, so that only what stands right of the first untrusted address is known to be true.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{self, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether an address is one of these networks'.
pub(super) fn trusts(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Who calls, if `peer`, which is trusted, brought this request. A proxy sets one of the two fields and may pass the other on
/// as the caller wrote it, so where they disagree neither is believed.
pub(super) fn caller(headers: &HeaderMap, peer: IpAddr, networks: &[IpNet]) -> IpAddr {
    let along = |addresses: Vec<Option<IpAddr>>| {
        let mut caller = peer;
        for address in addresses.into_iter().rev() {
            // What is no address hides all that is left of it.
            let Some(address) = address else { break };
            caller = address;
            if !trusts(networks, address) {
                break;
            }
        }
        caller
    };
    let values = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    let plain = headers
        .contains_key(X_FORWARDED_FOR)
        .then(|| along(values(X_FORWARDED_FOR).flat_map(|value| value.split(',')).map(address).collect()));
    let standard = headers
        .contains_key(header::FORWARDED)
        .then(|| along(values(header::FORWARDED).flat_map(elements).map(forwarded_for).collect()));
    match (plain, standard) {
        (Some(one), Some(other)) if one != other => peer,
        (one, other) => one.or(other).unwrap_or(peer),
    }
}

/// An address, with or without a port, brackets or quotes.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// The elements of one field, which commas separate outside of quotes.
fn elements(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value.split(move |char| {
        quoted ^= char == '"';
        char == ',' && !quoted
    })
}

fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| address(value))?
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_first_address_from_the_right_that_is_not_trusted_is_the_callers() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "2001:db8:1::/48"].map(|text| text.parse().unwrap()).into();
        for (name, values, expected) in [
            ("x-forwarded-for", &["192.0.2.1"][..], "192.0.2.1"),
            ("x-forwarded-for", &["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
            ("x-forwarded-for", &["203.0.113.9", "192.0.2.1, 10.1.1.1"], "192.0.2.1"),
            ("x-forwarded-for", &["192.0.2.1:4711,10.9.9.9 , 10.1.1.1:80"], "192.0.2.1"),
            ("x-forwarded-for", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("x-forwarded-for", &["2001:db8::1, 2001:db8:1::7"], "2001:db8::1"),
            ("x-forwarded-for", &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("x-forwarded-for", &["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
            ("x-forwarded-for", &["192.0.2.1, unknown"], "10.0.0.9"),
            ("x-forwarded-for", &["192.0.2.1, , 10.0.0.2"], "10.0.0.2"),
            ("x-forwarded-for", &[""], "10.0.0.9"),
            ("forwarded", &["for=192.0.2.1"], "192.0.2.1"),
            ("forwarded", &["For=\"[2001:db8::1]:80\";proto=https, for=10.0.0.2;by=x"], "2001:db8::1"),
            ("forwarded", &["for=203.0.113.9", "proto=http;for=192.0.2.1"], "192.0.2.1"),
            ("forwarded", &["for=203.0.113.9, for=_hidden"], "10.0.0.9"),
            ("forwarded", &["for=192.0.2.1;host=\"a,for=203.0.113.9\""], "192.0.2.1"),
            ("forwarded", &["proto=https"], "10.0.0.9"),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name, HeaderValue::from_static(value));
            }
            let peer = "10.0.0.9".parse().unwrap();
            assert_eq!(caller(&headers, peer, &trusted), expected.parse::<IpAddr>().unwrap(), "{values:?}");
        }
    }

    #[test]
    fn two_fields_that_disagree_are_not_believed() {
        let peer = "10.0.0.9".parse().unwrap();
        for (standard, expected) in [("for=192.0.2.1", "192.0.2.1"), ("for=203.0.113.9", "10.0.0.9")] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.1"));
            headers.insert("forwarded", HeaderValue::from_static(standard));
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            assert_eq!(caller(&headers, peer, &trusted), expected.parse::<IpAddr>().unwrap());
        }
        assert_eq!(caller(&HeaderMap::new(), peer, &[]), peer);
    }
}
