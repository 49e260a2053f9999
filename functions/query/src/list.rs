//! The task list: newest first, in pages.

use std::sync::Arc;

use accel_domain::task::Status;
use accel_runtime::{ApiError, Granted, Scope};
use accel_tasks::{ListQuery, PAGE_ROWS, TaskStore};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as Params, State};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, TryStreamExt};
use http::header::LINK;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;

use crate::{MetricsPage, Query, unreadable};

/// Joined tasks of a page whose other task is read at the same time.
const READS_IN_FLIGHT: usize = 16;

/// What may stand after the question mark.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    status: Option<String>,
    source: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /api/v1/conversions?status=&source=&limit=&cursor=`
pub(crate) async fn conversions<S: TaskStore, M: MetricsPage>(
    State(query): State<Arc<Query<S, M>>>,
    asked: Result<Params<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let granted = query.gate.recognised(&headers).await?;
    let Params(asked) = asked.map_err(|error| ApiError::illegal_parameter(error.body_text()))?;
    let now = query.clock.now();
    let wanted = ListQuery { visible: visible(&granted), ..asked.read()? };
    let page = query.store.list(&wanted, now).await.map_err(|error| unreadable(&error))?;
    let show = |task| {
        let query = Arc::clone(&query);
        async move { query.show(&task, now).await }
    };
    let rows = futures::stream::iter(page.tasks)
        .map(show)
        .buffered(READS_IN_FLIGHT)
        .try_collect::<Vec<_>>()
        .await
        .map_err(|error| unreadable(&error))?;
    let mut answer = Json(rows).into_response();
    if let Some(cursor) = page.next {
        answer.headers_mut().insert(LINK, asked.link(&cursor));
    }
    Ok(answer)
}

/// Where the sources of the tasks lie that the request may see; `None` is everywhere.
fn visible(granted: &Granted) -> Option<Vec<String>> {
    let of_scope = |scope: &Scope| match scope.projects.as_slice() {
        [] => vec![scope.host.clone()],
        projects => projects.iter().map(|project| format!("{}/{project}", scope.host)).collect(),
    };
    let restricted = !granted.open && !granted.admin;
    restricted.then(|| granted.scopes.iter().flat_map(of_scope).collect())
}

impl Asked {
    fn read(&self) -> Result<ListQuery, ApiError> {
        Ok(ListQuery {
            status: self.status()?,
            source: self.source.clone().filter(|text| !text.is_empty()),
            visible: None,
            limit: self.limit()?,
            cursor: self.cursor.clone().filter(|text| !text.is_empty()),
        })
    }

    fn status(&self) -> Result<Option<Status>, ApiError> {
        let all = [("PROCESSING", Status::Processing), ("COMPLETED", Status::Completed), ("FAILED", Status::Failed)];
        let Some(text) = self.status.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let found = all.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let unknown = || ApiError::illegal_parameter("`status` has to be PROCESSING, COMPLETED or FAILED");
        found.map(|(_, status)| Some(status)).ok_or_else(unknown)
    }

    fn limit(&self) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.limit.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number > 0);
        let wrong = || ApiError::illegal_parameter(format!("`limit` has to be a number from 1 to {PAGE_ROWS}"));
        number.map(Some).ok_or_else(wrong)
    }

    /// The `Link` header that leads to the next page of the same list. It is relative, since a front door may have put
    /// a prefix before our paths. Spec: RFC 8288.
    fn link(&self, cursor: &str) -> HeaderValue {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("status", &self.status), ("source", &self.source), ("limit", &self.limit)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let link = format!("<?{}>; rel=\"next\"", query.append_pair("cursor", cursor).finish());
        HeaderValue::from_str(&link).expect("a serialised query is ASCII without control characters")
    }
}
