//! `accelctl store`.

use accel_tasks::Embedded;
use serde_json::{Value, json};

use crate::machine::Machine;

#[tokio::test]
async fn checks_a_store_and_makes_none() {
    let machine = Machine::new().await;
    let ran = machine.run(&["store", "check", "accel.redb"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("no store"), "{ran:?}");
    assert!(!machine.path("accel.redb").exists());

    let store = Embedded::open(machine.path("accel.redb")).unwrap();
    let ran = machine.run(&["store", "check", "accel.redb"]).await;
    assert!(ran.code != Some(0) && ran.stderr.contains("in use"), "{ran:?}");
    drop(store);
    for path in ["accel.redb", "."] {
        let ran = machine.run(&["store", "check", path]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.contains("0 tasks to do"), "{ran:?}");
    }
}

#[tokio::test]
async fn a_damaged_store_is_named_and_salvaged() {
    let machine = Machine::new().await;
    let path = machine.path("accel.redb");
    drop(Embedded::open(&path).unwrap());
    let json = async |verb: &str, code: i32| -> Value {
        let ran = machine.run(&["store", verb, "accel.redb", "--output", "json"]).await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let expected =
        json!({"ok": true, "path": "accel.redb", "processing": 0, "completed": 0, "failed": 0, "damage": null});
    assert_eq!(json("check", 0).await, expected);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    std::fs::write(&path, bytes).unwrap();
    let ran = machine.run(&["store", "check", "accel.redb"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("accelctl store salvage"), "{ran:?}");
    let damaged = json("check", 1).await;
    assert!(damaged.as_object().unwrap().keys().eq(expected.as_object().unwrap().keys()), "{damaged}");
    assert_eq!((&damaged["ok"], &damaged["failed"]), (&json!(false), &Value::Null));
    assert!(damaged["damage"].as_str().unwrap().contains("damaged"), "{damaged}");
    let ran = machine.run(&["store", "salvage", "accel.redb"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("0 tasks") && ran.stdout.contains("accel.redb.damaged-1"), "{ran:?}");
    assert!(machine.path("accel.redb.damaged-1").exists());
    assert_eq!(machine.run(&["store", "check", "accel.redb"]).await.code, Some(0));
    let rescued = json!({
        "path": "accel.redb", "set_aside": "accel.redb.damaged-2", "tasks": 0, "tasks_lost": 0, "layers": 0,
    });
    assert_eq!(json("salvage", 0).await, rescued);
}
