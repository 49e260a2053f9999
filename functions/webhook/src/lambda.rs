//! The webhook in Lambda, behind the REST API of API Gateway.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use accel_domain::config::Config;
use accel_runtime::aws::function::{HttpFunction, one_set};
use accel_runtime::aws::{Environment, Invocation, variable};
use accel_runtime::http::with_fallbacks;
use accel_runtime::{Gate, Metrics};
use accel_tasks::aws::{Queue, Table};
use accel_tasks::{TaskQueue, TaskStore};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use lambda_http::lambda_runtime::Runtime;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt as _;
use lambda_http::{Adapter, Error, LambdaEvent, Request, RequestExt as _, service_fn};

use crate::{SyncWait, Webhook, router};

/// API Gateway gives up after 29 seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(25);
/// What an answer takes at most once the wait is over.
const LAST_ANSWER: Duration = Duration::from_secs(3);

/// Answers requests until Lambda has no more of them.
///
/// # Errors
/// The function's environment is not as it should be; the error says what is missing.
pub async fn run() -> Result<(), Error> {
    let environment = Environment::start("webhook").await?;
    let sdk = environment.aws().sdk();
    let table = Arc::new(Table::new(aws_sdk_dynamodb::Client::new(sdk), variable("ACCEL_TABLE")?));
    let queue = Arc::new(Queue::new(aws_sdk_sqs::Client::new(sdk), variable("ACCEL_QUEUE_URL")?));
    let metrics = environment.metrics(Vec::new());
    let make = move |environment: &Environment, config| {
        routes(environment, config, Arc::clone(&table), Arc::clone(&queue), &metrics)
    };
    let function = Arc::new(HttpFunction::start(environment, make).await);
    let answer = service_fn(move |request: Request| {
        let function = Arc::clone(&function);
        async move { Ok::<_, Infallible>(answer(&function, request).await) }
    });
    Runtime::new(Adapter::from(answer).map_request(with_all_headers)).run().await
}

/// The routes that `config` makes.
fn routes<S: TaskStore, Q: TaskQueue>(
    environment: &Environment,
    config: Arc<Config>,
    store: Arc<S>,
    queue: Arc<Q>,
    metrics: &Metrics,
) -> Router {
    let clock = environment.clock().clone();
    let gate = Arc::new(Gate::new(&config, Arc::clone(environment.secrets()), clock.clone()));
    with_fallbacks(router(Webhook::new(config, store, queue, gate, metrics.clone(), clock)))
}

async fn answer<M>(function: &HttpFunction<M>, request: Request) -> Response
where
    M: Fn(&Environment, Arc<Config>) -> Router,
{
    let context = request.lambda_context();
    let invocation = Invocation { deadline: context.deadline(), request_id: context.request_id };
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(wait_within(invocation.left()));
    function.answer(&invocation, request).await
}

/// How long `sync=true` waits in an invocation that has so much time left.
fn wait_within(left: Duration) -> SyncWait {
    SyncWait { limit: Some(left.saturating_sub(LAST_ANSWER).min(LONGEST_WAIT)) }
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
    use std::sync::Arc;

    use accel_runtime::{Clock, Secrets};
    use accel_tasks::Embedded;
    use lambda_http::Context;
    use serde_json::{Value, json};

    use super::*;

    const PUSH: &str = include_str!("../events/push.json");
    const CONFIG: &str = "
server: { webhook_body: 2KiB }
registries:
  harbor.example.com:
    webhook_auth: [{ value: Bearer local-webhook-secret }]
rules:
  - convert: [{ format: estargz, target: '{repository}:{tag}-esgz' }]
";

    /// The request that an event becomes.
    fn request(event: &Value) -> Request {
        let payload = serde_json::from_value(event.clone()).unwrap();
        with_all_headers(LambdaEvent { payload, context: Context::default() }).payload.into()
    }

    /// Status and body of the answer to an event.
    async fn answer(event: &Value) -> (u16, String) {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(directory.path().join("accel.redb")).unwrap());
        let config = Arc::new(accel_domain::config::parse(CONFIG, "test").unwrap());
        let gate = Arc::new(Gate::new(&config, Arc::new(Secrets::default()), Clock::default()));
        let webhook = Webhook::new(config, Arc::clone(&store), store, gate, Metrics::new(), Clock::default());
        let mut request = request(event).map(Body::new);
        // The stage is no part of the path: the function's description says so by a variable.
        let path = request.uri().path_and_query().unwrap().as_str().replacen("/prod/", "/", 1);
        *request.uri_mut() = path.parse().unwrap();
        let response = with_fallbacks(router(webhook)).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn push() -> Value {
        serde_json::from_str(PUSH).unwrap()
    }

    #[tokio::test]
    async fn harbor_s_event_becomes_a_task() {
        let (status, body) = answer(&push()).await;
        assert_eq!((status, body.trim_end()), (200, "\"Ok\""));
    }

    #[tokio::test]
    async fn a_body_in_base64_is_the_same_and_bounded() {
        use axum::body::Bytes;

        let mut event = push();
        // Bodies of no event, within the limit of 2 KiB and beyond.
        for (bytes, status) in [(60, 400), (3_000, 413)] {
            event["body"] = "QUFB".repeat(bytes / 3).into();
            event["isBase64Encoded"] = true.into();
            let body = axum::body::to_bytes(Body::new(request(&event).into_body()), 1 << 20).await.unwrap();
            assert_eq!(body, Bytes::from("A".repeat(bytes)));
            assert_eq!(answer(&event).await.0, status, "{bytes}");
        }
    }

    #[tokio::test]
    async fn headers_decide_as_often_as_they_came() {
        let rows = [
            (json!(["Bearer local-webhook-secret"]), 200),
            (json!(["Bearer local-webhook-secret", "Bearer local-webhook-secret"]), 401),
            (json!(["wrong", "Bearer local-webhook-secret"]), 401),
            (json!(["wrong"]), 401),
        ];
        for (values, status) in rows {
            let mut event = push();
            event["multiValueHeaders"]["Authorization"] = values.clone();
            assert_eq!(answer(&event).await.0, status, "{values}");
        }
        let mut event = push();
        event["multiValueHeaders"] = Value::Null;
        assert_eq!(answer(&event).await.0, 200, "a gateway that sends each header once only");
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_in_json() {
        for (method, path) in
            [("PUT", "/api/v1/conversions"), ("GET", "/api/v1/nothing"), ("DELETE", "/api/v1/conversions")]
        {
            let mut event = push();
            (event["httpMethod"], event["path"]) = (method.into(), path.into());
            let (status, body) = answer(&event).await;
            assert_eq!((status, body.contains("ERR_INVALID_ENDPOINT")), (404, true), "{method} {path}: {body}");
        }
    }

    #[tokio::test]
    async fn ids_and_hostile_headers_survive() {
        let mut event = push();
        (event["httpMethod"], event["body"]) = ("DELETE".into(), Value::Null);
        event["path"] = "/api/v1/conversions/00000000-0000-4000-8000-000000000001".into();
        event["multiValueHeaders"]["X-Forwarded-Proto"] = json!(["no scheme"]);
        event["multiValueHeaders"]["Host"] = json!(["[not a host"]);
        let (status, body) = answer(&event).await;
        assert_eq!((status, body.contains("00000000-0000-4000-8000-000000000001")), (404, true), "{body}");
    }

    #[test]
    fn a_wait_ends_before_the_gateway_and_the_function_do() {
        let rows = [(900, 25), (29, 25), (20, 17), (3, 0), (1, 0)];
        for (left, expected) in rows {
            let limit = Some(Duration::from_secs(expected));
            assert_eq!(wait_within(Duration::from_secs(left)), SyncWait { limit }, "{left}");
        }
    }
}
