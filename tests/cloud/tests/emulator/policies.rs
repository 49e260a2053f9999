//! Each function works with its own policy, and is refused what is not in it. Only on an emulator that enforces IAM.

use std::collections::HashMap;

use accel_cloud_tests::{Ask, Key, harbor};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use crate::aws::{ask, clients_of};
use crate::functions::environments;
use crate::site::{Site, Stack, Wanted};

/// What may be tried with the credentials of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    ReadHookSecret,
    ReadRegistryPassword,
    ReadTask,
    WriteTask,
    SendMessage,
    ReceiveMessage,
    ReadApi,
    ChangeSecret,
}

const DEEDS: [Deed; 8] = [
    Deed::ReadHookSecret,
    Deed::ReadRegistryPassword,
    Deed::ReadTask,
    Deed::WriteTask,
    Deed::SendMessage,
    Deed::ReceiveMessage,
    Deed::ReadApi,
    Deed::ChangeSecret,
];

#[tokio::test]
#[ignore = "needs an emulated AWS that enforces IAM: run tests/cloud/run"]
async fn each_function_can_do_its_work_and_nothing_else() {
    let Site { stack, target } = Site::new(Wanted::default()).await;
    target.push("library/allowed", "v1", 1);
    target.completed(&target.task(&harbor(&[&target.pushed("library/allowed", "v1")], 0)).await).await;
    let health = target.ask(Ask::get("/api/v1/health")).await;
    assert_eq!((health.status, health.body.as_str()), (200, "Ok"));
    assert_eq!(target.ask(Ask::get("/metrics").auth(Key::Admin)).await.status, 200);

    let rows: [(&str, &[Deed]); 3] = [
        ("WebhookFunction", &[Deed::ReadHookSecret, Deed::ReadTask, Deed::WriteTask, Deed::SendMessage]),
        ("QueryFunction", &[Deed::ReadHookSecret, Deed::ReadTask]),
        (
            "ConverterFunction",
            &[Deed::ReadRegistryPassword, Deed::ReadTask, Deed::WriteTask, Deed::SendMessage, Deed::ReceiveMessage],
        ),
    ];
    for (function, allowed) in rows {
        let running = environments(stack.output(function));
        let own = running.first().unwrap_or_else(|| panic!("{function} does not run")).credentials();
        let clients = clients_of(own).await;
        for deed in DEEDS {
            let outcome = deed.attempt(&clients, &stack).await;
            let fine = match &outcome {
                Ok(()) => allowed.contains(&deed),
                Err(error) => !allowed.contains(&deed) && error.contains("AccessDenied"),
            };
            assert!(fine, "{function}: {deed:?}: {outcome:?}");
        }
    }
}

impl Deed {
    /// Tries it; the error is what was answered.
    async fn attempt(self, clients: &SdkConfig, stack: &Stack) -> Result<(), String> {
        match self {
            Self::ReadHookSecret => read_secret(clients, &stack.secret_name(Key::Hook)).await,
            Self::ReadRegistryPassword => read_secret(clients, &stack.secret_name(Key::Password)).await,
            Self::ReadTask => {
                let client = aws_sdk_dynamodb::Client::new(clients);
                let read = client.get_item().table_name(stack.output("TableName")).set_key(Some(key()));
                said(read.send().await)
            }
            Self::WriteTask => {
                let client = aws_sdk_dynamodb::Client::new(clients);
                let write = client.put_item().table_name(stack.output("TableName")).set_item(Some(key()));
                said(write.send().await)
            }
            Self::SendMessage => {
                let client = aws_sdk_sqs::Client::new(clients);
                let message = r#"{"task":"00000000-0000-4000-8000-000000000009","generation":1}"#;
                said(client.send_message().queue_url(stack.output("QueueUrl")).message_body(message).send().await)
            }
            Self::ReceiveMessage => {
                let client = aws_sdk_sqs::Client::new(clients);
                said(client.receive_message().queue_url(stack.output("QueueUrl")).send().await)
            }
            Self::ReadApi => {
                let path = format!("/restapis/{}", stack.output("ApiId"));
                let said = ask(clients, "apigateway", "GET", &path, &Value::Null).await;
                if said.status == 200 { Ok(()) } else { Err(format!("{said:?}")) }
            }
            Self::ChangeSecret => {
                let client = aws_sdk_secretsmanager::Client::new(clients);
                said(client.put_secret_value().secret_id(stack.secret_name(Key::Hook)).secret_string("x").send().await)
            }
        }
    }
}

/// Where a task lies that nobody has: the webhook may reach no other part of the table.
fn key() -> HashMap<String, AttributeValue> {
    [("pk", "task#tried"), ("sk", "task")]
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())))
        .into()
}

async fn read_secret(clients: &SdkConfig, name: &str) -> Result<(), String> {
    said(aws_sdk_secretsmanager::Client::new(clients).get_secret_value().secret_id(name).send().await)
}

fn said<T, E: std::fmt::Debug>(outcome: Result<T, E>) -> Result<(), String> {
    outcome.map(drop).map_err(|error| format!("{error:?}"))
}
