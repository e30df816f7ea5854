//! Whom a trusted proxy calls for, by the fields of its requests: `X-Forwarded-For`, or `Forwarded` (RFC 7239). Each hop adds
//! the address it saw on the right, so that only what stands right of the first untrusted address is known to be true.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::config::Proxies;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who calls, if `peer`, which is trusted, brought this request. A proxy sets one of the two fields and may pass the other on
/// as the caller wrote it, so where they disagree neither is believed.
pub(super) fn caller(headers: &HeaderMap, peer: IpAddr, trusted: &Proxies) -> IpAddr {
    let along = |addresses: Vec<Option<IpAddr>>| {
        let mut caller = peer;
        for address in addresses.into_iter().rev() {
            // What is no address hides all that is left of it.
            let Some(address) = address else { break };
            caller = address;
            if !trusted.have(address) {
                break;
            }
        }
        caller
    };
    let values = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let plain = headers.contains_key(X_FORWARDED_FOR).then(|| {
        along(values(X_FORWARDED_FOR).flat_map(|value| value.split(|&b| b == b',')).map(address).collect())
    });
    let standard = headers
        .contains_key(header::FORWARDED)
        .then(|| along(values(header::FORWARDED).flat_map(elements).map(forwarded_for).collect()));
    match (plain, standard) {
        (Some(one), Some(other)) if one != other => peer,
        (one, other) => one.or(other).unwrap_or(peer),
    }
}

/// An address, with or without a port, brackets or quotes.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// The elements of one field, which commas separate outside of quotes. Where a quote is open at the end, a caller has
/// written it, and what a proxy has added stands within it: then nothing of the field tells anything.
fn elements(value: &[u8]) -> Vec<&[u8]> {
    if memchr::memchr_iter(b'"', value).count() % 2 == 1 {
        return vec![b""];
    }
    let mut quoted = false;
    let at_comma = move |byte: &u8| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    };
    value.split(at_comma).collect()
}

fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    element.split(|&b| b == b';').find_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        let (name, value) = (pair[..at].trim_ascii(), &pair[at + 1..]);
        name.eq_ignore_ascii_case(b"for").then(|| address(value))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_from_the_right_that_is_not_trusted_is_the_callers() {
        let trusted = Proxies::of(&["10.0.0.0/8", "2001:db8:1::/48"]);
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
            ("x-forwarded-for", &["\u{fc}, 192.0.2.1"], "192.0.2.1"),
            ("x-forwarded-for", &["\u{fc}", "192.0.2.1"], "192.0.2.1"),
            ("forwarded", &["for=203.0.113.9;x=\", for=192.0.2.1"], "10.0.0.9"),
            ("forwarded", &["for=203.0.113.9;x=\"", "for=192.0.2.1"], "192.0.2.1"),
            ("forwarded", &["for=192.0.2.1"], "192.0.2.1"),
            ("forwarded", &["For=\"[2001:db8::1]:80\";proto=https, for=10.0.0.2;by=x"], "2001:db8::1"),
            ("forwarded", &["for=203.0.113.9", "proto=http;for=192.0.2.1"], "192.0.2.1"),
            ("forwarded", &["for=203.0.113.9, for=_hidden"], "10.0.0.9"),
            ("forwarded", &["for=192.0.2.1;host=\"a,for=203.0.113.9\""], "192.0.2.1"),
            ("forwarded", &["proto=https"], "10.0.0.9"),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
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
            let trusted = Proxies::of(&["10.0.0.0/8"]);
            assert_eq!(caller(&headers, peer, &trusted), expected.parse::<IpAddr>().unwrap());
        }
        assert_eq!(caller(&HeaderMap::new(), peer, &Proxies::default()), peer);
    }
}
