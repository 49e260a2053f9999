//! The converter in Lambda: messages as the queue hands them over, and the sweeper's schedule.

mod batch;
mod event;
mod failure;
mod time;

use std::sync::Arc;

use accel_domain::config::Config;
use accel_pipeline::{Engine, Stop};
use accel_runtime::Metrics;
use accel_runtime::aws::{Environment, Invocation, variable};
use accel_runtime::config::{LoadError, Reloading};
use accel_runtime::metrics::{Outlet, Totals};
use accel_tasks::Message;
use accel_tasks::aws::{Counters, Queue, Table};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsMessage};
use futures::FutureExt as _;
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use tracing::{Instrument as _, error, info_span, warn};

use crate::hosts::{self, HostError};
use crate::{Converter, Verdict};
use event::{Answer, Event};
use failure::Failure;

/// Tasks, and units, of one round of the sweeper; what is left is for the next.
const ROUND: usize = 1000;

/// Answers invocations until Lambda has no more of them.
///
/// # Errors
/// The function's environment is not as it should be; the error says what is missing.
pub async fn run() -> Result<(), Error> {
    let function = Arc::new(Function::start().await?);
    let handle = service_fn(move |event: LambdaEvent<Event>| {
        let function = Arc::clone(&function);
        async move { function.handle(event).await }.boxed_local()
    });
    Runtime::new(handle).run().await
}

/// What lives as long as the environment: clients, compression threads, and the converter of the latest configuration.
struct Function {
    environment: Environment,
    table: Arc<Table>,
    queue: Arc<Queue>,
    engine: Engine,
    metrics: Metrics,
    totals: Arc<Totals>,
    counters: Counters,
    converter: Reloading<Converter<Table, Queue>>,
}

impl Function {
    async fn start() -> Result<Self, Error> {
        let environment = Environment::start("converter").await?;
        let sdk = environment.aws().sdk();
        let table = Table::new(aws_sdk_dynamodb::Client::new(sdk), variable("ACCEL_TABLE")?);
        let queue = Queue::new(aws_sdk_sqs::Client::new(sdk), variable("ACCEL_QUEUE_URL")?);
        let totals = Arc::new(Totals::default());
        let function = Self {
            counters: table.counters(),
            table: Arc::new(table),
            queue: Arc::new(queue),
            engine: Engine::new(std::thread::available_parallelism().map_or(1, usize::from)),
            metrics: environment.metrics(vec![Arc::clone(&totals) as Arc<dyn Outlet>]),
            totals,
            converter: environment.reloading(),
            environment,
        };
        // Already now, while nobody waits. One that is wrong is read again for each invocation, which reports it.
        drop(function.converter().await);
        Ok(function)
    }

    async fn handle(&self, event: LambdaEvent<Event>) -> Result<Answer, Failure> {
        let LambdaEvent { payload, context } = event;
        let invocation = Invocation { deadline: context.deadline(), request_id: context.request_id };
        let span = info_span!("invocation", request.id = %invocation.request_id);
        let answer = async {
            match payload {
                Event::Sweep => self.sweep(&invocation).await.map(|()| Answer::Swept {}),
                Event::Batch(records) => Ok(Answer::Batch(self.settle(records, &invocation).await)),
            }
        };
        let answer = answer.instrument(span).await;
        self.environment.flush(&invocation);
        answer
    }

    /// What cannot be settled now, for want of a configuration or of the table, is put off, and that is counted. Returned
    /// again and again, it would come to the dead-letter queue, and its task be left lying once all is well again.
    async fn settle(&self, records: Vec<SqsMessage>, invocation: &Invocation) -> SqsBatchResponse {
        let converter = self.converter().await.inspect_err(report).ok();
        let now = self.environment.clock().now();
        records.iter().filter_map(|record| batch::waited(record, now)).for_each(|age| self.metrics.message_waited(age));
        let stop = Stop::new();
        let settle = async |message: &Message| {
            let verdict = match &converter {
                Some(converter) => converter.settle(message, &stop).boxed().await,
                None => Verdict::PutOff,
            };
            batch::carry_out(verdict, message, &*self.queue, &self.metrics).await
        };
        let response = time::stopped_in_time(invocation.left(), &stop, batch::settle(&records, settle)).await;
        self.add_totals().await;
        response
    }

    /// One round of the sweeper, in the time that there is. What it did not come to is found by the next one.
    async fn sweep(&self, invocation: &Invocation) -> Result<(), Failure> {
        let converter = self.converter().await?;
        let round = converter.sweep(ROUND).boxed();
        let swept = tokio::time::timeout(time::to_work(invocation.left()), round).await;
        self.add_totals().await;
        match swept {
            Ok(swept) => swept?,
            Err(_) => warn!("the time for the sweeper was not enough; the next round goes on"),
        }
        Ok(())
    }

    async fn converter(&self) -> Result<Arc<Converter<Table, Queue>>, LoadError> {
        self.converter.current(|config| self.make(config)).await
    }

    async fn make(&self, config: Arc<Config>) -> Result<Converter<Table, Queue>, HostError> {
        self.environment.follow(&config);
        let registries = hosts::registries(&config, self.environment.secrets()).await?;
        let (table, queue) = (Arc::clone(&self.table), Arc::clone(&self.queue));
        Ok(Converter::new(config, table, queue, registries, self.engine.clone(), self.metrics.clone()))
    }

    /// Adds what was counted to the counters in the table. Best effort: the metrics in CloudWatch do not miss it.
    async fn add_totals(&self) {
        let counted = self.totals.take();
        let counted: Vec<_> = counted.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        if !counted.is_empty()
            && let Err(error) = self.counters.add(&counted).await
        {
            warn!(%error, "the counters in the table were not raised");
        }
    }
}

/// For a batch: its answer holds no error. That of a sweep does, and the runtime logs it.
fn report(error: &LoadError) {
    error!(error = error as &dyn std::error::Error, "the configuration cannot be used");
}
