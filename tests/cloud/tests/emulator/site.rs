//! A site of its own for each test: a stack, and a registry that its configuration names.

use std::env;
use std::process::Stdio;

use accel_cloud_tests::{Key, Nowhere, Target};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;
use tokio::process::Command;

use crate::aws::{clients, given};

/// What a site has that others have not.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Wanted<'w> {
    /// Parameters of the template, as `Name=Value`.
    pub(crate) parameters: &'w [&'w str],
    /// Keys of the whole configuration file.
    pub(crate) more: &'w str,
}

/// A deployed stack.
pub(crate) struct Stack {
    name: String,
    outputs: Value,
}

pub(crate) struct Site {
    pub(crate) stack: Stack,
    pub(crate) target: Target,
}

impl Site {
    /// The front door of a stack whose configuration is that of the cases.
    pub(crate) async fn new(wanted: Wanted<'_>) -> Self {
        let (name, registry) = (unique_name(), Target::start_registry().await);
        put_secrets(&name).await;
        let configuration = Target::configuration(&registry, |key| reference(&name, key), "", wanted.more);
        let stack = Stack::deploy(name, &configuration, wanted.parameters).await;
        let target = Target::new(stack.output("LocalUrl"), registry, Nowhere::Gateway);
        Self { stack, target }
    }
}

impl Stack {
    /// Deploys a stack under a name that no other has.
    pub(crate) async fn deploy(name: String, configuration: &str, parameters: &[&str]) -> Self {
        put_parameter(&config_name(&name), configuration).await;
        let own = [
            format!("ConfigParameter={}", config_name(&name)),
            format!("WebhookSecretPrefix=accel/webhook/{name}/"),
            format!("RegistrySecretPrefix=accel/registry/{name}/"),
        ];
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../localstack/deploy");
        let mut deploy = Command::new(script);
        deploy.arg(&name).args(own).args(parameters).stdin(Stdio::null());
        if let Some(functions) = env::var_os("ACCEL_FUNCTIONS") {
            deploy.arg("--code").arg(functions);
        }
        let output = deploy.output().await.unwrap();
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script} {name}: {said}{complained}");
        let outputs = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{complained}"));
        Self { name, outputs }
    }

    /// An output of the stack.
    pub(crate) fn output(&self, name: &str) -> &str {
        self.outputs[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.outputs))
    }

    /// Gives a secret another value.
    pub(crate) async fn change_secret(&self, key: Key, value: &str) {
        let client = aws_sdk_secretsmanager::Client::new(&clients().await);
        let change = client.put_secret_value().secret_id(secret_name(&self.name, key)).secret_string(value);
        change.send().await.unwrap();
    }

    /// Gives the functions another configuration; the one before.
    pub(crate) async fn change_configuration(&self, text: &str) -> String {
        let name = config_name(&self.name);
        let client = aws_sdk_ssm::Client::new(&clients().await);
        let before = client.get_parameter().name(&name).send().await.unwrap();
        put_parameter(&name, text).await;
        before.parameter.unwrap().value.unwrap()
    }

    /// The name of a secret.
    pub(crate) fn secret_name(&self, key: Key) -> String {
        secret_name(&self.name, key)
    }

    /// Sends a message to the queue.
    pub(crate) async fn send(&self, body: &str) {
        let client = aws_sdk_sqs::Client::new(&clients().await);
        client.send_message().queue_url(self.output("QueueUrl")).message_body(body).send().await.unwrap();
    }

    /// How many messages wait in the queue or are being worked on.
    pub(crate) async fn messages(&self) -> u64 {
        self.count(&[
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ])
        .await
    }

    /// How many messages nobody may receive yet.
    pub(crate) async fn delayed_messages(&self) -> u64 {
        self.count(&[QueueAttributeName::ApproximateNumberOfMessagesDelayed]).await
    }

    async fn count(&self, wanted: &[QueueAttributeName]) -> u64 {
        let client = aws_sdk_sqs::Client::new(&clients().await);
        let ask = client.get_queue_attributes().queue_url(self.output("QueueUrl"));
        let answer = ask.set_attribute_names(Some(wanted.to_vec())).send().await.unwrap();
        answer.attributes.unwrap().values().map(|count| count.parse::<u64>().unwrap()).sum()
    }

    /// The bodies of messages in the dead-letter queue, hidden from the next look for a moment.
    pub(crate) async fn dead_letters(&self) -> Vec<String> {
        let client = aws_sdk_sqs::Client::new(&clients().await);
        let url = self.output("DeadLetterQueueUrl");
        let answer =
            client.receive_message().queue_url(url).max_number_of_messages(10).visibility_timeout(2).send().await;
        answer.unwrap().messages.unwrap_or_default().into_iter().filter_map(|message| message.body).collect()
    }
}

pub(crate) fn unique_name() -> String {
    format!("accel-{:08x}", fastrand::u32(..))
}

fn config_name(stack: &str) -> String {
    format!("/accel/{stack}/config")
}

/// What is compared with headers lies elsewhere than what registries are logged in to with.
fn secret_name(stack: &str, key: Key) -> String {
    let prefix = if key == Key::Password { "registry" } else { "webhook" };
    format!("accel/{prefix}/{stack}/{}", key.name())
}

/// How the configuration of a stack refers to a secret.
pub(crate) fn reference(stack: &str, key: Key) -> String {
    format!("${{secretsmanager:{}}}", secret_name(stack, key))
}

/// Writes the secrets of a stack that is to be deployed.
pub(crate) async fn put_secrets(stack: &str) {
    let client = aws_sdk_secretsmanager::Client::new(&clients().await);
    for key in Key::ALL {
        client.create_secret().name(secret_name(stack, key)).secret_string(key.value()).send().await.unwrap();
    }
}

async fn put_parameter(name: &str, value: &str) {
    let client = aws_sdk_ssm::Client::new(&clients().await);
    let kind = aws_sdk_ssm::types::ParameterType::String;
    client.put_parameter().name(name).r#type(kind).value(value).overwrite(true).send().await.unwrap();
}

/// Puts a text where `place`, as `BUCKET/KEY`, says.
pub(crate) async fn put_object(place: &str, text: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../localstack/seed");
    let output = Command::new(script).args(["--object", place]).arg(file.path()).stdin(Stdio::null()).output().await;
    let output = output.unwrap();
    assert!(output.status.success(), "{script} {place}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs `accelctl` to its end; what it said.
pub(crate) async fn accelctl(args: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(given("ACCELCTL"));
    command.args(args).envs(environment.iter().copied()).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "accelctl {args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}
