//! What keeps a service from starting, and what it says then.

use crate::site::{Keys, Site};

#[tokio::test]
async fn two_services_do_not_share_a_store() {
    let site = Site::new().await;
    let service = site.serve().await;
    let second = site.refuses_to_serve().await;
    assert_eq!(second.code, Some(3), "{second:?}");
    assert!(second.stderr.contains("accel.redb is in use by another process"), "{second:?}");
    assert!(service.listens().await);
    service.stop().await;
    site.serve().await.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let site = Site::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = std::fs::read_to_string(site.path("accel.yaml")).unwrap();
    site.write("accel.yaml", &text.replace("127.0.0.1:0", &address.to_string()));
    let ran = site.refuses_to_serve().await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains(&format!("{address} cannot be listened on")), "{ran:?}");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_its_place() {
    let rows: [(Keys<'_>, &[&str]); 3] = [
        (
            Keys { more: "tasks: { attempt: 3 }", ..Keys::default() },
            &["accel.yaml:6:10", "tasks.attempt", "`attempts`"],
        ),
        (Keys { server: "workers: 0", ..Keys::default() }, &["accel.yaml:1:", "server.workers"]),
        (
            Keys { server: "worker: 1", registry: "plain: true", ..Keys::default() },
            &["accel.yaml:1:", "server.worker", "accel.yaml:3:", "plain"],
        ),
    ];
    for (keys, expected) in rows {
        let site = Site::new().await;
        site.configure(keys);
        let ran = site.refuses_to_serve().await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        for text in expected {
            assert!(ran.stderr.contains(text), "no {text} in {ran:?}");
        }
        assert!(!site.path("state").exists(), "it made a store");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_named() {
    let site = Site::new().await;
    site.write("state", "a file\n");
    let ran = site.refuses_to_serve().await;
    assert!(ran.code == Some(1) && ran.stderr.contains("the state directory"), "{ran:?}");
    std::fs::remove_file(site.path("state")).unwrap();
    std::fs::create_dir(site.path("state")).unwrap();
    site.write("state/accel.redb", "no store\n");
    let ran = site.refuses_to_serve().await;
    assert!(ran.code == Some(1) && ran.stderr.contains("accelctl store salvage"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(site.path("state/accel.redb")).unwrap(), "no store\n");
}

#[tokio::test]
async fn a_configuration_without_rules_or_file_is_refused() {
    let site = Site::new().await;
    site.write("accel.yaml", "server: { listen: \"127.0.0.1:0\" }\n");
    let ran = site.refuses_to_serve().await;
    assert!(ran.code == Some(1) && ran.stderr.contains("rules"), "{ran:?}");
    let ran = site.run(&["serve", "--config", "nowhere.yaml"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("nowhere.yaml"), "{ran:?}");
    let ran = site.run(&["serve"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("ACCEL_CONFIG"), "{ran:?}");
}
