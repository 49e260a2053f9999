//! What a path under `/v2/` names. Repository names contain slashes, so paths are cut at their fixed words.

/// The resource that a request is about. Spec: OCI distribution, "Endpoints".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags {
        /// The repository.
        repository: String,
    },
    /// `/v2/<name>/blobs/<digest>`
    Blob {
        /// The repository.
        repository: String,
        /// The digest as it was written.
        digest: String,
    },
    /// `/v2/<name>/blobs/uploads/`
    Uploads {
        /// The repository.
        repository: String,
    },
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload {
        /// The repository.
        repository: String,
        /// The session as it was written.
        id: String,
    },
    /// `/v2/<name>/manifests/<tag or digest>`
    Manifest {
        /// The repository.
        repository: String,
        /// The tag or digest as it was written.
        key: String,
    },
    /// `/v2/<name>/referrers/<digest>`
    Referrers {
        /// The repository.
        repository: String,
        /// The digest as it was written.
        digest: String,
    },
}

impl Target {
    /// Reads a whole path, `/v2/` included. `None` where the path is no part of the distribution API.
    /// Some clients write the colon of a digest as `%3A`; no other character of a path needs an escape.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let path = path.replace("%3A", ":").replace("%3a", ":");
        let rest = path.strip_prefix("/v2")?;
        let rest = match rest.strip_prefix('/') {
            Some(rest) => rest,
            None if rest.is_empty() => return Some(Self::Base),
            None => return None,
        };
        match rest {
            "" => return Some(Self::Base),
            "_catalog" => return Some(Self::Catalog),
            _ => {}
        }
        let (front, last) = rest.rsplit_once('/')?;
        if let Some(repository) = front.strip_suffix("/blobs/uploads") {
            let repository = repository.to_owned();
            return Some(match last {
                "" => Self::Uploads { repository },
                id => Self::Upload { repository, id: id.to_owned() },
            });
        }
        let (repository, word) = front.rsplit_once('/')?;
        let (repository, last) = (repository.to_owned(), last.to_owned());
        match word {
            "blobs" if last == "uploads" => Some(Self::Uploads { repository }),
            "blobs" => Some(Self::Blob { repository, digest: last }),
            "manifests" => Some(Self::Manifest { repository, key: last }),
            "referrers" => Some(Self::Referrers { repository, digest: last }),
            "tags" if last == "list" => Some(Self::Tags { repository }),
            _ => None,
        }
    }

    /// The repository, where the path names one.
    #[must_use]
    pub fn repository(&self) -> Option<&str> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags { repository }
            | Self::Blob { repository, .. }
            | Self::Uploads { repository }
            | Self::Upload { repository, .. }
            | Self::Manifest { repository, .. }
            | Self::Referrers { repository, .. } => Some(repository),
        }
    }
}

/// Whether `name` is a repository name. Spec: OCI distribution, "Pulling manifests", `<name>`.
pub(crate) fn is_repository(name: &str) -> bool {
    name.len() <= 255 && name.split('/').all(is_component)
}

/// Runs of `[a-z0-9]` joined by `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bounded = component.starts_with(alphanumeric) && component.ends_with(alphanumeric);
    let separators = component.split(alphanumeric).filter(|run| !run.is_empty());
    bounded && separators.into_iter().all(|run| matches!(run, "." | "_" | "__") || run.chars().all(|c| c == '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_paths_at_their_fixed_words() {
        let repository = || "a/b".to_owned();
        let rows = [
            ("/v2", Target::Base),
            ("/v2/", Target::Base),
            ("/v2/_catalog", Target::Catalog),
            ("/v2/a/b/tags/list", Target::Tags { repository: repository() }),
            ("/v2/a/b/blobs/sha256:00", Target::Blob { repository: repository(), digest: "sha256:00".into() }),
            ("/v2/a/b/blobs/sha256%3A00", Target::Blob { repository: repository(), digest: "sha256:00".into() }),
            ("/v2/a/b/blobs/uploads/", Target::Uploads { repository: repository() }),
            ("/v2/a/b/blobs/uploads", Target::Uploads { repository: repository() }),
            ("/v2/a/b/blobs/uploads/7", Target::Upload { repository: repository(), id: "7".into() }),
            ("/v2/a/b/manifests/latest", Target::Manifest { repository: repository(), key: "latest".into() }),
            ("/v2/blobs/manifests/tags/list", Target::Tags { repository: "blobs/manifests".into() }),
            ("/v2/a/b/referrers/sha256:0", Target::Referrers { repository: repository(), digest: "sha256:0".into() }),
        ];
        for (path, expected) in rows {
            assert_eq!(Target::parse(path), Some(expected), "{path}");
        }
        for path in ["/", "/v1/", "/v2x", "/v2/a", "/v2/a/other/b", "/v2/a/tags/other", "/v2/manifests/x"] {
            assert_eq!(Target::parse(path), None, "{path}");
        }
    }

    #[test]
    fn knows_repository_names() {
        for name in ["a", "library/nginx", "a.b/c_d/e__f/g---h", "0/1"] {
            assert!(is_repository(name), "{name}");
        }
        let long = "a".repeat(256);
        for name in ["", "A", "a//b", "/a", "a/", "a..b", "a___b", "-a", "a-", "a b", "../a", "é", &long] {
            assert!(!is_repository(name), "{name}");
        }
    }
}
