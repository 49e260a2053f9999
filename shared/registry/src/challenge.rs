//! What a registry asks for in `WWW-Authenticate`.

/// One challenge that we can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Fetch a token and come again. Spec: distribution, "Token Authentication".
    Bearer(Bearer),
    /// Send name and password themselves.
    Basic,
}

/// Where a token is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The URL, not yet checked.
    pub(crate) realm: String,
    /// For whom the token is.
    pub(crate) service: Option<String>,
}

/// Reads the challenges of one or more headers; those that we cannot answer are left out.
pub(crate) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Vec<Challenge> {
    headers.flat_map(|header| http_auth::parse_challenges(header).unwrap_or_default()).filter_map(known).collect()
}

fn known(challenge: http_auth::ChallengeRef<'_>) -> Option<Challenge> {
    let param = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    if challenge.scheme.eq_ignore_ascii_case("basic") {
        Some(Challenge::Basic)
    } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
        Some(Challenge::Bearer(Bearer { realm: param("realm")?, service: param("service") }))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer(Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
    }

    #[test]
    fn reads_what_registries_send() {
        let rows: [(&[&str], Vec<Challenge>); 7] = [
            (
                &[
                    r#"Bearer realm="https://h.example/service/token",service="harbor-registry",scope="repository:p/r:pull""#,
                ],
                vec![bearer("https://h.example/service/token", Some("harbor-registry"))],
            ),
            (&[r#"bearer REALM="https://h.example/t""#], vec![bearer("https://h.example/t", None)]),
            (&[r#"Basic realm="harbor""#], vec![Challenge::Basic]),
            (&[r#"Negotiate, Basic realm="x""#], vec![Challenge::Basic]),
            (&["Negotiate", r#"Basic realm="x""#], vec![Challenge::Basic]),
            (&[r#"Bearer service="x""#], vec![]),
            (&["", "\"", "Bearer realm=\""], vec![]),
        ];
        for (headers, expected) in rows {
            assert_eq!(parse(headers.iter().copied()), expected, "{headers:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(header in "\\PC{0,80}", realm in "[ -!#-\\[\\]-~]{1,30}") {
            parse([header.as_str()].into_iter());
            let honest = format!("Bearer realm=\"{realm}\"");
            proptest::prop_assert_eq!(parse([honest.as_str()].into_iter()), vec![bearer(&realm, None)]);
        }
    }
}
