//! Harbor's API, version 2.0.

use accel_domain::Secret;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use super::HarborError;
use super::address::Project;
use super::call::Call;
use crate::api::Address;
use crate::https::{self, ANSWER_TIME, Answer, NoAnswer};
use crate::out::plain;

/// The largest page that Harbor gives.
const PAGE_ROWS: usize = 100;
const MAX_PAGES: usize = 1000;
/// The first version whose policies have a payload format, and whose job service gives up after 3 tries.
const LEAST_VERSION: (u32, u32) = (2, 8);

/// One Harbor, and who speaks to it.
pub(super) struct Harbor {
    client: Client,
    address: Address,
    user: String,
    password: Secret,
}

/// What a Harbor tells of itself.
#[derive(Debug, Deserialize)]
pub(super) struct About {
    /// Told to those who are logged in.
    harbor_version: Option<String>,
    notification_enable: Option<bool>,
    read_only: Option<bool>,
}

/// A project, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct ProjectInfo {
    #[serde(rename = "project_id")]
    pub(super) id: i64,
    /// The registry that a proxy cache stands for.
    registry_id: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Errors {
    errors: Vec<ErrorBody>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    message: String,
}

impl About {
    pub(super) fn version(&self) -> &str {
        self.harbor_version.as_deref().unwrap_or_default()
    }

    pub(super) const fn sends_events(&self) -> bool {
        !matches!(self.notification_enable, Some(false))
    }

    pub(super) const fn is_read_only(&self) -> bool {
        matches!(self.read_only, Some(true))
    }
}

impl ProjectInfo {
    pub(super) fn is_proxy_cache(&self) -> bool {
        self.registry_id.is_some_and(|id| id > 0)
    }
}

impl Harbor {
    pub(super) fn new(address: Address, user: String, password: Secret, ca_pem: Option<&[u8]>) -> anyhow::Result<Self> {
        Ok(Self { client: https::client(&address, ca_pem)?, address, user, password })
    }

    /// What it is.
    ///
    /// # Errors
    /// A login that is not accepted, a version that is too old, or something else than a Harbor.
    pub(super) async fn about(&self) -> Result<About, HarborError> {
        let about: About = match self.ask(Call::About, None).await {
            Err(HarborError::Refused { status: 404, .. }) => {
                return Err(self.not_harbor("it has no API of version 2.0"));
            }
            answer => self.parse(answer?)?,
        };
        let Some(version) = &about.harbor_version else { return Err(self.login()) };
        if version_of(version).is_some_and(|version| version < LEAST_VERSION) {
            return Err(HarborError::TooOld { at: self.address.to_string(), version: plain(version) });
        }
        Ok(about)
    }

    pub(super) async fn project(&self, project: &Project) -> Result<ProjectInfo, HarborError> {
        match self.ask(Call::Project(project), None).await {
            Err(HarborError::Forbidden { at, user, .. }) => {
                Err(HarborError::NoProject { at, user, project: project.to_string() })
            }
            Err(HarborError::Refused { at, status: 404, .. }) => {
                Err(HarborError::NoProject { at, user: self.user.clone(), project: project.to_string() })
            }
            answer => self.parse(answer?),
        }
    }

    /// All rows of a list. `query` narrows it down, in Harbor's words.
    pub(super) async fn list(&self, call: Call<'_>, query: Option<&str>) -> Result<Vec<Value>, HarborError> {
        let mut rows = Vec::new();
        for page in 1..=MAX_PAGES {
            let mut url = self.url(call);
            let (page, size) = (page.to_string(), PAGE_ROWS.to_string());
            url.query_pairs_mut().append_pair("page", &page).append_pair("page_size", &size);
            query.iter().for_each(|query| {
                url.query_pairs_mut().append_pair("q", query);
            });
            let answer = self.send(self.client.request(call.method(), url), call).await?;
            let page: Vec<Value> = self.parse(answer)?;
            let is_last = page.len() < PAGE_ROWS;
            rows.extend(page);
            if is_last {
                return Ok(rows);
            }
        }
        Err(self.not_harbor("a list has no end"))
    }

    /// Asks for one thing. An answer without a body is `null`.
    pub(super) async fn ask(&self, call: Call<'_>, body: Option<&Value>) -> Result<Value, HarborError> {
        let request = self.client.request(call.method(), self.url(call));
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        self.send(request, call).await
    }

    fn parse<T: for<'de> Deserialize<'de>>(&self, answer: Value) -> Result<T, HarborError> {
        // What serde says of a value could repeat it.
        serde_json::from_value(answer).map_err(|_| self.not_harbor("its answer has not the form that Harbor's has"))
    }

    fn url(&self, call: Call<'_>) -> Url {
        self.address.join(&format!("api/v2.0/{}", call.path()))
    }

    async fn send(&self, request: RequestBuilder, call: Call<'_>) -> Result<Value, HarborError> {
        let request = request.basic_auth(&self.user, Some(self.password.expose())).timeout(ANSWER_TIME);
        // A name of digits alone would be taken for an id.
        let request = request.header("x-is-resource-name", "true").header("accept", "application/json");
        let answer = https::send(request).await.map_err(|none| self.no_answer(none))?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, call));
        }
        if answer.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|_| self.not_harbor("its answer is no JSON"))
    }

    fn refused(&self, answer: &Answer, call: Call<'_>) -> HarborError {
        let (at, what) = (self.address.to_string(), call.to_string());
        match answer.status {
            StatusCode::UNAUTHORIZED => self.login(),
            StatusCode::FORBIDDEN => HarborError::Forbidden { at, user: self.user.clone(), what, who: call.who() },
            status => {
                let body: Errors = serde_json::from_slice(&answer.body).unwrap_or_default();
                let message = https::told(body.errors.first().map_or("", |error| &error.message));
                HarborError::Refused { at, what, status: status.as_u16(), message }
            }
        }
    }

    fn login(&self) -> HarborError {
        HarborError::Login { at: self.address.to_string(), user: self.user.clone() }
    }

    fn no_answer(&self, none: NoAnswer) -> HarborError {
        let at = self.address.to_string();
        match none {
            NoAnswer::Unreachable(reason) => HarborError::Unreachable { at, reason },
            NoAnswer::Broken(reason) => HarborError::Broken { at, reason },
            NoAnswer::Strange(reason) => HarborError::NotHarbor { at, reason },
        }
    }

    pub(super) fn not_harbor(&self, reason: &str) -> HarborError {
        HarborError::NotHarbor { at: self.address.to_string(), reason: reason.to_owned() }
    }
}

/// Major and minor number of `v2.14.1-5d1ff0fa`; `None` of a build that says neither.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim_start_matches('v').split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        let rows = [
            ("v2.14.1-5d1ff0fa", Some((2, 14))),
            ("2.8.0", Some((2, 8))),
            ("v2.16.0", Some((2, 16))),
            ("v1.10.19-abc", Some((1, 10))),
            ("dev", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(version_of(text), expected, "{text}");
        }
        assert!(Some((2, 7)) < Some(LEAST_VERSION) && (2, 10) > LEAST_VERSION);
    }
}
