//! The query function in Lambda, behind the REST API of API Gateway.

use std::convert::Infallible;
use std::sync::Arc;

use accel_domain::config::Config;
use accel_runtime::Gate;
use accel_runtime::aws::function::{HttpFunction, one_set};
use accel_runtime::aws::{Environment, Invocation, variable};
use accel_runtime::http::with_fallbacks;
use accel_runtime::metrics::{TOTALS_CONTENT_TYPE, totals_page};
use accel_tasks::aws::{Counters, Table};
use accel_tasks::{StoreError, TaskStore};
use axum::Router;
use axum::body::Body;
use lambda_http::lambda_runtime::Runtime;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt as _;
use lambda_http::{Adapter, Error, LambdaEvent, Request, RequestExt as _, service_fn};

use crate::{MetricsPage, Query, router};

/// The counters in the table, which all converters share.
impl MetricsPage for Counters {
    const CONTENT_TYPE: &str = TOTALS_CONTENT_TYPE;

    async fn render(&self) -> Result<String, StoreError> {
        Ok(totals_page(&self.totals().await?))
    }
}

/// Answers requests until Lambda has no more of them.
///
/// # Errors
/// The function's environment is not as it should be; the error says what is missing.
pub async fn run() -> Result<(), Error> {
    let environment = Environment::start("query").await?;
    let client = aws_sdk_dynamodb::Client::new(environment.aws().sdk());
    let table = Arc::new(Table::new(client, variable("ACCEL_TABLE")?));
    let make =
        move |environment: &Environment, config: Arc<Config>| routes(environment, &config, &table, table.counters());
    let function = Arc::new(HttpFunction::start(environment, make).await);
    let answer = service_fn(move |request: Request| {
        let function = Arc::clone(&function);
        async move {
            let context = request.lambda_context();
            let invocation = Invocation { deadline: context.deadline(), request_id: context.request_id };
            Ok::<_, Infallible>(function.answer(&invocation, request.map(Body::new)).await)
        }
    });
    Runtime::new(Adapter::from(answer).map_request(with_all_headers)).run().await
}

/// The routes that `config` makes.
fn routes<S: TaskStore, M: MetricsPage>(environment: &Environment, config: &Config, store: &Arc<S>, page: M) -> Router {
    let clock = environment.clock().clone();
    let gate = Arc::new(Gate::new(config, Arc::clone(environment.secrets()), clock.clone()));
    with_fallbacks(router(Query::new(config, Arc::clone(store), gate, page, clock)))
}

/// The gateway sends headers twice: each one once, and all of them. Only the latter shows that one came twice.
fn with_all_headers(mut event: LambdaEvent<LambdaRequest>) -> LambdaEvent<LambdaRequest> {
    if let LambdaRequest::ApiGatewayV1(request) = &mut event.payload {
        one_set(&mut request.headers, &mut request.multi_value_headers);
    }
    event
}

#[cfg(test)]
mod tests {
    use lambda_http::Context;
    use serde_json::Value;

    use super::*;

    const LIST: &str = include_str!("../events/list.json");

    fn request(event: &Value) -> Request {
        let payload = serde_json::from_value(event.clone()).unwrap();
        with_all_headers(LambdaEvent { payload, context: Context::default() }).payload.into()
    }

    #[test]
    fn queries_and_headers_come_as_they_were_sent() {
        let mut event: Value = serde_json::from_str(LIST).unwrap();
        event["multiValueQueryStringParameters"]["status"] = serde_json::json!(["FAILED", "PROCESSING"]);
        event["multiValueHeaders"]["Authorization"] = serde_json::json!(["a", "b"]);
        let request = request(&event);
        assert!(request.uri().path().ends_with("/api/v1/conversions"), "{}", request.uri());
        let query = request.uri().query().unwrap();
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        for (name, value) in
            [("source", "library/nginx:1.27 & more"), ("limit", "50"), ("status", "FAILED"), ("status", "PROCESSING")]
        {
            assert!(pairs.contains(&(name.to_owned(), value.to_owned())), "{query}");
        }
        assert_eq!(request.headers().get_all("authorization").iter().count(), 2);
    }

    #[test]
    fn a_health_check_is_a_plain_get() {
        let event = serde_json::from_str(include_str!("../events/health.json")).unwrap();
        let request = request(&event);
        assert_eq!((request.method().as_str(), request.uri().query()), ("GET", None));
    }
}
