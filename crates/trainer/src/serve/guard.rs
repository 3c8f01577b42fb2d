//! Which requests are answered: those of pages that this server itself has served.

use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::{Method, StatusCode};
use std::net::{IpAddr, SocketAddr};

/// Refuses requests that other sites make a browser send.
pub(super) struct Guard(SocketAddr);

/// Why a request is refused.
pub(super) type Refusal = (StatusCode, &'static str);

impl Guard {
    /// Guards a server at this address.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Checks a request's method and headers.
    ///
    /// A name that an attacker points at this machine (DNS rebinding) is no host that is served. A page
    /// of another site cannot forge `Origin`.
    ///
    /// # Errors
    /// The reason to refuse the request.
    pub(super) fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let host = match (text(HOST.as_str()), headers.get_all(HOST).iter().count()) {
            (Some(host), 1) if self.serves(host) => host,
            _ => return Err((StatusCode::MISDIRECTED_REQUEST, "this host is not served here")),
        };
        let cross_site = (StatusCode::FORBIDDEN, "only this page itself may ask for that");
        let site = text("sec-fetch-site").unwrap_or("same-origin");
        if *method == Method::GET || *method == Method::HEAD {
            // Reading changes nothing, but it takes time: other sites may link here, and no more.
            let is_link = text("sec-fetch-dest") == Some("document");
            return match matches!(site, "same-origin" | "none") || is_link {
                true => Ok(()),
                false => Err(cross_site),
            };
        }
        if site != "same-origin" {
            return Err(cross_site);
        }
        match text(ORIGIN.as_str()).and_then(|origin| origin.strip_prefix("http://")) {
            Some(origin) if origin == host => Ok(()),
            _ => Err(cross_site),
        }
    }

    /// Whether a `Host` header names the address that is served.
    fn serves(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
            _ => (host, "80"),
        };
        if port.parse() != Ok(self.0.port()) {
            return false;
        }
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let served = self.0.ip();
        match name.parse::<IpAddr>() {
            // Every address of the machine: only names can be rebound.
            Ok(_) if served.is_unspecified() => true,
            Ok(ip) => ip == served,
            Err(_) => {
                name.eq_ignore_ascii_case("localhost")
                    && (served.is_loopback() || served.is_unspecified())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn check(address: &str, method: Method, headers: &[(&'static str, &str)]) -> Option<u16> {
        let guard = Guard::new(address.parse().expect("an address"));
        let of = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        let headers: HeaderMap = headers.iter().map(of).collect();
        guard.check(&method, &headers).err().map(|(status, _)| status.as_u16())
    }

    #[test]
    fn only_the_address_served_is_a_host() {
        for (address, host, is_served) in [
            ("127.0.0.1:7860", "127.0.0.1:7860", true),
            ("127.0.0.1:7860", "localhost:7860", true),
            ("127.0.0.1:7860", "LOCALHOST:7860", true),
            ("127.0.0.1:7860", "127.0.0.1", false),
            ("127.0.0.1:7860", "127.0.0.1:80", false),
            ("127.0.0.1:7860", "127.0.0.2:7860", false),
            ("127.0.0.1:7860", "evil.example:7860", false),
            ("127.0.0.1:7860", "127.0.0.1.evil.example:7860", false),
            ("127.0.0.1:7860", "localhost.evil.example:7860", false),
            ("127.0.0.1:7860", "", false),
            ("127.0.0.1:80", "localhost", true),
            ("[::1]:7860", "[::1]:7860", true),
            ("[::1]:7860", "localhost:7860", true),
            ("0.0.0.0:7860", "192.168.0.7:7860", true),
            ("0.0.0.0:7860", "evil.example:7860", false),
            ("192.168.0.7:7860", "192.168.0.7:7860", true),
            ("192.168.0.7:7860", "localhost:7860", false),
        ] {
            let refused = check(address, Method::GET, &[("host", host)]);
            assert_eq!(refused, (!is_served).then_some(421), "{host} at {address}");
        }
        assert_eq!(check("127.0.0.1:1", Method::GET, &[]), Some(421));
    }

    /// Reading costs time too: another site may link to the page, but not load anything of it.
    #[test]
    fn other_sites_may_only_link() {
        let get = |more: &[(&'static str, &str)]| {
            let host = ("host", "127.0.0.1:7860");
            check("127.0.0.1:7860", Method::GET, &[&[host], more].concat())
        };
        assert_eq!(get(&[("sec-fetch-site", "same-origin")]), None);
        assert_eq!(get(&[("sec-fetch-site", "none")]), None);
        let cross = ("sec-fetch-site", "cross-site");
        assert_eq!(get(&[cross, ("sec-fetch-dest", "document")]), None);
        for dest in ["image", "iframe", "empty"] {
            assert_eq!(get(&[cross, ("sec-fetch-dest", dest)]), Some(403), "{dest}");
        }
        assert_eq!(get(&[("sec-fetch-site", "same-site")]), Some(403));
    }

    #[test]
    fn only_the_page_itself_may_post() {
        const HOST: (&str, &str) = ("host", "127.0.0.1:7860");
        let post = |more: &[(&'static str, &str)]| {
            check("127.0.0.1:7860", Method::POST, &[&[HOST], more].concat())
        };
        let own = ("origin", "http://127.0.0.1:7860");
        assert_eq!(post(&[own]), None);
        assert_eq!(post(&[own, ("sec-fetch-site", "same-origin")]), None);
        assert_eq!(post(&[]), Some(403));
        assert_eq!(post(&[own, ("sec-fetch-site", "cross-site")]), Some(403));
        for origin in
            ["null", "http://evil.example", "https://127.0.0.1:7860", "http://127.0.0.1:1"]
        {
            assert_eq!(post(&[("origin", origin)]), Some(403), "{origin}");
        }
    }
}
