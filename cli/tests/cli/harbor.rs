//! `accelctl harbor`: against a Harbor that checks and answers as the real one does.

mod robots;
mod tls;

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::harbor_double::{ADMIN, HarborDouble, MAINTAINER, ROBOT_SECRET};
use crate::machine::{Machine, Ran, finish};
use crate::server::{Server, answer};

const WEBHOOK: &str = "https://accel.example.com/api/v1/conversions";
const AUTH: &str = "Bearer w3bhook-s3cret";

async fn run(machine: &Machine, harbor: &HarborDouble, args: &[&str]) -> Ran {
    run_as(machine, harbor, ADMIN, args).await
}

async fn run_as(machine: &Machine, harbor: &HarborDouble, login: (&str, &str), args: &[&str]) -> Ran {
    let url = harbor.url();
    let all = [&["harbor", args[0], &url, "--webhook-url", WEBHOOK, "--username", login.0], &args[1..]].concat();
    let mut command = machine.command(&all);
    let ran = finish(command.env("HARBOR_PASSWORD", login.1).env("WEBHOOK_AUTH", AUTH)).await;
    for secret in [login.1, AUTH, "w3bhook"] {
        assert!(!format!("{ran:?}").contains(secret), "{ran:?}");
    }
    ran
}

fn names(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn creates_what_is_missing_and_a_second_run_changes_nothing() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    let args = ["connect", "library", "team", "--robot-secret-file", "robot"];
    let ran = run(&machine, &harbor, &args).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!format!("{ran:?}").contains(ROBOT_SECRET), "{ran:?}");
    let file = machine.path("robot");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), ROBOT_SECRET);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    harbor.site(|site| {
        assert_eq!((names(&site.policies), names(&site.robots)), (vec!["accel", "accel"], vec!["robot$accel"]));
        for policy in &site.policies {
            assert_eq!(policy["event_types"], json!(["PUSH_ARTIFACT"]));
            let target = &policy["targets"][0];
            assert_eq!((&target["address"], &target["auth_header"]), (&json!(WEBHOOK), &json!(AUTH)));
        }
        let rights = &site.robots[0]["permissions"][0];
        assert_eq!((&rights["namespace"], rights["access"].as_array().unwrap().len()), (&json!("library"), 2));
    });
    assert_eq!(harbor.written().len(), 3);
    let ran = run(&machine, &harbor, &args).await;
    assert!(ran.code == Some(0) && ran.stdout.matches("is right").count() == 3, "{ran:?}");
    assert_eq!(harbor.written(), [""; 0]);
    let ran = run(&machine, &harbor, &["check", "library", "team"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test]
async fn what_differs_is_corrected_and_said() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    run(&machine, &harbor, &["connect", "library", "--show-robot-secret"]).await;
    harbor.site(|site| {
        site.policies[0]["enabled"] = false.into();
        site.policies[0]["targets"][0]["auth_header"] = "old".into();
        site.robots[0]["permissions"][0]["access"].as_array_mut().unwrap().pop();
    });
    harbor.asked();
    let ran = run(&machine, &harbor, &["check", "library"]).await;
    assert!(ran.code == Some(4) && ran.stdout.contains("would be updated (enabled; auth header)"), "{ran:?}");
    assert_eq!(harbor.written(), [""; 0]);
    let ran = run(&machine, &harbor, &["connect", "library", "--delete", "--skip-cert-verify"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for told in [
        "updated (enabled; events: PUSH_ARTIFACT -> DELETE_ARTIFACT PUSH_ARTIFACT; auth header; certificate check off)",
        "updated (rights in library: pull -> delete pull push)",
    ] {
        assert!(ran.stdout.contains(told), "{ran:?}");
    }
    assert_eq!(harbor.written().len(), 2);
    harbor.site(|site| assert_eq!(site.policies[0]["creator"], "admin", "Harbor writes the whole row"));
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    let ran = run(&machine, &harbor, &["connect", "library", "--dry-run"]).await;
    assert!(ran.code == Some(0) && ran.stdout.matches("would be created").count() == 2, "{ran:?}");
    assert_eq!(harbor.written(), [""; 0]);
}

#[tokio::test]
async fn answers_programs() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    harbor.site(|site| site.notification_enable = false);
    let args = ["connect", "library", "--output", "json", "--show-robot-secret", "--robot-days", "0"];
    let ran = run(&machine, &harbor, &args).await;
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    let warnings = report["warnings"].as_array().unwrap().clone();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains("webhooks are off"), "{warnings:?}");
    assert_eq!(
        report,
        json!({
            "harbor": harbor.url(), "version": "v2.14.1-5d1ff0fa", "dry_run": false, "warnings": warnings,
            "policies": [{"project": "library", "name": "accel", "action": "created", "changes": []}],
            "robot": {"name": "robot$accel", "action": "created", "changes": [], "access": {"library": ["pull", "push"]},
                      "expires": null, "new_secret": true, "secret_file": null, "secret": ROBOT_SECRET},
        })
    );
}

#[tokio::test]
async fn the_configuration_says_what_a_project_needs() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    let host = harbor.url().replace("http://", "");
    let config = format!(
        "registries:\n  b.example: {{}}\n  '{host}':\n    plain_http: true\n    username: robot$other\n    password: '${{env:X}}'\n    \
         webhook_auth: [{{ value: '${{file:hook}}' }}]\nrules:\n  - match: {{ repository: 'library/*' }}\n    convert: \
         [{{ format: estargz, target: 'team/{{name}}:{{tag}}', delete: true }}, {{ format: nydus, target: \
         'team/{{name}}:{{tag}}-nydus', chunk_dictionary: '{host}/hub/dictionary:1' }}]\n  - match: {{ host: b.example }}\n    \
         convert: [{{ format: nydus, target: '{host}/123/{{name}}:{{tag}}', chunk_dictionary: '{host}/base/dictionary:1' }}]\n"
    );
    machine.write("accel.yaml", &config);
    machine.write("hook", "Bearer f1le-s3cret\n");
    let url = harbor.url();
    let args = [
        "harbor",
        "connect",
        &url,
        "library",
        "123",
        "--webhook-url",
        WEBHOOK,
        "--config",
        "accel.yaml",
        "--robot-secret-file",
        "robot",
        "--password-stdin",
    ];
    let ran = machine.run_with_input(&args, &format!("{}\n", ADMIN.1)).await;
    assert!(ran.code == Some(0) && !format!("{ran:?}").contains("s3cret"), "{ran:?}");
    for told in ["no rule of the configuration is for images of 123", "logs in as `robot$other` for library"] {
        assert!(ran.stderr.contains(told), "{ran:?}");
    }
    harbor.site(|site| {
        let events: Vec<_> = site.policies.iter().map(|p| p["event_types"].as_array().unwrap().len()).collect();
        assert_eq!(events, [1, 2], "of 123 pushes, of library deletions too");
        assert_eq!(site.policies[0]["targets"][0]["auth_header"], "Bearer f1le-s3cret");
    });
    let rights = |project: &str| {
        harbor.site(|site| {
            let permissions = site.robots[0]["permissions"].as_array().unwrap().clone();
            let own = permissions.iter().find(|permission| permission["namespace"] == project).unwrap().clone();
            own["access"]
                .as_array()
                .unwrap()
                .iter()
                .map(|a| a["action"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(rights("library"), ["pull"], "targets go elsewhere");
    assert_eq!(rights("team"), ["delete", "pull", "push"]);
    assert_eq!(rights("hub"), ["pull"], "the chunk dictionary");
    assert_eq!(rights("base"), ["pull"], "that of targets whose sources are elsewhere");
}

#[tokio::test]
async fn what_was_done_before_a_failure_is_told_and_the_next_run_goes_on() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    harbor.site(|site| site.refused = Some(("POST", "/projects/team/webhook/policies", 500)));
    let args = ["connect", "library", "team", "--robot-secret-file", "robot"];
    let ran = run(&machine, &harbor, &args).await;
    assert!(ran.code == Some(3) && ran.stderr.contains("create the webhook policy of team, with 500"), "{ran:?}");
    assert!(
        ran.stdout.contains("library: webhook policy accel created") && ran.stdout.contains("robot$accel created"),
        "{ran:?}"
    );
    harbor.site(|site| site.refused = None);
    let ran = run(&machine, &harbor, &args).await;
    assert!(ran.code == Some(0) && ran.stdout.matches("created").count() == 1, "{ran:?}");
}

#[tokio::test]
async fn says_what_is_wrong_before_anything_is_written() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    type Row<'r> = (&'r [&'r str], (&'r str, &'r str), i32, &'r str);
    let rows: [Row<'_>; 6] = [
        (&["connect", "library"], ADMIN, 2, "--robot-secret-file"),
        (&["connect", "library", "--no-robot"], (ADMIN.0, "wr0ng-s3cret"), 1, "does not accept the login of admin"),
        (&["connect", "library", "nowhere", "--no-robot"], ADMIN, 1, "no project nowhere"),
        (&["connect", "nowhere", "--no-robot"], MAINTAINER, 1, "no project nowhere"),
        (&["connect", "a/b"], ADMIN, 2, "without registry and repository"),
        (&["check", "hub"], ADMIN, 4, "hub is a proxy cache"),
    ];
    for (args, login, code, told) in rows {
        let ran = run_as(&machine, &harbor, login, args).await;
        assert!(ran.code == Some(code) && ran.stderr.contains(told), "{args:?}: {ran:?}");
    }
    assert_eq!(harbor.written(), [""; 0]);
}

#[tokio::test]
async fn a_project_is_asked_for_once() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    let ran = run(&machine, &harbor, &["connect", "library", "team", "--show-robot-secret"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let asked = harbor.asked();
    for project in ["library", "team"] {
        let line = format!("GET /api/v2.0/projects/{project}");
        assert_eq!(asked.iter().filter(|asked| **asked == line).count(), 1, "{asked:?}");
    }
}

#[tokio::test]
async fn who_may_is_a_matter_of_the_call_and_not_of_names() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    harbor.site(|site| {
        site.projects.push(("robots", 5, false));
        site.refused = Some(("GET", "/projects/robots/webhook/policies", 403));
    });
    let ran = run(&machine, &harbor, &["check", "robots", "--no-robot"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("may not list the webhook policies of robots"), "{ran:?}");
    assert!(!ran.stderr.contains("--robot-level"), "{ran:?}");
}

#[tokio::test]
async fn an_old_harbor_and_what_is_none_are_refused() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    for version in ["v2.7.4-fake", "v1.10.19-fake"] {
        harbor.site(|site| version.clone_into(&mut site.version));
        let ran = run(&machine, &harbor, &["connect", "library", "--no-robot"]).await;
        assert!(ran.code == Some(1) && ran.stderr.contains("needs 2.8 or later"), "{ran:?}");
    }
    harbor.site(|site| "dev".clone_into(&mut site.version));
    let ran = run(&machine, &harbor, &["connect", "library", "--no-robot"]).await;
    assert_eq!(ran.code, Some(0), "a build without a number may try: {ran:?}");
    let rows = [
        (answer(404, "404 page not found"), 1, "no API of version 2.0"),
        (answer(200, "<html>"), 1, "its answer is no JSON"),
        (answer(200, "[]"), 1, "has not the form"),
        (
            answer(302, "").header("location", "https://u:s3cret@login.example/?to=s3cret"),
            1,
            "to https://login.example\n",
        ),
        (answer(307, "").header("location", "/login?token=s3cret"), 1, "it redirects to http://127.0.0.1:"),
        (answer(302, "").header("location", "s3cret:x"), 1, "it redirects to somewhere else"),
        (answer(302, "").header("location", "foo://s3cret.example/x"), 1, "it redirects to somewhere else"),
        (answer(302, ""), 1, "it redirects to somewhere else"),
        (answer(503, r#"{"errors":[{"message":"no\u001b[2J database"}]}"#), 3, "no [2J database"),
    ];
    for (answer, code, told) in rows {
        let server = Server::start([answer]).await;
        let url = format!("http://{}", server.addr());
        let args = ["harbor", "check", &url, "library", "--webhook-url", WEBHOOK];
        let ran = finish(machine.command(&args).env("HARBOR_PASSWORD", "s3cret").env("WEBHOOK_AUTH", AUTH)).await;
        assert!(ran.code == Some(code) && ran.stderr.contains(told), "{told}: {ran:?}");
        assert!(!format!("{ran:?}").contains("s3cret"), "{ran:?}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let args = ["harbor", "check", &format!("http://{free}"), "library", "--webhook-url", WEBHOOK];
    let ran = finish(machine.command(&args).env("HARBOR_PASSWORD", "s3cret").env("WEBHOOK_AUTH", AUTH)).await;
    assert!(ran.code == Some(3) && ran.stderr.contains("no answer from"), "{ran:?}");
}

#[tokio::test]
async fn a_password_is_not_sent_where_others_can_read_it() {
    let machine = Machine::new().await;
    let base = ["harbor", "connect", "http://harbor.example.com", "library", "--webhook-url", WEBHOOK, "--no-robot"];
    let ran = finish(machine.command(&base).env("HARBOR_PASSWORD", "s3cret").env("WEBHOOK_AUTH", AUTH)).await;
    assert!(ran.code == Some(2) && ran.stderr.contains("--allow-plain-credentials"), "{ran:?}");
    type Row<'r> = (&'r [(&'r str, &'r str)], &'r [&'r str], &'r str);
    let rows: [Row<'_>; 5] = [
        (&[("HARBOR_PASSWORD", "s3cret")], &[], "WEBHOOK_AUTH"),
        (&[("HARBOR_PASSWORD", "s3cret"), ("WEBHOOK_AUTH", "s3cret\nX: y")], &[], "nothing that a header can hold"),
        (&[("HARBOR_PASSWORD", "s3cret")], &["--auth-env", "OTHER"], "OTHER"),
        (&[("WEBHOOK_AUTH", AUTH)], &["--allow-plain-credentials"], "HARBOR_PASSWORD"),
        (&[("WEBHOOK_AUTH", AUTH)], &["--allow-plain-credentials", "--password-env", "OTHER"], "OTHER"),
    ];
    for (variables, more, told) in rows {
        let ran = finish(machine.command(&[&base[..], more].concat()).envs(variables.iter().copied())).await;
        assert!(ran.code == Some(1) && ran.stderr.contains(told) && !ran.stderr.contains("s3cret"), "{ran:?}");
    }
}
