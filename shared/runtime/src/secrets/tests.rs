use super::*;
use crate::clock::by_hand::HandClock;

fn reference(text: &str) -> SecretRef {
    text.parse().unwrap()
}

fn secrets(time: &HandClock) -> Secrets {
    Secrets::with_environment(time.clock(), |name| (name == "SET").then(|| "hunter2".to_owned()))
}

/// `text` cannot be read, for a reason that is told without a value; `again` says whether it may be read later.
async fn check_refused(secrets: &Secrets, text: &str, expected: &str, again: bool) {
    let error = secrets.current(&reference(text)).await.unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert!(!format!("{error} {error:?} {secrets:?}").contains("hunter2"), "{error:?}");
    assert_eq!(error.class() == ErrorClass::BACKOFF, again, "{text}");
}

#[tokio::test]
async fn joins_the_pieces_of_a_reference() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    std::fs::write(&path, "from file\r\n").unwrap();
    let secrets = secrets(&HandClock::new());
    let file = format!("${{file:{}}}", path.display());
    for (text, expected) in [
        ("${env:SET}", "hunter2"),
        ("Basic ${env:SET}:x", "Basic hunter2:x"),
        (file.as_str(), "from file"),
        ("literal", "literal"),
    ] {
        assert_eq!(secrets.current(&reference(text)).await.unwrap().expose(), expected, "{text}");
    }
}

#[tokio::test]
async fn says_what_is_missing_and_never_a_value() {
    let secrets = secrets(&HandClock::new());
    let rows = [
        ("hunter2${env:UNSET}", "UNSET is not set", false),
        ("hunter2${file:/no/such}", "/no/such cannot be read", true),
        ("hunter2${ssm:/a}", "***${ssm:/a} cannot be read in this process", false),
        ("${secretsmanager:a}", "cannot be read in this process", false),
        ("", "is empty", false),
    ];
    for (text, expected, again) in rows {
        check_refused(&secrets, text, expected, again).await;
    }
}

#[tokio::test]
async fn secrets_in_aws_are_asked_for_and_what_is_wrong_is_said() {
    let ask = |name: RemoteName| {
        let json = r#"{"user":"u","password":"hunter2","port":5432}"#;
        std::future::ready(match name {
            RemoteName::Ssm(name) if name == "/accel/webhook/a" => Ok(Secret::new("hunter2")),
            RemoteName::SecretsManager(name) if name == "arn:aws:secretsmanager:r:1:secret:j" => Ok(Secret::new(json)),
            RemoteName::SecretsManager(name) if name == "slow" => Err(RemoteError::Unreachable("time-out".to_owned())),
            RemoteName::SecretsManager(name) if name == "binary" => Err(RemoteError::NotText),
            RemoteName::SecretsManager(_) => Err(RemoteError::Denied("secretsmanager:GetSecretValue")),
            RemoteName::Ssm(_) => Err(RemoteError::Missing),
        })
    };
    let secrets = secrets(&HandClock::new()).with_remote(ask);
    let json = "${secretsmanager:arn:aws:secretsmanager:r:1:secret:j";
    let good = ["${ssm:/accel/webhook/a}".to_owned(), format!("{json}#password}}")];
    for text in good {
        assert_eq!(secrets.current(&reference(&text)).await.unwrap().expose(), "hunter2", "{text}");
    }
    assert_eq!(secrets.current(&reference("Basic ${ssm:/accel/webhook/a}")).await.unwrap().expose(), "Basic hunter2");
    let bad = [
        ("${ssm:/b}", "the secret ${ssm:/b} does not exist in this account and region", false),
        ("${secretsmanager:x}", "may not be read: the function's role needs secretsmanager:GetSecretValue", false),
        ("${secretsmanager:binary}", "is not text", false),
        (&format!("{json}#nothing}}"), "under the key `nothing`", false),
        (&format!("{json}#port}}"), "under the key `port`", false),
        ("${ssm:/accel/webhook/a#key}", "is not a JSON object", false),
        ("hunter2${secretsmanager:slow}", "***${secretsmanager:slow} could not be read: time-out", true),
    ];
    for (text, expected, again) in bad {
        check_refused(&secrets, text, expected, again).await;
    }
}

#[tokio::test]
async fn a_value_is_kept_five_minutes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let (time, from_file) = (HandClock::new(), reference(&format!("${{file:{}}}", path.display())));
    let secrets = secrets(&time);
    std::fs::write(&path, "one").unwrap();
    assert_eq!(secrets.current(&from_file).await.unwrap().expose(), "one");
    std::fs::write(&path, "two").unwrap();
    time.pass(299);
    assert_eq!(secrets.current(&from_file).await.unwrap().expose(), "one");
    time.pass(1);
    let values = secrets.values(&from_file).await.unwrap();
    assert_eq!((values.current.expose(), values.previous.unwrap().expose()), ("two", "one"));
}

#[tokio::test]
async fn after_a_rotation_the_value_before_is_good_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let (time, from_file) = (HandClock::new(), reference(&format!("${{file:{}}}", path.display())));
    let secrets = secrets(&time);
    std::fs::write(&path, "one").unwrap();
    secrets.current(&from_file).await.unwrap();
    assert!(!secrets.refetch(&from_file).await.unwrap(), "nothing has changed");
    std::fs::write(&path, "two").unwrap();
    time.pass(9);
    assert!(!secrets.refetch(&from_file).await.unwrap(), "too soon to look again");
    time.pass(1);
    assert!(secrets.refetch(&from_file).await.unwrap());
    let values = secrets.values(&from_file).await.unwrap();
    assert_eq!((values.current.expose(), values.previous.unwrap().expose()), ("two", "one"));
    time.pass(900);
    assert!(secrets.values(&from_file).await.unwrap().previous.is_none());
}

#[tokio::test]
async fn a_clock_set_back_holds_no_rotation_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let (time, from_file) = (HandClock::new(), reference(&format!("${{file:{}}}", path.display())));
    let secrets = secrets(&time);
    std::fs::write(&path, "one").unwrap();
    secrets.current(&from_file).await.unwrap();
    assert!(!secrets.refetch(&from_file).await.unwrap());
    std::fs::write(&path, "two").unwrap();
    time.pass(-24 * 3600);
    assert!(secrets.refetch(&from_file).await.unwrap(), "the last look lies in the future");
    std::fs::write(&path, "three").unwrap();
    time.pass(-24 * 3600);
    let values = secrets.values(&from_file).await.unwrap();
    assert_eq!(values.current.expose(), "three", "what was seen in the future is not fresh");
    time.pass(-24 * 3600);
    assert!(secrets.values(&from_file).await.unwrap().previous.is_none(), "a value is not accepted for a day");
}

#[tokio::test]
async fn a_value_outlives_its_source_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let (time, from_file) = (HandClock::new(), reference(&format!("${{file:{}}}", path.display())));
    let secrets = secrets(&time);
    std::fs::write(&path, "one").unwrap();
    secrets.current(&from_file).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    time.pass(600);
    assert_eq!(secrets.current(&from_file).await.unwrap().expose(), "one");
    time.pass(300);
    assert!(secrets.current(&from_file).await.is_err());
}
