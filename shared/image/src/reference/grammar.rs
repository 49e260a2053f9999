//! The grammar of references. Spec: distribution, "reference", and docker's rules for what a short name leaves out.
//!
//! Read by hand, since a table for all of it costs 5 MiB and 40 ms at every start. A first component that has to be a
//! host follows the grammar of hosts, in upper case too: docker's own parser, read strictly.

use crate::Digest;

/// The host of references that name none.
const DEFAULT_HOST: &str = "docker.io";
/// Another name of that.
const DEFAULT_HOST_ALIAS: &str = "index.docker.io";
/// Where repositories of one component live there.
const DEFAULT_PROJECT: &str = "library/";
/// The longest repository, in bytes.
const REPOSITORY_BYTES: usize = 255;

/// What a reference is made of.
pub(super) struct Parts {
    pub(super) host: String,
    pub(super) repository: String,
    pub(super) tag: Option<String>,
    pub(super) digest: Option<Digest>,
}

/// Takes `text` apart, or says what it should have been.
pub(super) fn parse(text: &str) -> Result<Parts, String> {
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest.parse::<Digest>().map_err(|error| error.to_string())?)),
        None => (text, None),
    };
    let last_component = named.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match named[last_component..].find(':') {
        Some(colon) => (&named[..last_component + colon], Some(&named[last_component + colon + 1..])),
        None => (named, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err("its tag does not follow the grammar".to_owned());
    }
    let (host, repository) = split_host(name)?;
    let tag = tag.or(if digest.is_none() { Some("latest") } else { None });
    Ok(Parts { host, repository, tag: tag.map(str::to_owned), digest })
}

/// Whether `text` is a tag. Spec: OCI distribution, "Pulling manifests".
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(word) && text.chars().all(|c| word(c) || c == '.' || c == '-')
}

/// The host and the repository of a name; a host is told from a first component by a dot, a port, or `localhost`.
fn split_host(name: &str) -> Result<(String, String), String> {
    let (host, repository) = match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        Some(_) | None => (DEFAULT_HOST, name),
    };
    if !is_host(host) {
        return Err(format!("`{host}` is not a host"));
    }
    check_repository(repository)?;
    let host = if host == DEFAULT_HOST_ALIAS { DEFAULT_HOST } else { host };
    let project = if host == DEFAULT_HOST && !repository.contains('/') { DEFAULT_PROJECT } else { "" };
    if project.len() + repository.len() > REPOSITORY_BYTES {
        return Err(format!("its repository is longer than {REPOSITORY_BYTES} bytes"));
    }
    Ok((host.to_owned(), format!("{project}{repository}")))
}

/// Labels of letters, digits and inner dashes, and perhaps a port.
fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        !label.is_empty() && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    name.split('.').all(label)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn check_repository(repository: &str) -> Result<(), String> {
    if repository.is_empty() {
        return Err("it names no repository".to_owned());
    }
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("a repository has lower-case letters only".to_owned());
    }
    match repository.split('/').find(|component| !is_component(component)) {
        Some(component) => Err(format!("`{component}` is not a component of a repository's name")),
        None => Ok(()),
    }
}

/// Runs of letters and digits, one separator between two of them: `.`, `_`, `__` or any number of dashes.
fn is_component(text: &str) -> bool {
    let part_of_run = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    text.starts_with(part_of_run) && text.ends_with(part_of_run) && text.split(part_of_run).all(separator)
}

#[cfg(test)]
mod tests {
    use oci_spec::distribution::Reference as Judge;
    use proptest::prelude::*;

    use super::*;

    /// Whether the other parser and this one agree about `text`.
    fn agree(text: &str) -> Result<(), TestCaseError> {
        match (Judge::try_from(text), parse(text)) {
            (Ok(judged), Ok(parsed)) => {
                prop_assert_eq!((judged.registry(), judged.repository()), (&*parsed.host, &*parsed.repository));
                prop_assert_eq!(judged.tag(), parsed.tag.as_deref());
                prop_assert_eq!(judged.digest().map(str::to_owned), parsed.digest.map(|digest| digest.to_string()));
            }
            (Ok(judged), Err(reason)) => prop_assert!(is_stricter(&judged), "{} {}", text, reason),
            (Err(_), Ok(_)) => prop_assert!(false, "{} is no reference", text),
            (Err(_), Err(_)) => {}
        }
        Ok(())
    }

    /// What the other parser takes and this one does not: a host that is none, an upper-case component in the place of
    /// a host, a digest that is not lower-case SHA-256.
    fn is_stricter(judged: &Judge) -> bool {
        !is_host(judged.registry())
            || judged.repository().bytes().any(|byte| byte.is_ascii_uppercase())
            || judged.digest().is_some_and(|digest| digest.parse::<Digest>().is_err())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn near_references_are_read_as_another_parser_reads_them(
            text in "(([a-cA._-]{1,4}(:[0-9]{0,3})?|localhost|index\\.docker\\.io|docker\\.io)/)?[a-c0._/-]{0,8}(:[a-cA-C._-]{0,3})?"
        ) {
            agree(&text)?;
        }

        #[test]
        fn digests_are_read_as_another_parser_reads_them(
            text in "[a-c]{1,2}(\\.d/[a-c]{1,2})?(:[a-c]{1,2})?@(sha256:[0-9a-f]{63,65}|sha512:[0-9a-f]{128}|sha256:[0-9A-F]{64}|@)"
        ) {
            agree(&text)?;
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            agree(&text)?;
        }
    }

    #[test]
    fn a_repository_has_a_longest_length() {
        let longest = format!("h.example/{}", "a".repeat(REPOSITORY_BYTES));
        assert!(parse(&longest).is_ok());
        assert!(parse(&format!("{longest}a")).is_err());
    }
}
