//! A table and a queue for one case.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use accel_tasks::aws::{Queue, Table};
use accel_tasks::conformance::Fixture;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType,
};

use crate::watch::Watch;

/// An empty table and an empty queue.
pub(crate) struct Stage {
    pub(crate) table: Table,
    pub(crate) queue: Queue,
    /// To do what only a person does.
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    /// What the table's requests meet.
    pub(crate) watch: Watch,
    pub(crate) name: String,
    pub(crate) url: String,
}

impl Fixture for Stage {
    type Tasks = Table;
    type Queue = Queue;
    type Layers = Table;

    fn tasks(&self) -> &Table {
        &self.table
    }

    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn layers(&self) -> &Table {
        &self.table
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

pub(crate) async fn fresh() -> Stage {
    let (dynamodb, sqs) = clients();
    let name = name();
    create_table(&dynamodb, &name).await;
    let created = sqs.create_queue().queue_name(&name).send().await.expect("the emulator makes a queue");
    let url = created.queue_url.expect("a queue has a URL");
    let watch = Watch::default();
    let watched = dynamodb.config().to_builder().interceptor(watch.clone()).build();
    let table = Table::new(aws_sdk_dynamodb::Client::from_conf(watched), &name);
    let queue = Queue::new(sqs.clone(), &url);
    Stage { table, queue, dynamodb, sqs, watch, name, url }
}

/// A name that no other case has, in this run or another.
fn name() -> String {
    static CASES: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    format!("accel-{}-{}-{}", std::process::id(), since.as_millis(), CASES.fetch_add(1, Ordering::Relaxed))
}

/// Where the emulator of `service` is: the variables are those of the SDK.
fn endpoint(service: &str) -> String {
    let own = env::var(format!("AWS_ENDPOINT_URL_{service}"));
    own.or_else(|_| env::var("AWS_ENDPOINT_URL"))
        .expect("AWS_ENDPOINT_URL is not set: start an emulator (localstack/README.md) and set it to its address")
}

fn clients() -> (aws_sdk_dynamodb::Client, aws_sdk_sqs::Client) {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
    let http = aws_smithy_http_client::Builder::new().build_http();
    let credentials = Credentials::new("test", "test", None, None, "made up");
    let region = Region::new("us-east-1");
    let dynamodb = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http.clone())
        .credentials_provider(credentials.clone())
        .region(region.clone())
        .endpoint_url(endpoint("DYNAMODB"))
        .build();
    let sqs = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .credentials_provider(credentials)
        .region(region)
        .endpoint_url(endpoint("SQS"))
        .build();
    (aws_sdk_dynamodb::Client::from_conf(dynamodb), aws_sdk_sqs::Client::from_conf(sqs))
}

/// The table of `infra/template.yaml`.
async fn create_table(client: &aws_sdk_dynamodb::Client, name: &str) {
    let mut request = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(keys("pk", "sk")));
    for attribute in ["pk", "sk", "listed_pk", "listed_sk", "due_pk", "due_sk"] {
        let definition = AttributeDefinition::builder()
            .attribute_name(attribute)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .expect("it has a name and a type");
        request = request.attribute_definitions(definition);
    }
    for index in ["listed", "due"] {
        let keys = keys(&format!("{index}_pk"), &format!("{index}_sk"));
        let projection = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
        let index = GlobalSecondaryIndex::builder().index_name(index).set_key_schema(Some(keys)).projection(projection);
        request = request.global_secondary_indexes(index.build().expect("it has a name and keys"));
    }
    request.send().await.expect("the emulator makes a table");
}

fn keys(partition: &str, sort: &str) -> Vec<KeySchemaElement> {
    let key = |name: &str, of| {
        KeySchemaElement::builder().attribute_name(name).key_type(of).build().expect("it has a name and a type")
    };
    vec![key(partition, KeyType::Hash), key(sort, KeyType::Range)]
}
