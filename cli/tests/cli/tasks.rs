//! `accelctl task`.

use serde_json::{Value, json};

use crate::machine::{Machine, Ran, finish};
use crate::server::{Answer, Server, answer, id, task};

const SOURCE: &str = "h.example/team/app:1";

async fn run(server: &Server, args: &[&str]) -> Ran {
    let machine = Machine::new().await;
    machine.run(&[&["task", "--addr", &server.addr()], args].concat()).await
}

fn ok(ids: &[u32]) -> Answer {
    let ids: Vec<String> = ids.iter().map(|number| id(*number)).collect();
    answer(200, "\"Ok\"\n").header("x-accel-task-id", ids.join(","))
}

#[tokio::test]
async fn create_sends_the_event_of_a_push_and_prints_the_ids() {
    let server = Server::start([ok(&[1, 2])]).await;
    let ran = run(&server, &["create", SOURCE]).await;
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("{}\n{}\n", id(1), id(2))));
    let asked = server.asked().remove(0);
    assert_eq!(asked.line, "POST /api/v1/conversions");
    assert_eq!((asked.content_type.as_deref(), asked.authorization), (Some("application/json"), None));
    let event: Value = serde_json::from_str(&asked.body).unwrap();
    let expected = json!({"type": "PUSH_ARTIFACT", "event_data": {"resources": [{"resource_url": SOURCE}]}});
    assert_eq!(event, expected);
}

#[tokio::test]
async fn create_says_when_nothing_will_be_converted() {
    let server = Server::start([answer(200, "\"Ok\"\n")]).await;
    let ran = run(&server, &["create", SOURCE]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("no rule"), "{ran:?}");
}

#[tokio::test]
async fn create_sync_ends_as_the_conversion_does() {
    let failed = || answer(500, r#"{"code":"ERR_CONVERT_FAILED","message":"layer 1 is broken"}"#);
    let rows: [(Vec<Answer>, i32, &str); 4] = [
        (vec![ok(&[1])], 0, "completed"),
        (vec![failed().header("x-accel-task-id", id(1))], 1, "layer 1 is broken"),
        (
            vec![
                answer(202, "\"Ok\"\n")
                    .header("x-accel-task-id", format!("{},{}", id(1), id(2)))
                    .header("location", format!("/api/v1/conversions/{}", id(1))),
                answer(200, task(1, "PROCESSING")),
                answer(200, task(1, "COMPLETED")),
                answer(200, task(2, "COMPLETED")),
            ],
            0,
            "completed",
        ),
        (
            vec![
                answer(202, "\"Ok\"\n").header("x-accel-task-id", format!("{},{}", id(1), id(2))),
                answer(200, task(1, "FAILED")),
                answer(200, task(2, "COMPLETED")),
            ],
            1,
            "it broke",
        ),
    ];
    for (answers, code, expected) in rows {
        let wanted = answers.len();
        let server = Server::start(answers).await;
        let ran = run(&server, &["create", "--sync", SOURCE]).await;
        assert!(ran.code == Some(code) && ran.stderr.contains(expected), "{ran:?}");
        assert!(ran.stdout.starts_with(&id(1)), "{ran:?}");
        let lines = server.lines();
        assert_eq!((lines[0].as_str(), lines.len()), ("POST /api/v1/conversions?sync=true", wanted), "{lines:?}");
    }
}

#[tokio::test]
async fn create_answers_programs_with_ids_and_with_sync_the_tasks() {
    let failed = answer(500, r#"{"code":"ERR_CONVERT_FAILED","message":"it broke"}"#).header("x-accel-task-id", id(1));
    let (done, broken) = (task(1, "COMPLETED"), task(1, "FAILED"));
    let rows = [
        (vec![ok(&[1, 2])], &[][..], 0, json!([id(1), id(2)]), Value::Null),
        (vec![ok(&[1]), answer(200, &done)], &["--sync"], 0, json!([id(1)]), json!([done])),
        (vec![failed, answer(200, &broken)], &["--sync"], 1, json!([id(1)]), json!([broken])),
        (vec![ok(&[1]), answer(503, "{}")], &["--sync"], 3, json!([id(1)]), Value::Null),
        (vec![answer(200, "\"Ok\"\n")], &[], 1, json!([]), Value::Null),
    ];
    for (answers, more, code, ids, tasks) in rows {
        let server = Server::start(answers).await;
        let ran = run(&server, &[&["create", SOURCE, "--output", "json"], more].concat()).await;
        let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
        assert_eq!(
            (ran.code, &report),
            (Some(code), &json!({"source": SOURCE, "ids": ids, "tasks": tasks})),
            "{ran:?}"
        );
    }
}

#[tokio::test]
async fn retry_and_cancel_answer_programs_with_the_tasks_as_they_are_now() {
    for verb in ["retry", "cancel"] {
        let refused = answer(409, r#"{"code":"ERR_CONFLICT","message":"the task has ended"}"#);
        let server = Server::start([answer(202, task(1, "PROCESSING")), refused]).await;
        let ran = run(&server, &[verb, &id(1), &id(2), "--output", "json"]).await;
        let tasks: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, tasks), (Some(1), json!([task(1, "PROCESSING")])), "{verb}");
        assert!(ran.stderr.contains("the task has ended"), "{ran:?}");
    }
}

#[tokio::test]
async fn the_header_comes_from_the_environment() {
    let machine = Machine::new().await;
    for (args, variable) in [(&[][..], "ACCEL_AUTH"), (&["--auth-env", "OTHER"], "OTHER")] {
        let server = Server::start([answer(200, "[]")]).await;
        let addr = server.addr();
        let args = [&["task", "list", "--addr", &addr], args].concat();
        let ran = finish(machine.command(&args).env(variable, "Basic s3cret")).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(server.asked()[0].authorization.as_deref(), Some("Basic s3cret"));
        assert!(!format!("{ran:?}").contains("s3cret"));
    }
    let ran = machine.run(&["task", "list", "--auth-env", "NOT_SET"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("NOT_SET"), "{ran:?}");
    let ran = finish(machine.command(&["task", "list"]).env("ACCEL_AUTH", "s3cret\nX: y")).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("ACCEL_AUTH") && !ran.stderr.contains("s3cret"), "{ran:?}");
}

#[tokio::test]
async fn list_has_the_status_in_its_fourth_field() {
    let server = Server::start([answer(200, json!([task(2, "PROCESSING"), task(1, "FAILED")]))]).await;
    let ran = run(&server, &["ls"]).await;
    let rows: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "CREATED", "STATUS", "SOURCE", "REASON"]);
    assert_eq!(rows[1], [&id(2), "2024-05-01", "10:11:12", "PROCESSING", "h.example/team/app:2"]);
    assert_eq!(rows[2], [&id(1), "2024-05-01", "10:11:12", "FAILED", "h.example/team/app:1", "it", "broke"]);
    assert_eq!(server.lines(), ["GET /api/v1/conversions?limit=1000"]);
}

#[tokio::test]
async fn list_follows_pages_up_to_its_limit() {
    let page = |rows: &[u32]| answer(200, json!(rows.iter().map(|n| task(*n, "COMPLETED")).collect::<Vec<_>>()));
    let next = |answer: Answer, cursor: &str| {
        answer.header("link", format!("</api/v1/conversions?limit=2&cursor={cursor}>; rel=\"next\""))
    };
    let server = Server::start([next(page(&[5, 4]), "a%2Fb"), next(page(&[3, 2]), "c")]).await;
    let args = ["list", "--limit", "3", "--status", "completed", "--source", "a&b", "--output", "json"];
    let ran = run(&server, &args).await;
    let rows: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(rows, [task(5, "COMPLETED"), task(4, "COMPLETED"), task(3, "COMPLETED")]);
    assert!(ran.stderr.contains("more tasks"), "{ran:?}");
    assert_eq!(
        server.lines(),
        [
            "GET /api/v1/conversions?status=COMPLETED&source=a%26b&limit=3",
            "GET /api/v1/conversions?limit=2&cursor=a%2Fb"
        ]
    );
    let server = Server::start([next(page(&[2]), "a"), page(&[1])]).await;
    let ran = run(&server, &["list"]).await;
    assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (3, ""));
}

#[tokio::test]
async fn watch_writes_the_list_when_it_has_changed() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let server = Server::start([
        answer(200, json!([task(1, "PROCESSING")])),
        answer(503, "{}"),
        answer(200, json!([task(1, "COMPLETED")])),
    ])
    .await;
    let machine = Machine::new().await;
    let mut child = machine.command(&["task", "list", "--watch", "--addr", &server.addr()]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while !seen.iter().any(|line: &String| line.contains("COMPLETED")) {
        seen.push(lines.next_line().await.unwrap().expect("it goes on until it is stopped"));
    }
    assert!(seen[1].contains("PROCESSING") && seen[2].contains("503"), "{seen:?}");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn show_has_everything() {
    let server = Server::start([answer(200, task(1, "FAILED")), answer(200, task(1, "FAILED"))]).await;
    let ran = run(&server, &["show", &id(1)]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let keys: Vec<&str> = ran.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let expected: Vec<String> = task(1, "FAILED").as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, expected);
    let ran = run(&server, &["show", &id(1), "--output", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), task(1, "FAILED"));
    assert_eq!(server.lines()[0], format!("GET /api/v1/conversions/{}", id(1)));
}

#[tokio::test]
async fn retry_and_cancel_take_several_tasks() {
    let server = Server::start([answer(202, task(1, "PROCESSING")), answer(202, task(2, "PROCESSING"))]).await;
    let ran = run(&server, &["retry", &id(1), &id(2)]).await;
    assert!(ran.code == Some(0) && ran.stdout.lines().count() == 2, "{ran:?}");
    let path = |number| format!("/api/v1/conversions/{}", id(number));
    assert_eq!(server.lines(), [format!("POST {}/retry", path(1)), format!("POST {}/retry", path(2))]);

    let conflict = answer(409, r#"{"code":"ERR_CONFLICT","message":"the task has ended"}"#);
    let server = Server::start([answer(200, task(1, "FAILED")), conflict]).await;
    let ran = run(&server, &["cancel", &id(1), &id(2)]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("the task has ended"), "{ran:?}");
    assert!(ran.stdout.starts_with(&id(1)) && ran.stdout.lines().count() == 1, "{ran:?}");
    assert_eq!(server.lines(), [format!("DELETE {}", path(1)), format!("DELETE {}", path(2))]);
}

#[tokio::test]
async fn a_failure_says_what_to_do() {
    let rows = [
        (answer(401, "{}"), 1, "ACCEL_AUTH"),
        (answer(404, r#"{"code":"ERR_NOT_FOUND","message":"no such task"}"#), 1, "no such task"),
        (answer(501, "{}"), 3, "answered 501"),
        (answer(503, r#"{"message":"Service Unavailable"}"#), 3, "Service Unavailable"),
        (answer(200, "<html>"), 1, "does not answer as Accel does"),
        (
            answer(301, "").header("location", "https://accel.example/in?s3cret"),
            1,
            "it redirects to https://accel.example\n",
        ),
    ];
    for (answer, code, expected) in rows {
        let server = Server::start([answer]).await;
        let ran = run(&server, &["show", &id(1)]).await;
        assert!(ran.code == Some(code) && ran.stderr.contains(expected), "{expected}: {ran:?}");
        assert_eq!((ran.stdout.as_str(), server.lines().len()), ("", 1));
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = Machine::new().await.run(&["task", "list", "--addr", &free.to_string()]).await;
    assert!(ran.code == Some(3) && ran.stderr.contains("accelctl serve"), "{ran:?}");
}

#[tokio::test]
async fn plain_http_to_another_machine_is_written_out() {
    let machine = Machine::new().await;
    let ran = machine.run(&["task", "--addr", "accel.example.com:2077", "list"]).await;
    assert!(ran.code == Some(2) && ran.stderr.contains("https://accel.example.com:2077"), "{ran:?}");
}
