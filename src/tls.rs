//! What a refused TLS connection means to whoever has to mend it.

/// The way out, for the words of an error: libraries wrap the cause of a failed handshake too differently to match on types.
/// `ca` names the setting that holds the CAs.
#[must_use]
pub fn way_out(error: &str, ca: &str) -> Option<String> {
    // The names are rustls' own (`CertificateError`).
    let has = |words: &[&str]| words.iter().any(|word| error.contains(word));
    if has(&["UnknownIssuer", "BadSignature"]) {
        Some(format!(
            "the server's certificate is signed by a CA that is not known here: name that CA's certificate in {ca}"
        ))
    } else if has(&["NotValidForName", "not valid for name"]) {
        Some("the server's certificate is not for this host: connect by a name that it carries, or let it be issued for this one".into())
    } else if has(&["Expired", "certificate expired", "NotValidYet"]) {
        Some("the server's certificate is out of its time: renew it, and see that the clocks agree".into())
    } else if has(&["server does not support TLS"]) {
        Some("Postgres has ssl switched off: switch it on, or take sslmode out of the database URL".into())
    } else if has(&["InvalidContentType"]) {
        Some("the server does not speak TLS on this port: name its TLS port, or switch TLS off here".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::way_out;

    #[test]
    fn an_error_that_is_not_of_tls_has_no_way_out_here() {
        assert_eq!(way_out("connection refused", "x"), None);
        assert!(
            way_out("invalid peer certificate: UnknownIssuer", "data.redis.ca_file")
                .unwrap()
                .contains("data.redis.ca_file")
        );
    }
}
