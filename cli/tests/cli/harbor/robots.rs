//! The robot account: its rights, its secret and its end.

use super::{run, run_as};
use crate::harbor_double::{HarborDouble, MAINTAINER, ROBOT_SECRET};
use crate::machine::Machine;

#[tokio::test]
async fn one_more_project_takes_no_right_away() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    run(&machine, &harbor, &["connect", "library", "--show-robot-secret"]).await;
    let ran = run(&machine, &harbor, &["connect", "123"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    harbor.site(|site| {
        let permissions = site.robots[0]["permissions"].as_array().unwrap();
        let projects: Vec<_> = permissions.iter().map(|permission| permission["namespace"].as_str().unwrap()).collect();
        assert_eq!((projects, site.policies.len()), (vec!["library", "123"], 2));
    });
}

#[tokio::test]
async fn an_administrator_of_a_project_makes_a_robot_of_it() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    let ran = run_as(&machine, &harbor, MAINTAINER, &["connect", "library", "--show-robot-secret"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("--robot-level project"), "{ran:?}");
    assert_eq!(harbor.written(), [""; 0]);
    let args = ["connect", "library", "--show-robot-secret", "--robot-level", "project"];
    for expected in ["robot robot$library+accel created", "robot robot$library+accel is right"] {
        let ran = run_as(&machine, &harbor, MAINTAINER, &args).await;
        assert!(ran.code == Some(0) && ran.stdout.contains(expected), "{ran:?}");
    }
    let ran = run_as(&machine, &harbor, MAINTAINER, &["connect", "library", "team", "--robot-level", "project"]).await;
    assert!(ran.code == Some(2) && ran.stderr.contains("once for each"), "{ran:?}");
}

#[tokio::test]
async fn a_new_secret_replaces_the_old_one() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    let file = machine.write("robot", "not ours");
    let args = ["connect", "library", "--robot-secret-file", "robot"];
    let ran = run(&machine, &harbor, &args).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("is not overwritten"), "{ran:?}");
    assert_eq!(harbor.written(), [""; 0], "a secret without a place is not made");
    std::fs::remove_file(&file).unwrap();
    run(&machine, &harbor, &args).await;
    let ran = run(&machine, &harbor, &[&args[..], &["--new-robot-secret"]].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{ROBOT_SECRET}-2"));
}

#[tokio::test]
async fn no_run_takes_away_what_the_rules_of_another_project_need() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    let host = harbor.url().replace("http://", "");
    let config = format!(
        "registries: {{ '{host}': {{ plain_http: true }} }}\nrules:\n  - match: {{ repository: 'library/*' }}\n    \
         convert: [{{ format: estargz, target: 'team/{{name}}:{{tag}}', delete: true }}]\n"
    );
    machine.write("accel.yaml", &config);
    let with_config = |project| ["connect", project, "--config", "accel.yaml", "--robot-secret-file", "robot"];
    run(&machine, &harbor, &with_config("library")).await;
    let ran = run(&machine, &harbor, &with_config("team")).await;
    assert!(ran.code == Some(0) && ran.stdout.contains("robot robot$accel is right"), "{ran:?}");
    harbor.site(|site| {
        let permissions = site.robots[0]["permissions"].as_array().unwrap();
        let team = permissions.iter().find(|permission| permission["namespace"] == "team").unwrap();
        let actions: Vec<_> = team["access"].as_array().unwrap().iter().map(|access| &access["action"]).collect();
        assert_eq!(actions, ["delete", "pull", "push"]);
    });
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_again_is_warned_of() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    run(&machine, &harbor, &["connect", "library", "--show-robot-secret"]).await;
    let args = ["connect", "library", "--robot-secret-file", "robot"];
    let told = "robot$accel is there already, and Harbor does not show its secret again: nothing is written to robot";
    machine.write("empty", "");
    let empty = ["connect", "library", "--robot-secret-file", "empty"];
    let dry = [&args[..], &["--dry-run"]].concat();
    for args in [&args[..], &dry[..], &empty[..]] {
        let ran = run(&machine, &harbor, args).await;
        assert!(ran.code == Some(0) && ran.stderr.contains("does not show its secret again"), "{ran:?}");
        assert!(ran.stderr.contains("--new-robot-secret") && (args == empty || ran.stderr.contains(told)), "{ran:?}");
    }
    let ran = run(&machine, &harbor, &[&args[..], &["--new-robot-secret"]].concat()).await;
    assert!(ran.code == Some(0) && ran.stderr.is_empty(), "{ran:?}");
    let ran = run(&machine, &harbor, &args).await;
    assert!(ran.code == Some(0) && ran.stderr.is_empty(), "the file may hold it: {ran:?}");
}

#[tokio::test]
async fn a_directory_is_no_place_for_a_secret() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    std::fs::create_dir(machine.path("secrets")).unwrap();
    let args = ["connect", "library", "--robot-secret-file", "secrets"];
    for more in [&[][..], &["--new-robot-secret"][..], &["--dry-run"][..]] {
        let ran = run(&machine, &harbor, &[&args[..], more].concat()).await;
        assert!(ran.code == Some(2) && ran.stderr.contains("that is a directory"), "{ran:?}");
    }
    assert_eq!(harbor.asked(), [""; 0]);
}

#[tokio::test]
async fn a_robot_that_has_expired_is_not_right() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    run(&machine, &harbor, &["connect", "library", "--show-robot-secret", "--robot-days", "30"]).await;
    let ran = run(&machine, &harbor, &["check", "library", "--robot-days", "30"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    harbor.site(|site| {
        site.robots[0]["creation_time"] = "2001-08-10T01:46:40.000Z".into();
        site.robots[0]["expires_at"] = 1_000_000_000.into();
    });
    let rows: [(&[&str], &str, &str); 3] = [
        (&["--robot-days", "30"], "robot robot$accel has expired", "has ended on 2001-09-09"),
        (&[], "robot robot$accel has expired", "has ended on 2001-09-09"),
        (&["--robot-days", "31"], "would be updated (days: 30 -> 31)", "has ended on 2001-09-10"),
    ];
    for (days, state, warning) in rows {
        let ran = run(&machine, &harbor, &[&["check", "library"], days].concat()).await;
        assert!(ran.code == Some(4) && ran.stdout.contains(state) && ran.stderr.contains(warning), "{ran:?}");
    }
    let args = ["connect", "library", "--robot-days"];
    let ran = run(&machine, &harbor, &[&args[..], &["30"]].concat()).await;
    assert!(ran.stdout.contains("has expired") && ran.stderr.contains("gives it longer"), "{ran:?}");
    let ran = run(&machine, &harbor, &[&args[..], &["36500"]].concat()).await;
    assert!(ran.code == Some(0) && ran.stdout.contains("expires 2101-") && ran.stderr.is_empty(), "{ran:?}");
}

#[tokio::test]
async fn what_was_done_to_a_robot_is_told_whatever_fails_behind_it() {
    let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
    harbor.site(|site| site.tells_secrets = false);
    let ran = run(&machine, &harbor, &["connect", "library", "--show-robot-secret"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("--new-robot-secret asks for one"), "{ran:?}");
    assert!(ran.stdout.contains("robot robot$accel created"), "{ran:?}");
    harbor.site(|site| site.refused = Some(("PATCH", "/robots/11", 500)));
    let args = ["connect", "library", "--delete", "--new-robot-secret", "--show-robot-secret"];
    let ran = run(&machine, &harbor, &args).await;
    assert!(ran.code == Some(3) && ran.stderr.contains("a new secret, with 500"), "{ran:?}");
    assert!(ran.stdout.contains("robot robot$accel updated (rights in library"), "{ran:?}");
}

#[tokio::test]
async fn a_secret_whose_answer_is_lost_is_made_anew() {
    let rows = [(None, 3, "broke"), (Some(502), 3, "with 502"), (Some(200), 1, "its answer is no JSON")];
    for (instead, code, told) in rows {
        let (machine, harbor) = (Machine::new().await, HarborDouble::start().await);
        let args = ["connect", "library", "--robot-secret-file", "robot"];
        let anew = [&args[..], &["--new-robot-secret"]].concat();
        for (method, args) in [("POST", &args[..]), ("PATCH", &anew[..])] {
            harbor.site(|site| site.lost = Some((method, instead)));
            let ran = run(&machine, &harbor, args).await;
            let advice = "run the command again with --new-robot-secret";
            assert!(ran.code == Some(code) && ran.stderr.contains(told) && ran.stderr.contains(advice), "{ran:?}");
            assert!(!ran.stderr.contains("leaves what is right"), "{ran:?}");
            assert!(!machine.path("robot").exists(), "{ran:?}");
        }
        harbor.site(|site| site.lost = None);
        let ran = run(&machine, &harbor, &anew).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(std::fs::read_to_string(machine.path("robot")).unwrap(), format!("{ROBOT_SECRET}-2"));
    }
}
