//! `accelctl store`.

use accel_tasks::Embedded;

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
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    std::fs::write(&path, bytes).unwrap();
    let ran = machine.run(&["store", "check", "accel.redb"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("accelctl store salvage"), "{ran:?}");
    let ran = machine.run(&["store", "salvage", "accel.redb"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("0 tasks") && ran.stdout.contains("accel.redb.damaged-1"), "{ran:?}");
    assert!(machine.path("accel.redb.damaged-1").exists());
    assert_eq!(machine.run(&["store", "check", "accel.redb"]).await.code, Some(0));
}
