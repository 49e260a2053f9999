//! docker's logins: `config.json`, and the credential helpers that it names. Only the command line runs those.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use accel_domain::Secret;
use accel_registry::{CredentialError, Credentials, Login, LoginFuture};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

const HELPER_TIME: Duration = Duration::from_secs(60);
/// Under what docker stores the login of docker.io.
const HUB: &str = "https://index.docker.io/v1/";

/// Reads docker's configuration whenever a login is asked for.
#[derive(Debug)]
pub(crate) struct DockerLogins {
    file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

/// One of three, in this order: what docker itself would show.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    /// A token for the registry itself.
    registrytoken: String,
    /// A token to be exchanged. `auth` then holds a name only.
    identitytoken: String,
    /// `user:password` in base64.
    auth: String,
}

/// The name that a credential helper gives with an identity token.
const TOKEN_USER: &str = "<token>";

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What a credential helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Answer {
    fn login(self) -> Login {
        match self.username.as_str() {
            TOKEN_USER => Login::Identity(Secret::new(self.secret)),
            _ => Login::password(self.username, self.secret),
        }
    }
}

impl DockerLogins {
    /// The configuration where docker keeps it: `DOCKER_CONFIG`, or `.docker` in the home directory.
    pub(crate) fn from_environment() -> Self {
        let named = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
        let dir = named.or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
        Self { file: dir.map(|dir| dir.join("config.json")) }
    }

    fn read(&self) -> Result<DockerConfig, CredentialError> {
        let Some(file) = &self.file else { return Ok(DockerConfig::default()) };
        let unusable = |reason: String| CredentialError::Unusable(format!("{}: {reason}", file.display()));
        match std::fs::read(file) {
            // What serde says repeats the value, which may be a secret.
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                unusable(format!("line {}, column {} is not as docker writes it", error.line(), error.column()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(DockerConfig::default()),
            Err(error) => Err(unusable(error.to_string())),
        }
    }

    async fn find(&self, host: &str) -> Result<Option<Login>, CredentialError> {
        let config = self.read()?;
        let key = if host == "docker.io" { HUB } else { host };
        let helper = config.cred_helpers.get(key).or(config.creds_store.as_ref());
        if let Some(helper) = helper.filter(|helper| !helper.is_empty()) {
            return ask(helper, key).await;
        }
        let exact = config.auths.get(key);
        let auth = exact.or_else(|| config.auths.iter().find(|(key, _)| host_of(key) == host).map(|(_, auth)| auth));
        auth.map_or(Ok(None), |auth| auth.login(key))
    }
}

impl Auth {
    fn login(&self, key: &str) -> Result<Option<Login>, CredentialError> {
        Ok(if !self.registrytoken.is_empty() {
            Some(Login::Token(Secret::new(&self.registrytoken)))
        } else if !self.identitytoken.is_empty() {
            Some(Login::Identity(Secret::new(&self.identitytoken)))
        } else if !self.auth.is_empty() {
            Some(decode(&self.auth, key)?)
        } else {
            None
        })
    }
}

/// The host of a key as old versions of docker and other tools wrote it: `https://host/v1/`.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split('/').next().unwrap_or_default()
}

impl Credentials for DockerLogins {
    fn login<'a>(&'a self, host: &'a str, _repository: &'a str) -> LoginFuture<'a> {
        Box::pin(self.find(host))
    }
}

/// `user:password` in base64; the password may hold colons.
fn decode(auth: &str, key: &str) -> Result<Login, CredentialError> {
    let unusable = || CredentialError::Unusable(format!("the login for {key} in docker's config.json is malformed"));
    let text =
        STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(unusable)?;
    let (username, password) = text.split_once(':').ok_or_else(unusable)?;
    Ok(Login::password(username, password))
}

/// Asks `docker-credential-HELPER` for the login of `key`.
async fn ask(helper: &str, key: &str) -> Result<Option<Login>, CredentialError> {
    if !helper.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(CredentialError::Unusable(
            "docker's config.json names a credential helper with odd characters".to_owned(),
        ));
    }
    let program = format!("docker-credential-{helper}");
    let failed = |reason: &dyn std::fmt::Display| CredentialError::Unusable(format!("{program}: {reason}"));
    let child = tokio::process::Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| failed(&error))?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input has its answer ready all the same.
        drop(input.write_all(key.as_bytes()).await);
    }
    let output = tokio::time::timeout(HELPER_TIME, child.wait_with_output());
    let output = output.await.map_err(|_| failed(&"no answer"))?.map_err(|error| failed(&error))?;
    if !output.status.success() {
        let none = String::from_utf8_lossy(&output.stdout).contains("not found");
        return if none { Ok(None) } else { Err(failed(&output.status)) };
    }
    let answer: Answer = serde_json::from_slice(&output.stdout).map_err(|_| failed(&"its answer cannot be read"))?;
    Ok(Some(answer.login()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(text: &str) -> (tempfile::TempDir, DockerLogins) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(&file, text).unwrap();
        (dir, DockerLogins { file: Some(file) })
    }

    /// What would be shown, secrets in clear.
    fn shown(login: Option<Login>) -> Option<String> {
        login.map(|login| match login {
            Login::Password { username, password } => format!("{username} {}", password.expose()),
            Login::Identity(token) => format!("identity {}", token.expose()),
            Login::Token(token) => format!("token {}", token.expose()),
        })
    }

    #[tokio::test]
    async fn finds_the_login_of_a_host() {
        let auth = STANDARD.encode("robot$a:pass:word");
        let name_only = STANDARD.encode("00000000-0000-0000-0000-000000000000:");
        let text = format!(
            r#"{{"auths":{{"h.example":{{"auth":"{auth}"}},"https://index.docker.io/v1/":{{"auth":"{auth}"}},
                "https://old.example:5000/v2/":{{"auth":"{auth}"}}, "empty.example":{{}},
                "azure.example":{{"auth":"{name_only}","identitytoken":"i1"}}, "only.example":{{"identitytoken":"i2"}},
                "ready.example":{{"auth":"{auth}","identitytoken":"i3","registrytoken":"r1"}}}}}}"#
        );
        let (_dir, logins) = logins(&text);
        let rows = [
            ("h.example", Some("robot$a pass:word")),
            ("docker.io", Some("robot$a pass:word")),
            ("old.example:5000", Some("robot$a pass:word")),
            ("azure.example", Some("identity i1")),
            ("only.example", Some("identity i2")),
            ("ready.example", Some("token r1")),
            ("other.example", None),
            ("empty.example", None),
            ("old.example", None),
            ("index.docker.io.example", None),
        ];
        for (host, expected) in rows {
            assert_eq!(shown(logins.find(host).await.unwrap()).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn a_helper_answers_with_a_password_or_an_identity_token() {
        let rows = [("robot$a", "robot$a pw"), ("<token>", "identity pw"), ("", " pw")];
        for (username, expected) in rows {
            let text = serde_json::json!({"ServerURL": "h.example", "Username": username, "Secret": "pw"}).to_string();
            let answer: Answer = serde_json::from_str(&text).unwrap();
            assert_eq!(shown(Some(answer.login())).as_deref(), Some(expected));
        }
    }

    #[tokio::test]
    async fn an_empty_name_is_no_helper() {
        let auth = STANDARD.encode("a:pw");
        for helper in [r#""credsStore":"""#, r#""credsStore":"none","credHelpers":{"h.example":""}"#] {
            let (_dir, logins) = logins(&format!(r#"{{{helper},"auths":{{"h.example":{{"auth":"{auth}"}}}}}}"#));
            assert_eq!(shown(logins.find("h.example").await.unwrap()).as_deref(), Some("a pw"), "{helper}");
        }
    }

    #[tokio::test]
    async fn says_what_is_wrong_without_the_secret() {
        let auth = STANDARD.encode("no-colon-secret");
        let rows = [
            (format!(r#"{{"auths":{{"h.example":{{"auth":"{auth}"}}}}}}"#), "h.example"),
            (r#"{"auths":{"h.example":"secret"}}"#.to_owned(), "line 1"),
        ];
        for (text, named) in rows {
            let (_dir, logins) = logins(&text);
            let error = logins.find("h.example").await.unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("secret") && !error.contains(&auth), "{error}");
        }
    }
}
